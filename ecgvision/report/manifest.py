"""The manifest that a report is about, and what to say where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecgvision.archive.journal import JOURNAL, read_journal
from ecgvision.archive.manifest import MANIFEST, fetched_manifest, manifest_rows
from ecgvision.archive.store import LOCAL, Store
from ecgvision.errors import PageError, UsageError

COLUMNS = (
    "source",
    "source_bytes",
    "source_mtime_ns",
    "page",
    "status",
    "reason",
    "message",
    "origin",
    "format",
    "layout",
    "speed_mm_per_s",
    "gain_mm_per_mv",
    "speed_from",
    "gain_from",
    "quality",
    "findings",
    "warnings",
    "seconds",
    "attempts",
    "options",
    "year",
    "finished_at",
    "versions",
    "root",
)
"""The columns that a report needs; a manifest may have more."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A manifest that can be opened, which lies in `store` as `path`.

    `unfinished` tells that a run's journal lies beside it, whose pages it does not have yet.
    """

    path: Path
    row_count: int
    unfinished: bool = False
    store: Store = LOCAL

    def rows(self) -> Iterator[Row]:
        """All rows in the file's order, each a mapping of `COLUMNS`; raises `PageError`."""
        with fetched_manifest(self.path.parent, self.store) as here:
            yield from manifest_rows(here, COLUMNS)


def open_manifest(out_dir: Path, store: Store = LOCAL) -> Manifest:
    """The manifest in the output folder of a run.

    Raises `UsageError` where `out_dir` is no folder, `PageError` where there is no manifest in it
    (manifest-missing), only that of a run that has not ended (run-unfinished), or one that cannot
    be read (manifest-unreadable).
    """
    told = store.told(out_dir)
    try:
        is_folder = store.is_folder(out_dir)
        with store.journal_text(out_dir / JOURNAL) as journal:
            begun = journal.exists()
            done = _files_done(journal) if begun and not store.has(out_dir / MANIFEST) else 0
            unfinished = begun and journal.stat().st_size > 0
    except OSError as error:
        raise UsageError(f"cannot look into {told!r}: {error.strerror}") from error
    if not is_folder:
        raise UsageError(f"{told!r} is not a folder; name the one that `convert` wrote to with -o")
    path = out_dir / MANIFEST
    with fetched_manifest(out_dir, store) as here:
        if here is None:
            raise _not_ended(path, done) if begun else _missing(path, told)
        with _readable(path), pq.ParquetFile(here, pre_buffer=False) as file:
            lacking = sorted(set(COLUMNS) - set(file.schema_arrow.names))
            if lacking:
                raise _unreadable(path, f"one without the columns {', '.join(lacking)}")
            return Manifest(path, file.metadata.num_rows, unfinished, store)


def _files_done(journal: Path) -> int:
    return sum(1 for record in read_journal(journal) if record.get("kind") == "file")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever the parquet library says of a torn or foreign file becomes one clear sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "one that is torn, or something else") from error


def _missing(path: Path, told: str) -> PageError:
    return PageError(
        "manifest-missing",
        path,
        None,
        expected=f"a manifest in {told}",
        found="none",
        hint="name the folder that `ecgvision convert` wrote to with -o",
    )


def _not_ended(path: Path, done: int) -> PageError:
    return PageError(
        "run-unfinished",
        path,
        None,
        expected="the manifest of a run that has ended",
        found=f"the journal of one that is going on or was stopped, with {done:,} files done",
        hint="wait for its end, or give the same `ecgvision convert` command again: it goes on "
        "where it stopped and writes the manifest",
    )


def _unreadable(path: Path, found: str) -> PageError:
    return PageError(
        "manifest-unreadable",
        path,
        None,
        expected="the manifest of a run",
        found=found,
        hint="move it away and give the `ecgvision convert` command again",
    )
