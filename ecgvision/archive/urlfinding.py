"""Reports behind URLs: one, all below a folder, or those that fit a pattern."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import cast

from ecgvision.archive.finding import ENDINGS, Found
from ecgvision.archive.store import Place, State
from ecgvision.archive.urlstore import WEB, UrlStore
from ecgvision.errors import UsageError


def in_store(place: Place, out: Place | None) -> Iterator[Found]:
    """As `ecgvision.archive.finding.find` for one path of a store; raises `UsageError`."""
    store, path = cast("UrlStore", place.store), place.path
    skipped = out.path if out is not None and out.store == store else None
    try:
        if store.scheme in WEB:  # what lies there is only known once it is asked for
            if not path.name:
                raise UsageError(f"{place.told!r} names no file; name one")
            yield Found(path, Path(), store.whole(path), at=store)
            return
        kind = _kind(store, path)
        if kind == "directory":
            if path == skipped:
                raise UsageError(
                    f"{place.told!r} is searched for reports and cannot take the output, which "
                    "would be read as reports next time; name another folder with -o"
                )
            yield from _below(store, path, path, skipped)
        elif kind:
            yield Found(path, Path(), store.whole(path), at=store)
        elif glob.has_magic(path.as_posix()):
            yield from _by_pattern(store, path, skipped)
        else:
            raise UsageError(f"{place.told!r} does not exist; check the address")
    except OSError as error:
        raise UsageError(f"cannot look for reports in {place.told!r}: {error.strerror}") from None


def _kind(store: UrlStore, path: Path) -> str:
    try:
        return store.kind(path)[0]
    except FileNotFoundError:
        return ""


def _below(store: UrlStore, top: Path, root: Path, skipped: Path | None) -> Iterator[Found]:
    """All reports below the folder `top`; a folder that cannot be listed comes as a file."""
    return _found(store, store.tree(top), root, skipped)


def _by_pattern(store: UrlStore, pattern: Path, skipped: Path | None) -> Iterator[Found]:
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    skipped = None if skipped == root else skipped
    for path, is_folder, state in store.matches(pattern):
        if not is_folder:
            yield from _found(store, [(path, state)], root, skipped)
        elif "**" not in pattern.parts:
            yield from _below(store, path, root, skipped)


def _found(
    store: UrlStore,
    files: Iterable[tuple[Path, State | None]],
    root: Path,
    skipped: Path | None,
) -> Iterator[Found]:
    for path, state in files:
        if skipped is not None and skipped in path.parents:
            continue
        if state is None or path.suffix.lower() in ENDINGS:
            inside = path.relative_to(root)
            name = inside.as_posix()
            yield Found(path, inside.parent, name, store.whole(root), at=store, seen=state)
