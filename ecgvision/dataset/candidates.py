"""The pages that may become examples: those of a conversion, or images in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ecgvision.archive.manifest import MANIFEST, manifest_rows
from ecgvision.archive.rows import escaped, unescaped
from ecgvision.dataset.about import DatasetError
from ecgvision.errors import UsageError
from ecgvision.report.manifest import open_manifest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_COLUMNS = ("source", "root", "page", "status", "reason", "message", "format", "outputs")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One page and its files; `reason` and `message` say why it cannot be used, if it cannot."""

    source: str
    page: int
    format: str = ""
    root: str = ""
    reason: str = ""
    message: str = ""
    image: Path | None = None
    description: Path | None = None
    signals: Path | None = None


def find_candidates(folder: Path) -> list[Candidate]:
    """The pages in the output folder of `ecgvision convert`, or else the images below a folder.

    They come by source and page.

    Raises `UsageError` for what is no folder, `PageError` for a manifest that cannot be read or a
    run that has not ended, `DatasetError` where there is nothing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is not a folder; name one that `convert` wrote")
    if (folder / MANIFEST).exists() or (folder / "manifest.journal").exists():
        # Workers finish in any order; data sets must not depend on it.
        found = sorted(_converted(folder), key=lambda one: (one.source, one.page))
    else:
        found = list(_images(folder))
    if not found:
        raise DatasetError(
            "pages-missing",
            folder,
            None,
            expected=f"{MANIFEST}, or images ({', '.join(IMAGE_SUFFIXES)})",
            found="neither",
            hint="name the folder that `ecgvision convert` wrote to with -o",
        )
    return found


def _converted(folder: Path) -> Iterator[Candidate]:
    manifest = open_manifest(folder)
    if manifest.unfinished:
        raise DatasetError(
            "run-unfinished",
            manifest.path,
            None,
            expected="the manifest of a run that has ended",
            found="a journal with more rows beside it",
            hint="wait for its end, or give the same `ecgvision convert` command again",
        )
    for row in manifest_rows(manifest.path, _COLUMNS):
        yield _of_row(folder, row)


def _of_row(folder: Path, row: dict[str, Any]) -> Candidate:
    files = [folder / unescaped(name) for name in row["outputs"] or ()]
    done = row["status"] == "done"
    return Candidate(
        row["source"],
        row["page"],
        row["format"] or "",
        row["root"] or "",
        "" if done else row["reason"] or row["status"],
        "" if done else row["message"] or "",
        _ending(files, ".png"),
        _ending(files, ".json"),
        _ending(files, ".npz"),
    )


def _ending(files: Iterable[Path], suffix: str) -> Path | None:
    return next(
        (path for path in files if path.suffix == suffix and not path.name.endswith(".qc.png")),
        None,
    )


def _images(folder: Path) -> Iterator[Candidate]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield Candidate(escaped(path.relative_to(folder).as_posix()), 1, image=path)


class Sources:
    """Finds sources by what tables call them: the path as it is, or without ending or folders."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_name: list[dict[str, dict[str, None]]] = [{}, {}, {}, {}]
        for candidate in candidates:
            for level, name in enumerate(_names(candidate.source)):
                self._by_name[level].setdefault(name, {})[candidate.source] = None
            if candidate.root:
                whole = f"{candidate.root.rstrip('/')}/{candidate.source}"
                self._by_name[0].setdefault(whole, {})[candidate.source] = None

    def find(self, name: str) -> list[str]:
        """The sources of that name, the whole path before the shorter ones; none, or several."""
        plain = name.replace("\\", "/").removeprefix("./")
        for level in self._by_name:
            if found := level.get(plain):
                return list(found)
        return []


def _names(source: str) -> tuple[str, str, str, str]:
    r"""The names of a source, most exact first.

    >>> _names("2019/a.b.pdf")
    ('2019/a.b.pdf', '2019/a.b', 'a.b.pdf', 'a.b')
    """
    path = PurePosixPath(source)
    without = path.with_suffix("").as_posix() if path.suffix else source
    return source, without, path.name, path.stem
