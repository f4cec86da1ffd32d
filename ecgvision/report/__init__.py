"""What became of an archive: one HTML page made from the manifest of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.store import Place, placed
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
    """Where the report is, what messages call that, and its main numbers."""

    path: Path
    pages: Outcomes
    files: Outcomes
    told: str


def write_report(
    out_dir: Path | str,
    target: Path | str | None = None,
    *,
    sources: Path | str | None = None,
    thumbnails: bool = True,
    force: bool = False,
) -> ReportSummary:
    """Write the report of the runs that wrote to `out_dir`, as `target` or its report.html.

    `sources` is the folder that the manifest's sources are relative to, if it is no longer where it
    was when they were converted. All three may be URLs. With `thumbnails`, some of the pages that
    did not come out are drawn, too coarse for any print to be read. A report replaces an older
    one; another file is only replaced with `force`.

    Raises `UsageError` for folders that do not exist, `PageError` for a manifest that is missing,
    torn, or of a run that has not ended, `OutputError` where the report cannot be written.
    """
    out = placed(out_dir)
    place = Place(out.store, out.path / REPORT) if target is None else placed(target)
    searched = None if sources is None else placed(sources)
    if searched is not None and not _is_folder(searched):
        raise UsageError(f"{searched.told!r} is not a folder; name the one the reports lie in")
    manifest = open_manifest(out.path, out.store)
    _check_target(place, manifest, force)
    figures = _counted(manifest)
    pictures = _pictures(figures, searched) if thumbnails else {}
    remarks = _remarks(manifest, figures)
    place.store.write({place.path: page(_name(out), figures, pictures, remarks)})
    return ReportSummary(place.path, figures.pages, figures.files, place.told)


def _is_folder(place: Place) -> bool:
    try:
        return place.store.is_folder(place.path)
    except OSError as error:
        raise UsageError(f"cannot look into {place.told!r}: {error.strerror}") from error


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


def _check_target(place: Place, manifest: Manifest, force: bool) -> None:
    store, path = place
    if _is_folder(place):
        raise UsageError(f"-o {place.told!r} is a folder; name a file")
    there = store.has(path)
    if there and store == manifest.store and store.real(path) == store.real(manifest.path):
        raise UsageError(f"-o {place.told!r} is the manifest; choose another name")
    if force or not there or _is_report(place):
        return
    raise PageError(
        "output-exists",
        path,
        None,
        expected="no file of that name, or an older report",
        found="another file",
        hint="use --force to replace it, or another name",
    )


def _is_report(place: Place) -> bool:
    try:
        with place.store.fetched(place.path) as here, here.open("rb") as file:
            return MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False


def _pictures(figures: Figures, sources: Place | None) -> dict[str, dict[Example, Thumbnail]]:
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


def _name(out: Place) -> str:
    name = Path(out.store.real(out.path)).name
    return name.encode("utf-8", "backslashreplace").decode()
