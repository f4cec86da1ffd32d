"""Which files are to be converted: named, found in folders, by patterns, or in a list."""

from __future__ import annotations

import csv
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ecgvision.archive.store import LOCAL, Place, State, Store, is_url, placed
from ecgvision.errors import UsageError

ENDINGS = frozenset({".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Endings of the files that are picked up in folders; a file named by itself may have any."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """A file to convert; its outputs go to the sub-folder `relative` of the output folder.

    `name` is what it is called in the manifest: its path within the folder `root`, or as it was
    given. `format` is the one that a list names for it. `source` is its path in the store `at`;
    `seen` is its state where the store tells that with its name.
    """

    source: Path
    relative: Path
    name: str
    root: str = ""
    format: str = ""
    at: Store = LOCAL
    seen: State | None = None


def find(paths: Iterable[str | Path], out: Place | Path | None = None) -> Iterator[Found]:
    """The files that `paths` name: files as they are, folders with all below, patterns expanded.

    They may be URLs. What was found in a folder, or by a pattern, keeps its sub-folder. The output
    folder `out` is left out where it lies in a searched folder, as its pictures are no reports. A
    file that two paths name comes twice. Raises `UsageError` for a path that gives no file.
    """
    skipped = out if isinstance(out, Place | None) else Place(LOCAL, out)
    for path in paths:
        none, place = True, placed(path)
        for found in _at(place, skipped):
            none = False
            yield found
        if none:
            endings = " ".join(sorted(ENDINGS))
            raise UsageError(f"no reports in {place.told!r}; looked for files ending in {endings}")


def _at(place: Place, out: Place | None) -> Iterator[Found]:
    if place.store == LOCAL:
        return _of(place.path, out.path if out and out.store == LOCAL else None)
    from ecgvision.archive.urlfinding import in_store

    return in_store(place, out)


def _of(path: Path, out_dir: Path | None) -> Iterator[Found]:
    if path.is_dir():
        if out_dir is not None and _real(path) == _real(out_dir):
            raise UsageError(
                f"{str(path)!r} is searched for reports and cannot take the output, which would be "
                "read as reports next time; name another folder with -o"
            )
        yield from _in_folder(path, Path(), out_dir)
    elif os.path.lexists(path):
        if not _maybe_file(path):
            raise UsageError(f"{str(path)!r} is neither a file nor a folder")
        yield _given(path)
    elif glob.has_magic(str(path)):
        yield from _by_pattern(path, out_dir)
    else:
        raise UsageError(f"{str(path)!r} does not exist; check the path")


def _given(path: Path) -> Found:
    return Found(path, Path(), path.as_posix(), "" if path.is_absolute() else str(Path.cwd()))


def _in_folder(
    top: Path, base: Path, out_dir: Path | None, root: Path | None = None
) -> Iterator[Found]:
    """All reports below a folder, in order; links to folders are not followed: they may loop.

    A folder that cannot be listed comes as a file of its own, so that it is not lost silently.
    """
    closed: list[Path] = []
    skipped = out_dir and _real(out_dir)
    told = os.path.abspath(root or top)  # noqa: PTH100  as the user named it, links and all
    for folder, folders, files in os.walk(
        top, onerror=lambda error: closed.append(Path(error.filename))
    ):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _real(here / name) != skipped)
        relative = base / here.relative_to(top)
        prefix = f"{relative.as_posix()}/" if relative.parts else ""
        for name in sorted(files):
            if _is_report(f"{folder}/{name}"):
                yield Found(here / name, relative, f"{prefix}{name}", told)
    for path in closed:
        whole = Path(os.path.abspath(path))  # noqa: PTH100  "." has no name
        relative = base / path.relative_to(top)
        inside = relative.parent if relative.parts else relative
        yield Found(whole, inside, (inside / whole.name).as_posix(), told)


def _by_pattern(pattern: Path, out_dir: Path | None) -> Iterator[Found]:
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    skipped = out_dir and _real(out_dir)
    if skipped == _real(root):
        skipped = None
    # Not Path.glob: it takes no absolute pattern, and finds hidden files.
    for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207
        found = Path(name)
        if skipped and skipped in (_real(found), *_real(found).parents):
            continue
        relative = found.relative_to(root)
        if found.is_dir() and "**" not in pattern.parts:
            inside = relative if ".." not in relative.parts else Path(found.name)
            yield from _in_folder(found, inside, out_dir, root)
        elif not found.is_dir() and _is_report(found):
            if ".." in relative.parts:  # would lead out of the output folder
                yield _given(found)
            else:
                told = os.path.abspath(root)  # noqa: PTH100
                yield Found(found, relative.parent, relative.as_posix(), told)


def _is_report(path: str | Path) -> bool:
    return Path(path).suffix.lower() in ENDINGS and _maybe_file(path)


def _maybe_file(path: str | Path) -> bool:
    """False for pipes and devices, which may block for ever; a broken link is tried and named."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  quicker by half
    except OSError:
        return True


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


# --- lists ------------------------------------------------------------------------------------


def find_listed(listed: Place | Path) -> Iterator[Found]:
    """The files in a list, a .csv or .parquet with a column `path` and, if need be, `format`.

    Relative paths are relative to the list's folder, and keep their sub-folders. A path that leads
    out of it keeps all its folders. Paths, and the list itself, may be URLs. Raises `UsageError`
    for a list that cannot be used.
    """
    place = listed if isinstance(listed, Place) else Place(LOCAL, listed)
    base = Place(place.store, place.store.anywhere(place.path.parent))
    none = True
    for number, (path, format_name) in enumerate(_entries(place), 1):
        there = placed(path) if is_url(path) else _joined(base, path)
        if not path or not there.path.name or there == base:
            raise UsageError(f"{place.told!r}: entry {number} names no file")
        none = False
        yield _listed(base, there, format_name)
    if none:
        raise UsageError(f"{place.told!r} has no entries")


def _joined(base: Place, path: str) -> Place:
    whole = Path(os.path.normpath(base.path / path))
    if base.store.url and (whole.is_absolute() or ".." in whole.parts):
        return Place(base.store, Path())  # out of the store
    return Place(base.store, whole)


def _listed(base: Place, place: Place, format_name: str) -> Found:
    store, path = place
    if store == base.store and path.is_relative_to(base.path):
        inside = path.relative_to(base.path)
        root = store.whole(base.path) if store.url else str(base.path)
        return Found(path, inside.parent, inside.as_posix(), root, format_name, store)
    whole = store.whole(path) if store.url else path.as_posix()
    return Found(path, path.parent.relative_to(path.anchor), whole, "", format_name, store)


def _entries(place: Place) -> Iterator[tuple[str, str]]:
    kinds = {".csv": _csv_entries, ".parquet": _parquet_entries}
    entries = kinds.get(place.path.suffix.lower())
    if entries is None:
        raise UsageError(f"--list {place.told!r}: the name must end in .csv or .parquet")
    try:
        with place.store.fetched(place.path) as here:
            yield from entries(here, place.told)
    except (OSError, csv.Error) as error:
        raise _unusable(place.told, error) from error


def _csv_entries(listed: Path, told: str) -> Iterator[tuple[str, str]]:
    # A path may have bytes that are no UTF-8.
    with listed.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        _check_columns(told, rows.fieldnames or ())
        for row in rows:
            yield row["path"] or "", (row.get("format") or "").strip()


def _parquet_entries(listed: Path, told: str) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(listed, pre_buffer=False) as file:
            names = file.schema_arrow.names
            _check_columns(told, names)
            columns = [name for name in ("path", "format") if name in names]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    yield str(row["path"] or ""), str(row.get("format") or "").strip()
    except pa.ArrowException as error:
        raise _unusable(told, error) from error


def _check_columns(told: str, names: Iterable[str]) -> None:
    if "path" not in names:
        found = ", ".join(names) or "none"
        raise UsageError(f"{told!r} needs a column named path; it has {found}")


def _unusable(told: str, error: Exception) -> UsageError:
    if isinstance(error, FileNotFoundError):
        return UsageError(f"--list {told!r} does not exist; check the path")
    reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return UsageError(f"cannot read the list {told!r}: {reason}")
