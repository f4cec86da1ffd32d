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
from ecgvision.archive.manifest import MANIFEST, manifest_rows
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
    """A manifest that can be opened.

    `unfinished` tells that a run's journal lies beside it, whose pages it does not have yet.
    """

    path: Path
    row_count: int
    unfinished: bool = False

    def rows(self) -> Iterator[Row]:
        """All rows in the file's order, each a mapping of `COLUMNS`; raises `PageError`."""
        return manifest_rows(self.path, COLUMNS)


def open_manifest(out_dir: Path) -> Manifest:
    """The manifest in the output folder of a run.

    Raises `UsageError` where `out_dir` is no folder, `PageError` where there is no manifest in it
    (manifest-missing), only that of a run that has not ended (run-unfinished), or one that cannot
    be read (manifest-unreadable).
    """
    if not out_dir.is_dir():
        raise UsageError(
            f"{str(out_dir)!r} is not a folder; name the one that `convert` wrote to with -o"
        )
    path, journal = out_dir / MANIFEST, out_dir / JOURNAL
    if not path.exists():
        raise _not_ended(path, journal) if journal.exists() else _missing(path)
    with _readable(path), pq.ParquetFile(path) as file:
        lacking = sorted(set(COLUMNS) - set(file.schema_arrow.names))
        if lacking:
            raise _unreadable(path, f"one without the columns {', '.join(lacking)}")
        return Manifest(
            path,
            file.metadata.num_rows,
            journal.exists() and journal.stat().st_size > 0,
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever the parquet library says of a torn or foreign file becomes one clear sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "one that is torn, or something else") from error


def _missing(path: Path) -> PageError:
    return PageError(
        "manifest-missing",
        path,
        None,
        expected=f"a manifest in {path.parent}",
        found="none",
        hint="name the folder that `ecgvision convert` wrote to with -o",
    )


def _not_ended(path: Path, journal: Path) -> PageError:
    with _readable(journal):
        done = sum(1 for record in read_journal(journal) if record.get("kind") == "file")
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
