"""The record of a run while it goes on: lines of JSON that only grow, each with a checksum.

A kill at any moment can tear the last line only; it is noticed and cut off. These kinds of record
follow each other: `{"kind": "run"}` at each start, `{"kind": "start", "sources": [...]}` before
those are worked on, and `{"kind": "file", "source": ..., "rows": [...]}` when one of them is done,
or `{"kind": "same", "source": ...}` when its rows still hold. The last rows of a source count.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ecgvision.output import sync_folder

JOURNAL = "manifest.journal"
"""The journal's name in the output folder."""

# Nothing stays unsynced for longer, in seconds or records.
_LONGEST_S, _MOST_RECORDS = 1.0, 64


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The journal's whole records in order; torn and foreign lines are left out.

    None where there is no journal. Raises `OSError` for one that cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            record = record_of(line)
            if record is not None:
                yield record


def journal_line(record: Mapping[str, Any]) -> bytes:
    """The record as a line with its checksum."""
    body = json.dumps(record, separators=(",", ":")).encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(body), body)


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None where that is not what was written."""
    body = _checked(line)
    record = None if body is None else json.loads(body)
    return record if isinstance(record, dict) else None


def _checked(line: bytes) -> bytes | None:
    """What stands in the line; None where that is not what was written."""
    digits, _, body = line.rstrip(b"\n").partition(b" ")
    try:
        whole = line.endswith(b"\n") and int(digits, 16) == zlib.crc32(body)
    except ValueError:
        return None
    return body if whole else None


class Journal:
    """A journal that is open for more records; `unsynced` ones would not outlive a power cut.

    What is appended outlives the death of this process at once.
    """

    def __init__(self, path: Path) -> None:
        """Open or make it, and cut off what a kill has torn; raises `OSError`."""
        fresh = not path.exists()
        self._file = path.open("ab", buffering=0)
        self._file.truncate(0 if fresh else _whole_bytes(path))
        if fresh:
            sync_folder(path.parent)
        self._unsynced = 0
        self._synced_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; raises `OSError`, such as for a full disk, and is as it was then."""
        line = memoryview(journal_line(record))
        before = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            self._file.truncate(before)
            raise
        self._unsynced += 1
        if self._unsynced >= _MOST_RECORDS:
            self.sync()
        else:
            self.sync_if_due()

    def sync_if_due(self) -> None:
        """Call it at least once a second."""
        if time.monotonic() - self._synced_s >= _LONGEST_S:
            self.sync()

    def sync(self) -> None:
        """Let all that was appended outlive a power cut; raises `OSError`."""
        if self._unsynced:
            os.fsync(self._file.fileno())
        self._unsynced = 0
        self._synced_s = time.monotonic()


def _whole_bytes(path: Path) -> int:
    """The length of the journal up to the end of its last line that is whole."""
    end = position = 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            if _checked(line) is not None:
                end = position
    return end
