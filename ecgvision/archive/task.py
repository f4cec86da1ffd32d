"""What a worker is told, and what it answers. All of it travels between processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecgvision.archive.rows import PageRow
from ecgvision.archive.store import LOCAL, Store
from ecgvision.conversion import PageOptions
from ecgvision.output import OutputNames, page_names
from ecgvision.recognition import CUSTOM


@dataclass(frozen=True)
class Work:
    """What holds for all files of one run; `kinds` are the kinds of signal files to write.

    `out_dir` is the output folder in `store`.

    `layout` is the layout file for the format "custom". `token` is new for each run: what a worker
    has loaded for one run is not taken for the next.
    """

    out_dir: Path
    options: PageOptions
    kinds: tuple[str, ...] = ()
    layout: Path | None = None
    force: bool = False
    debug: bool = False
    token: str = ""
    store: Store = LOCAL

    def layout_of(self, format_name: str) -> Path | None:
        """The layout file, where the format takes one."""
        return self.layout if format_name.lower() == CUSTOM else None


@dataclass(frozen=True)
class FileTask:
    """One file to convert into `folder` of the output folder, its files named by `stem`.

    `source` is its path in the store `at`.

    `name` is what the manifest calls it, `options` stands for what is asked for. `shown` is the
    name that messages and JSON have: that of the file, or its pseudonym. `taken` are the pages
    whose names other inputs have, `inputs` the names of inputs that lie where it writes.

    Of files that exist it may replace those of the pages in `owned`, and, where `begun`, those
    whose JSON says that they are of this source. A source that was seen before has the hash
    `seen_sha256`: with that it is done if it is `settled`, and without it another file if `moved`.
    It is `free` where there was nothing of that name when it was its turn. Rows of finished pages
    are noted in `spool_store` under `spool` as well, where that is named.
    """

    source: Path
    name: str
    root: str
    folder: Path
    stem: str
    shown: Path
    format: str
    options: str
    work: Work
    taken: frozenset[int] = frozenset()
    inputs: frozenset[str] = frozenset()
    owned: frozenset[int] = frozenset()
    begun: bool = False
    seen_sha256: str = ""
    settled: bool = False
    moved: bool = False
    attempt: int = 1
    spool: Path | None = None
    at: Store = LOCAL
    spool_store: Store = LOCAL
    free: bool = False

    def names(self, number: int) -> OutputNames:
        """The files of one page."""
        work = self.work
        folder, qc = work.out_dir / self.folder, work.options.signals.qc
        return page_names(self.stem, number, folder, kinds=work.kinds, qc=qc)


@dataclass(frozen=True)
class FileResult:
    """What became of a file: a row for each page.

    `same` where it was seen before and is as it was: there are no rows. `full` where no further
    file can be written. `traces` are tracebacks of internal errors, where they were asked for.
    """

    rows: Sequence[PageRow] = ()
    same: bool = False
    full: bool = False
    traces: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Crash:
    """A worker was lost with its file: a reason code, what was seen, rows of finished pages."""

    reason: str
    found: str
    rows: Sequence[PageRow] = ()


@dataclass(frozen=True)
class Outcome:
    """A task, and what came of it."""

    task: FileTask
    result: FileResult | Crash


def options_hash(format_id: str, work: Work) -> str:
    """Twelve digits that stand for all options that change outputs, and for the layout file."""
    told = {
        "format": format_id,
        "kinds": sorted(work.kinds),
        "layout": _digest(work.layout_of(format_id)),
        **dataclasses.asdict(work.options),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _digest(path: Path | None) -> str:
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
