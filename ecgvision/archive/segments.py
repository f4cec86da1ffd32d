"""The journal of an output folder behind a URL: lines as in any journal, in numbered objects.

Objects cannot grow. So the records of a second, or 64 of them, make one object, a segment. A kill
costs the records since the last one; their files are converted again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from ecgvision.archive.journal import journal_line, record_of
from ecgvision.archive.store import Held
from ecgvision.archive.urlstore import UrlStore

_LONGEST_S, _MOST_RECORDS = 1.0, 64
# What comes before it is in the manifest, and may have been removed in part.
_END = {"kind": "end"}


class SegmentJournal:
    """A journal that is open for more records, which outlive this process once they are synced."""

    def __init__(self, store: UrlStore, path: Path, held: Held) -> None:
        """Go on after the segments that are there; raises `OSError`."""
        self._store, self._path, self._held = store, path, held
        self._next = max(_numbers(store, path), default=0) + 1
        self._lines: list[bytes] = []
        self._synced_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self.sync()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; raises `OSError` where it was time to write and that failed."""
        self._lines.append(journal_line(record))
        if len(self._lines) >= _MOST_RECORDS:
            self.sync()
        else:
            self.sync_if_due()

    def sync_if_due(self) -> None:
        """Call it at least once a second."""
        self._held.check()
        if time.monotonic() - self._synced_s >= _LONGEST_S:
            self.sync()

    def sync(self) -> None:
        """Write what was appended; raises `OSError`, also where another run writes there."""
        self._held.check()
        if self._lines:
            _put_new(self._store, self._path / _name(self._next), b"".join(self._lines))
            self._next += 1
            self._lines.clear()
        self._synced_s = time.monotonic()


def read_segments(store: UrlStore, path: Path, file: BinaryIO) -> bool:
    """Write all that the journal holds to the file; gives whether there is any segment."""
    numbers = sorted(_numbers(store, path))
    for data in store.read_all([path / _name(number) for number in numbers]):
        if record_of(data) == _END:
            file.seek(0)
            file.truncate()
        else:
            file.write(data if data.endswith(b"\n") else data + b"\n")
    file.flush()
    return bool(numbers)


def end_segments(store: UrlStore, path: Path) -> None:
    """Remove all segments; should that be cut short, those that are left count no more."""
    numbers = sorted(_numbers(store, path))
    last = path / _name(numbers[-1] + 1 if numbers else 1)
    _put_new(store, last, journal_line(_END))
    store.remove_all([path / _name(number) for number in numbers])
    store.remove(last)


def _put_new(store: UrlStore, path: Path, data: bytes) -> None:
    try:
        store.put(path, data, new=True)
    except FileExistsError:
        # A call that came through may have been made again, as its answer was lost.
        if store.read(path, len(data)) != data:
            raise OSError(errno.EEXIST, "another run writes to it") from None


def _name(number: int) -> str:
    return f"{number:08d}"


def _numbers(store: UrlStore, path: Path) -> list[int]:
    return [int(found.name) for found, _ in store.tree(path) if found.name.isdecimal()]
