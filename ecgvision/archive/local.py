"""Many files at once on this machine: a pool of processes, each of which may be lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from ecgvision.archive.engine import Worker, WorkersError
from ecgvision.archive.rows import PageRow, row_of
from ecgvision.archive.task import Crash, FileResult, FileTask, Outcome
from ecgvision.archive.work import convert_file
from ecgvision.orphans import end_with_parent

_TICK_S = 0.5
# So that no worker waits for its next file.
_IN_FLIGHT_PER_WORKER = 2
# A pool that breaks so often, with nothing done between, is not started again.
_MOST_RESTARTS = 3
# Every worker has one core: libraries that start threads would have them wait for each other.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_PRELOADED = ["ecgvision.archive.work"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many workers, and what one of them may take.

    `timeout_s` is the longest time for one page; opening the file belongs to its first page.
    `memory_bytes` is what a worker may allocate beyond what it has at its start.
    """

    workers: int
    timeout_s: float = 120.0
    memory_bytes: int = 2 * 1024**3


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_processes(workers: int, memory_bytes: int, preloaded: Sequence[str]) -> ProcessPool:
    """So many processes of one core each that end with this one, and may each be lost.

    Each may allocate `memory_bytes` beyond what it has at its start. The modules `preloaded` are
    loaded once for all of them.
    """
    return ProcessPool(
        workers, initializer=_prepare, initargs=(memory_bytes,), context=_context(preloaded)
    )


@dataclass(slots=True)
class _Flight:
    """A task in the pool; `since_s` is when it, or one of its pages, was begun."""

    task: FileTask
    since_s: float | None = None
    spooled_bytes: int = 0
    late: bool = False


class Pool:
    """An engine of `limits.workers` processes.

    Rows of pages that are finished while the rest of their file is not go to files in `spool_dir`.
    """

    def __init__(self, limits: Limits, spool_dir: Path, worker: Worker = convert_file) -> None:
        self._limits, self._spool_dir, self._worker = limits, spool_dir, worker
        self._pool: ProcessPool | None = None
        self._flights: dict[Future[FileResult], _Flight] = {}
        self._restarts = 0
        self._heard_s = time.monotonic()

    def __enter__(self) -> Pool:
        self._spool_dir.mkdir(0o700, exist_ok=True)
        self._pool = self._started()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        for left in self._spool_dir.glob("*"):
            left.unlink(missing_ok=True)
        with suppress(OSError):
            self._spool_dir.rmdir()

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        room = 1 if alone else _IN_FLIGHT_PER_WORKER * self._limits.workers
        while True:
            for task in islice(tasks, room - len(self._flights)):
                self._submit(task)
            if not self._flights:
                return
            done, _ = wait(self._flights, timeout=_TICK_S, return_when=FIRST_COMPLETED)
            again: list[FileTask] = []
            for future in done:
                flight = self._flights.pop(future)
                result = self._result(future, flight)
                if result is None:
                    again.append(flight.task)
                    continue
                self._restarts, self._heard_s = 0, time.monotonic()
                yield Outcome(flight.task, result)
                with suppress(OSError):
                    _spool(flight.task).unlink()
            if again:
                self._restart(again)
            if not done:
                yield None
            self._watch()

    def _submit(self, task: FileTask) -> None:
        if task.spool is None:
            task = replace(task, spool=self._spool_dir / f"{secrets.token_hex(6)}.rows")
        try:
            assert self._pool is not None  # noqa: S101
            future = self._pool.schedule(self._worker, args=(task,))
        except RuntimeError:  # the pool broke a moment ago
            self._restart([task])
            return
        self._flights[future] = _Flight(task)

    def _result(self, future: Future[FileResult], flight: _Flight) -> FileResult | Crash | None:
        """What came of it; None where the pool broke, and it cannot be known by whom."""
        if flight.late or future.cancelled():
            found = f"that one page took longer than {self._limits.timeout_s:g} s"
            return Crash("timed-out", found, _spooled(flight.task))
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BrokenProcessPool):
            return None
        if isinstance(error, ProcessExpired):
            return _lost(error.exitcode, flight.task)
        if isinstance(error, MemoryError):
            return Crash("memory-exceeded", "that it is full", _spooled(flight.task))
        return Crash("internal", type(error).__name__, _spooled(flight.task))

    def _watch(self) -> None:
        """Give up what takes too long: a page, or a pool of which nothing is heard."""
        now_s = time.monotonic()
        for future, flight in self._flights.items():
            if not future.running():
                continue
            spooled_bytes = _size(_spool(flight.task))
            if flight.since_s is None or spooled_bytes != flight.spooled_bytes:
                flight.since_s, flight.spooled_bytes = now_s, spooled_bytes
                self._heard_s = now_s
            elif now_s - flight.since_s > self._limits.timeout_s:
                flight.late = True
                future.cancel()  # ends its process
        if self._flights and now_s - self._heard_s > 2 * self._limits.timeout_s + 60:
            self._restart([])

    # --- the pool itself ------------------------------------------------------------------------

    def _started(self) -> ProcessPool:
        return worker_processes(self._limits.workers, self._limits.memory_bytes, _PRELOADED)

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
        self._pool = None

    def _restart(self, tasks: list[FileTask]) -> None:
        """A new pool for the tasks, and for all that were in flight."""
        self._restarts += 1
        if self._restarts > _MOST_RESTARTS:
            raise WorkersError("workers end as soon as they start; try --workers 0")
        tasks = [*tasks, *(flight.task for flight in self._flights.values())]
        self._flights.clear()
        with suppress(RuntimeError):
            self._stop()
        self._pool, self._heard_s = self._started(), time.monotonic()
        for task in tasks:
            self._submit(task)


def _spool(task: FileTask) -> Path:
    if task.spool is None:
        raise ValueError("a task in the pool has a spool")
    return task.spool


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _spooled(task: FileTask) -> tuple[PageRow, ...]:
    """The rows of the pages that were finished; a torn last one is left out."""
    rows: list[PageRow] = []
    with suppress(OSError, ValueError, KeyError), _spool(task).open(encoding="ascii") as file:
        for line in file:
            rows.append(row_of(json.loads(line)))  # noqa: PERF401  keeps what came before
    return tuple(rows)


def _lost(code: int, task: FileTask) -> Crash:
    return Crash(*end_of_process(code), _spooled(task))


def end_of_process(code: int) -> tuple[str, str]:
    """Reason code and words for how a process ended.

    Only a system that lacks memory kills one outright.
    """
    if code >= 0:
        return "worker-crashed", f"that its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    reason = "memory-exceeded" if name == "SIGKILL" else "worker-crashed"
    return reason, f"that its process was ended by {name}"


# --- in a worker ----------------------------------------------------------------------------------


def _context(preloaded: Sequence[str]) -> multiprocessing.context.BaseContext:
    """Never a plain fork, which copies a process without its threads."""
    with _single_threads():
        if "forkserver" not in multiprocessing.get_all_start_methods():
            return multiprocessing.get_context("spawn")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preloaded))
        from multiprocessing import forkserver

        # Now, as what it starts gets the environment that it was started with.
        forkserver.ensure_running()
        return context


@contextmanager
def _single_threads() -> Iterator[None]:
    """The libraries' threads for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _prepare(memory_bytes: int) -> None:
    """What a worker does before its first file."""
    import cv2

    os.environ.update(dict.fromkeys(_THREADS, "1"))
    cv2.setNumThreads(1)
    _limit_memory(memory_bytes)
    end_with_parent()  # an orphan would write where the next run does


def _limit_memory(memory_bytes: int) -> None:
    """Let it allocate so much beyond what it has now; only Linux counts that."""
    if sys.platform != "linux":
        return
    import resource

    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    used = next((int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)
    most = 1024 * used + memory_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
