"""What became of an archive: one HTML page made from the manifest of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgvision.archive.manifest import MANIFEST
from ecgvision.errors import PageError, UsageError
from ecgvision.report.figures import Example, Figures, Outcomes, count
from ecgvision.report.manifest import Manifest, open_manifest
from ecgvision.report.page import MARK, page
from ecgvision.report.thumbnails import Thumbnail, drawer

__all__ = ["ReportSummary", "write_report"]

REPORT = "report.html"

# So many pictures at most for a reason, and so many reasons with pictures.
_PICTURES, _ILLUSTRATED = 4, 25
_HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """Where the report is, and its main numbers."""

    path: Path
    pages: Outcomes
    files: Outcomes


def write_report(
    out_dir: Path,
    target: Path | None = None,
    *,
    sources: Path | None = None,
    thumbnails: bool = True,
    force: bool = False,
) -> ReportSummary:
    """Write the report of the runs that wrote to `out_dir`, as `target` or its report.html.

    `sources` is the folder that the manifest's sources are relative to, if it is no longer where it
    was when they were converted. With `thumbnails`, some of the pages that did not come out are
    drawn, too coarse for any print to be read. A report replaces an older one; another file is
    only replaced with `force`.

    Raises `UsageError` for folders that do not exist, `PageError` for a manifest that is missing,
    torn, or of a run that has not ended, `OutputError` where the report cannot be written.
    """
    from ecgvision.output import write_files

    if sources is not None and not sources.is_dir():
        raise UsageError(f"{str(sources)!r} is not a folder; name the one the reports lie in")
    manifest = open_manifest(out_dir)
    path = target or out_dir / REPORT
    _check_target(path, manifest.path, force)
    figures = _counted(manifest)
    pictures = _pictures(figures, sources) if thumbnails else {}
    remarks = _remarks(manifest, figures)
    write_files({path: page(_name(out_dir), figures, pictures, remarks)})
    return ReportSummary(path, figures.pages, figures.files)


def _counted(manifest: Manifest) -> Figures:
    try:
        return count(manifest.rows())
    except (ValueError, TypeError) as error:
        raise PageError(
            "manifest-unreadable",
            manifest.path,
            None,
            expected=f"the columns of a {MANIFEST}",
            found="values of another kind in them",
            hint="give the `ecgvision convert` command again with this version",
        ) from error


def _check_target(path: Path, manifest: Path, force: bool) -> None:
    if path.is_dir():
        raise UsageError(f"-o {str(path)!r} is a folder; name a file")
    if path.exists() and path.samefile(manifest):
        raise UsageError(f"-o {str(path)!r} is the manifest; choose another name")
    if force or not path.exists() or _is_report(path):
        return
    raise PageError(
        "output-exists",
        path,
        None,
        expected="no file of that name, or an older report",
        found="another file",
        hint="use --force to replace it, or another name",
    )


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False


def _pictures(figures: Figures, sources: Path | None) -> dict[str, dict[Example, Thumbnail]]:
    """For each reason some of its examples, drawn where they can be; the others say why not."""
    if not figures.reasons:
        return {}
    pictures: dict[str, dict[Example, Thumbnail]] = {}
    with drawer(sources) as drawing:
        for reason in figures.reasons[:_ILLUSTRATED]:
            here = pictures.setdefault(reason.code, {})
            for example in reason.examples:
                if sum(1 for one in here.values() if one.png) < _PICTURES:
                    here[example] = drawing.drawn(example)
    return pictures


def _remarks(manifest: Manifest, figures: Figures) -> list[str]:
    """What a reader must know before the numbers."""
    remarks = []
    if manifest.unfinished:
        remarks.append(
            "A run is going on or was stopped: its pages are not in these numbers yet. Once it has "
            "ended, or the same ecgvision convert command was given again, make the report anew."
        )
    if len(figures.options) > 1:
        remarks.append(
            f"The pages were converted with {len(figures.options)} different sets of options."
        )
    if len(figures.versions) > 1:
        remarks.append(f"The pages were converted by {len(figures.versions)} different versions.")
    if figures.untimed:
        remarks.append(
            f"{figures.untimed:,} pages do not tell when they were finished and are left out of "
            "the throughput."
        )
    return remarks


def _name(out_dir: Path) -> str:
    name = out_dir.resolve().name
    return name.encode("utf-8", "backslashreplace").decode()
