"""One file converted on another machine: what is sent there, and what the worker does with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ecgvision import __version__
from ecgvision.archive.engine import Worker
from ecgvision.archive.rows import PageRow, row_of
from ecgvision.archive.store import LOCAL, Store
from ecgvision.archive.task import FileResult, FileTask

Kit = tuple[str, ...]
"""The version of ecgvision and the ids of the formats that are installed."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a worker cannot take part in the run."""

    found: str


def anywhere(task: FileTask, spool: Path, spool_store: Store = LOCAL) -> FileTask:
    """The task with paths that are the same on all machines, and that may be begun twice."""
    work = task.work
    layout = None if work.layout is None else LOCAL.anywhere(work.layout)
    source = task.at.anywhere(task.source)
    # Outputs that are there when it is run again can only be its own if there are none now.
    begun = task.begun or task.free or not any(map(work.store.has, task.names(1).every))
    return replace(
        task,
        source=source,
        shown=source if task.shown == task.source else task.shown,
        work=replace(work, out_dir=work.store.anywhere(work.out_dir), layout=layout),
        begun=begun,
        spool=spool,
        spool_store=spool_store,
    )


def spooled(path: Path, store: Store = LOCAL) -> tuple[PageRow, ...]:
    """The rows of the pages that were finished, each once, whoever has finished it last."""
    rows: dict[int, PageRow] = {}
    for line in store.notes(path):
        with suppress(ValueError, KeyError, TypeError):  # a torn line
            row = row_of(json.loads(line))
            rows[row.page] = row
    return tuple(rows[page] for page in sorted(rows))


def unpacked_call() -> Callable[[bytes], Any]:
    """A function that makes a pickled call, and travels as it is.

    Dask loads all else before it knows whose it is: a machine without ecgvision would not fail by
    the task, but end, again and again.
    """

    def call(packed: bytes) -> Any:
        import pickle

        return pickle.loads(packed)()  # noqa: S301  as dask itself does

    return call


# --- in a worker -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def kit_here() -> Kit:
    """What this process has."""
    from ecgvision.plugins import load_formats

    return __version__, *sorted(one.info.id for one in load_formats().formats)


def on_worker(worker: Worker, task: FileTask, kit: Kit, topic: str, key: str) -> FileResult | Unfit:
    """Convert one file, and tell before that it is begun."""
    import cv2
    from distributed import get_worker

    here = get_worker()
    found = _unfit(here.address, here.state.nthreads, task, kit)
    if found:
        return Unfit(found)
    here.log_event(topic, {"key": key, "worker": here.address})
    cv2.setNumThreads(1)
    return worker(task)


def _unfit(address: str, threads: int, task: FileTask, kit: Kit) -> str:
    """What keeps this worker from the work; "" where nothing does."""
    if threads != 1:
        # PDFs are read by a library that two threads must not call at once.
        return f"the worker {address} has {threads} threads; start workers with --nthreads 1"
    work = task.work
    if task.spool is None or not task.spool_store.sees(work.out_dir, task.spool):
        return (
            f"the worker {address} does not see the output folder {work.store.told(work.out_dir)}; "
            "it must be "
            "the same on all machines, under the same path"
        )
    if kit_here() != kit:
        there, here = ", ".join(kit_here()), ", ".join(kit)
        return (
            f"the worker {address} has ecgvision {there}, this machine {here}; install the same "
            "everywhere"
        )
    return ""
