"""The manifest of an output folder: what it knows of sources, and how a journal becomes one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgvision.archive.journal import JOURNAL, read_journal
from ecgvision.archive.rows import COLUMNS, schema, unescaped
from ecgvision.archive.store import LOCAL, State, Store
from ecgvision.errors import PageError

MANIFEST = "manifest.parquet"
"""The manifest's name in the output folder."""

ROOTS = b"ecgvision.roots"
"""Key of the file's metadata: the folders that sources are relative to, as a list in JSON."""

_ROWS_AT_ONCE = 4096
# The columns that tell whether a source must be converted again.
_NEEDED = (
    "source",
    "source_sha256",
    "source_bytes",
    "source_mtime_ns",
    "page",
    "pages",
    "status",
    "reason",
    "outputs",
    "options",
)
# Earlier versions have no such columns.
_LATER = ("root", "source_etag")
_SETTLED = ("done", "refused")

Record = Mapping[str, Any]


@dataclass(slots=True)
class Known:
    """What earlier runs found of one source.

    `owned` are the pages that have outputs; `contested` where there were outputs of someone else.
    """

    root: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    options: str
    owned: tuple[int, ...] = ()
    done: int = 0
    refused: int = 0
    contested: bool = False
    etag: str = ""
    _pages: int = 0
    _lost: bool = False

    @property
    def settled(self) -> bool:
        """Whether every page is done or refused, and all its outputs are still there."""
        return not self._lost and 0 < self._pages == self.done + self.refused

    @property
    def state(self) -> State:
        """What the source was like."""
        return State(self.size_bytes, self.mtime_ns, self.etag)

    def lose(self) -> None:
        """Its outputs may not be what its rows say."""
        self._lost = True

    def add(self, row: Record, folder: str, there: Callable[[str | Path], bool]) -> None:
        outputs = row["outputs"] or ()
        if row["status"] == "done":
            self.done += 1
        elif row["status"] == "refused":
            self.refused += 1
        if outputs:
            page = int(row["page"])
            self.owned = _FIRST if page == 1 and not self.owned else (*self.owned, page)
        self.contested |= row["reason"] == "output-exists"
        self._pages = max(self._pages, int(row["pages"]))
        self._lost |= row["status"] not in _SETTLED
        self._lost |= not all(there(f"{folder}/{unescaped(one)}") for one in outputs)


# Shared, as most sources have one page.
_FIRST = (1,)


@dataclass(frozen=True)
class Knowledge:
    """What an output folder knows: sources with rows, and those that a killed run had begun.

    `there` tells whether a path in it exists.
    """

    known: dict[str, Known] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    there: Callable[[str | Path], bool] = os.path.lexists


def knowledge(out_dir: Path, wanted: Callable[[str], bool], store: Store = LOCAL) -> Knowledge:
    """What manifest and journal know of the `wanted` sources; raises `PageError` for torn ones."""
    found = Knowledge(there=store.glance(out_dir))
    folder, there = out_dir.as_posix(), found.there
    with fetched_manifest(out_dir, store) as manifest:
        for row in manifest_rows(manifest, _NEEDED):
            if wanted(row["source"]):
                one = found.known.get(row["source"]) or found.known.setdefault(
                    row["source"], _fresh(row)
                )
                one.add(row, folder, there)
    with store.journal_text(out_dir / JOURNAL) as journal, _readable(out_dir / JOURNAL):
        for record in read_journal(journal):
            if record.get("kind") == "start":
                found.begun.update(filter(wanted, record["sources"]))
            elif record.get("kind") == "same":
                found.begun.discard(record["source"])
            elif record.get("kind") == "file" and wanted(record["source"]):
                found.begun.discard(record["source"])
                one = found.known[record["source"]] = _fresh(record["rows"][0])
                for row in record["rows"]:
                    one.add(row, folder, there)
    for name in found.begun & found.known.keys():
        found.known[name].lose()  # a killed run may have replaced some of its outputs
    return found


def _fresh(row: Record) -> Known:
    return Known(
        sys.intern(row.get("root") or ""),
        row["source_bytes"],
        row["source_mtime_ns"],
        row["source_sha256"],
        sys.intern(row["options"]),
        etag=row.get("source_etag") or "",
    )


@contextmanager
def fetched_manifest(out_dir: Path, store: Store) -> Iterator[Path | None]:
    """Where the manifest can be read, on this machine; None where there is none."""
    path = out_dir / MANIFEST
    with ExitStack() as stack:
        yield stack.enter_context(store.fetched(path)) if store.has(path) else None


def manifest_rows(path: Path | None, needed: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
    """Every row of a manifest with the `needed` columns, and what others it has of ours.

    None where there is no manifest. Raises `PageError` for one that cannot be read or lacks any.
    """
    if path is None:
        return
    import pyarrow.parquet as pq

    with _readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        if not set(_NEEDED) <= set(names):
            raise _unreadable(path, "another kind of file")
        columns = [name for name in names if name in needed or name in _LATER]
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
            values = [batch.column(name).to_pylist() for name in columns]
            for one in zip(*values, strict=True):
                yield dict(zip(columns, one, strict=True))


def compact(out_dir: Path, store: Store = LOCAL) -> None:
    """Write the journal's rows into the manifest, and end the journal; raises `OSError`.

    A source's last record takes the place of all its earlier rows. Rows whose outputs belong to
    another source now are dropped.
    """
    with store.journal_text(out_dir / JOURNAL) as journal:
        if not journal.exists():
            return
        last, owners, roots = _last_records(journal)
        with fetched_manifest(out_dir, store) as manifest:
            if last or manifest is None:
                rows = _merged(journal, manifest, last, owners)
                with store.replacing(out_dir / MANIFEST) as new:
                    _write(new, rows, sorted(roots | _old_roots(manifest)))
    store.end_journal(out_dir / JOURNAL)


def _last_records(journal: Path) -> tuple[dict[str, int], dict[str, str], set[str]]:
    """The number of each source's last record, who owns each first output, and the roots."""
    last: dict[str, int] = {}
    owners: dict[str, str] = {}
    roots: set[str] = set()
    for number, record in enumerate(read_journal(journal)):
        if record.get("kind") == "run":
            roots.update(record["roots"])
        elif record.get("kind") == "file":
            last[record["source"]] = number
            owners |= {row["outputs"][0]: row["source"] for row in record["rows"] if row["outputs"]}
    return last, owners, roots


def _merged(
    journal: Path, manifest: Path | None, last: Mapping[str, int], owners: Mapping[str, str]
) -> Iterator[Record]:
    def owned(row: Record) -> bool:
        outputs = row["outputs"]
        return not outputs or owners.get(outputs[0], row["source"]) == row["source"]

    for row in manifest_rows(manifest):
        if row["source"] not in last and owned(row):
            yield row
    for number, record in enumerate(read_journal(journal)):
        if record.get("kind") == "file" and last[record["source"]] == number:
            yield from filter(owned, record["rows"])


def _old_roots(manifest: Path | None) -> set[str]:
    if manifest is None:
        return set()
    import pyarrow.parquet as pq

    with _readable(manifest), pq.ParquetFile(manifest, pre_buffer=False) as file:
        return set(json.loads((file.metadata.metadata or {}).get(ROOTS, b"[]")))


def _write(path: Path, rows: Iterator[Record], roots: Sequence[str]) -> None:
    """A Parquet file with the rows, a few thousand in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema().with_metadata({ROOTS: json.dumps(roots).encode("utf-8")})
    with path.open("xb") as file:
        with pq.ParquetWriter(file, columns, compression="zstd") as writer:
            for batch in _batches(rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=columns))
        file.flush()
        os.fsync(file.fileno())


def _batches(rows: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a torn or foreign file leads to becomes one clear sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _unreadable(path, f"one that cannot ({type(error).__name__})") from error


def _unreadable(path: Path, found: str) -> PageError:
    return PageError(
        "manifest-unreadable",
        # What was fetched has a name that says nothing.
        path if path.name in (MANIFEST, JOURNAL) else MANIFEST,
        None,
        expected="a manifest that can be read",
        found=found,
        hint="move it away and start again, or name another folder with -o",
    )
