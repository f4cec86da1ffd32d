"""Many files at once on many machines: an engine that gives its work to a dask cluster.

All machines must see inputs and outputs under the same paths. Each file is one task of dask. Dask
runs a task again when it loses its worker, as often as the scheduler allows; that is harmless, as
outputs are put in place whole, and only what the last one answers is recorded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import pickle
import queue
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ecgvision.archive.engine import Worker, WorkersError
from ecgvision.archive.remote import (
    Unfit,
    anywhere,
    kit_here,
    on_worker,
    spooled,
    unpacked_call,
)
from ecgvision.archive.store import LOCAL, Store
from ecgvision.archive.task import Crash, FileResult, FileTask, Outcome
from ecgvision.archive.work import convert_file
from ecgvision.errors import UsageError

_TICK_S = 0.5
# So that no worker waits for its next file.
_IN_FLIGHT_PER_WORKER = 2
_CONNECT_S = 15.0
# How often the scheduler is asked for its workers.
_LOOK_S = 2.0
# An answer that was on a lost worker is made again, so it is not waited for.
_ANSWER_S = 1.0
_GO_ON = "the same command goes on where this one stopped"
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class ClusterError(WorkersError):
    """The cluster is lost, or not fit for the work; what is done is done."""

    code = "cluster-lost"


@dataclass(slots=True)
class _Flight:
    """A task on the cluster; `since_s` is when it, or one of its pages, was begun by `address`."""

    task: FileTask
    spool: Path
    future: Any
    address: str = ""
    since_s: float | None = None
    looked_s: float = 0.0
    noted: int = 0


@dataclass(frozen=True, slots=True)
class _Begun:
    """A worker has begun with a task."""

    key: str
    address: str


@dataclass(frozen=True, slots=True)
class _Ended:
    """A task has come to its end, of whatever kind."""

    key: str


class Cluster:
    """An engine that submits to the dask scheduler at `address`, such as `tcp://host:8786`.

    `timeout_s` is the longest time for one page; opening the file belongs to its first page. The
    worker of a page that takes longer is restarted. Rows of finished pages are noted in the folder
    `spool_dir` of `store`, which the workers must see. After `patience_s` without any worker the
    run stops.

    Entering it raises `UsageError` where there is no scheduler; `results` raises `ClusterError`
    where it is lost, or its workers cannot do the work.
    """

    def __init__(
        self,
        address: str,
        spool_dir: Path,
        timeout_s: float = 120.0,
        *,
        patience_s: float = 600.0,
        worker: Worker = convert_file,
        store: Store = LOCAL,
    ) -> None:
        self._address, self._store = address, store
        self._spool_dir = store.anywhere(spool_dir)
        self._timeout_s, self._patience_s, self._worker = timeout_s, patience_s, worker
        self._topic = f"ecgvision-{secrets.token_hex(6)}"
        self._client: Any = None
        self._flights: dict[str, _Flight] = {}
        self._news: queue.SimpleQueue[_Begun | _Ended] = queue.SimpleQueue()
        self._count = 0
        self._crew = _Crew()

    def __enter__(self) -> Cluster:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                "--engine dask needs the package distributed; pip install 'ecgvision[dask]'"
            ) from error
        failed = ""
        try:
            client = Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            failed = type(error).__name__
        if failed:
            # A client that found nobody closes itself when it is collected, and waits for a lock
            # for that: for ever, if it is collected while another one is starting. So at once.
            gc.collect()
            raise UsageError(
                f"no dask scheduler answers at {self._address!r} ({failed}); "
                "start one with `dask scheduler`, and name it with --scheduler tcp://HOST:8786"
            )
        self._client = client
        client.subscribe_topic(self._topic, self._hear)
        self._crew = _Crew(client)
        return self

    def __exit__(self, *error: object) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._crew.end(client, list(self._flights.values()))
        self._flights.clear()
        with suppress(Exception):  # it may be gone in any way
            client.close(timeout=5)
        self._store.forget_all(self._spool_dir)

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        ticked_s = watched_s = time.monotonic()
        while True:
            room = 1 if alone else _IN_FLIGHT_PER_WORKER * max(1, self._crew.threads)
            for task in islice(tasks, max(0, room - len(self._flights))):
                self._submit(task)
            if not self._flights:
                return
            for outcome in self._heard():
                yield outcome
                ticked_s = time.monotonic()
            if time.monotonic() - watched_s >= _TICK_S:
                for outcome in self._late():
                    yield outcome
                    ticked_s = time.monotonic()
                self._check()
                watched_s = time.monotonic()
            if time.monotonic() - ticked_s >= _TICK_S:
                yield None
                ticked_s = time.monotonic()

    # --- one task -----------------------------------------------------------------------------

    def _submit(self, task: FileTask) -> None:
        self._count += 1
        key = f"{self._topic}-{self._count}"
        spool = self._spool_dir / f"{secrets.token_hex(6)}.rows"
        self._store.begin_notes(spool)
        sent = anywhere(task, spool, self._store)
        call = partial(on_worker, self._worker, sent, kit_here(), self._topic, key)
        try:
            future = self._client.submit(
                unpacked_call(), pickle.dumps(call), key=key, pure=False, retries=0
            )
        except (OSError, RuntimeError, *_CANCELLED) as error:
            raise _lost() from error
        self._flights[key] = _Flight(task, spool, future)
        self._listen(key, future)

    def _listen(self, key: str, future: Any) -> None:
        future.add_done_callback(lambda _: self._news.put(_Ended(key)))

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        """Called by dask, in its own thread, with what a worker tells."""
        told = event[1]
        self._news.put(_Begun(told["key"], told["worker"]))

    def _heard(self) -> Iterator[Outcome]:
        """What came of a task, where anything is heard within a tick."""
        try:
            news = self._news.get(timeout=_TICK_S)
        except queue.Empty:
            return
        flight = self._flights.get(news.key)
        if flight is None:
            return
        if isinstance(news, _Begun):
            flight.address, flight.since_s = news.address, time.monotonic()
            flight.looked_s = flight.since_s
            return
        try:
            result = self._result(flight)
        except TimeoutError:  # lost with its worker after all: dask makes it once more
            self._listen(news.key, flight.future)
            return
        yield self._over(news.key, result)

    def _over(self, key: str, result: FileResult | Crash) -> Outcome:
        flight = self._flights.pop(key)
        self._store.forget(flight.spool)
        return Outcome(flight.task, result)

    def _result(self, flight: _Flight) -> FileResult | Crash:
        """What came of it; raises `TimeoutError` where that must be made again."""
        from distributed import KilledWorker

        future = flight.future
        try:
            status = future.status
            if status == "finished":
                result: FileResult | Unfit = future.result(timeout=_ANSWER_S)
                if isinstance(result, Unfit):
                    raise ClusterError(f"{result.found}; then {_GO_ON}")
                return result
            if status == "error":
                error = future.exception(timeout=_ANSWER_S)
            elif status in ("pending", "lost"):  # the worker that held the answer was lost
                raise TimeoutError
            else:
                raise _lost()
        except _CANCELLED as cancelled:
            raise _lost() from cancelled
        rows = spooled(flight.spool, self._store)
        if isinstance(error, KilledWorker):
            return Crash("worker-crashed", "that every worker that took it was lost", rows)
        if isinstance(error, MemoryError):
            return Crash("memory-exceeded", "that it is full", rows)
        if isinstance(error, ImportError):
            raise ClusterError(
                f"a worker cannot load what is to be done ({type(error).__name__}): install the "
                f"same ecgvision on all machines; then {_GO_ON}"
            )
        return Crash("internal", type(error).__name__, rows)

    # --- what is watched ----------------------------------------------------------------------

    def _late(self) -> Iterator[Outcome]:
        """Give up pages that take too long."""
        now_s = time.monotonic()
        for key, flight in list(self._flights.items()):
            if flight.since_s is None or now_s - flight.looked_s < self._timeout_s / 4:
                continue
            flight.looked_s = now_s
            noted = self._store.noted(flight.spool)
            if noted != flight.noted:
                flight.since_s, flight.noted = now_s, noted
            elif now_s - flight.since_s > self._timeout_s and not flight.future.done():
                if flight.address not in self._crew.addresses:  # it waits for another worker
                    flight.since_s = None
                    continue
                with suppress(Exception):
                    flight.future.cancel()
                self._crew.restart(flight.address)
                found = f"that one page took longer than {self._timeout_s:g} s"
                yield self._over(key, Crash("timed-out", found, spooled(flight.spool, self._store)))

    def _check(self) -> None:
        """Raise `ClusterError` where nothing more is to be expected."""
        if self._client.status != "running":
            raise _lost()
        idle_s = self._crew.look()
        if idle_s > self._patience_s:
            raise ClusterError(
                f"the dask scheduler has had no worker for {idle_s:.0f} s; start some, {_GO_ON}"
            )


class _Crew:
    """The workers of a cluster, which are looked at and restarted beside the run itself."""

    def __init__(self, client: Any = None) -> None:
        self.threads = 0
        self.addresses: frozenset[str] = frozenset()
        self._client = client
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="ecgvision-cluster")
        self._looking: concurrent.futures.Future[dict[str, Any]] | None = None
        self._nannied: frozenset[str] = frozenset()
        self._looked_s = -_LOOK_S
        self._there_s = time.monotonic()
        self._to_restart: set[str] = set()
        if client is not None:
            self._learn(self._workers())

    def look(self) -> float:
        """See after the workers; gives for how many seconds there has been none."""
        now_s = time.monotonic()
        if self._looking is not None and self._looking.done():
            if self._looking.exception() is None:
                self._learn(self._looking.result())
            self._looking, self._looked_s = None, now_s
        if self._looking is None and now_s - self._looked_s > _LOOK_S:
            self._looking = self._aside.submit(self._workers)
        # Not at once: a task that was given up must be known as such, or another worker has it.
        addresses, self._to_restart = self._to_restart & self._nannied, set()
        if addresses:
            self._aside.submit(_restarted, self._client, sorted(addresses))
        if self.threads:
            self._there_s = now_s
        return now_s - self._there_s

    def restart(self, address: str) -> None:
        """Let a worker that hangs be ended and started anew, by the nanny that looks after it."""
        self._to_restart.add(address)

    def end(self, client: Any, flights: list[_Flight]) -> None:
        """Let what is in flight write nothing any more."""
        if flights and client.status == "running":
            with suppress(Exception):  # the scheduler may go at any moment
                client.cancel([flight.future for flight in flights])
                busy = {flight.address for flight in flights if flight.since_s is not None}
                time.sleep(_TICK_S)
                _restarted(client, sorted(busy & self._nannied))
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

    def _learn(self, workers: dict[str, Any]) -> None:
        self.threads = sum(int(one["nthreads"]) for one in workers.values())
        self.addresses = frozenset(workers)
        self._nannied = frozenset(where for where, one in workers.items() if one.get("nanny"))


def _restarted(client: Any, addresses: list[str]) -> None:
    if addresses:
        with suppress(Exception):  # such as workers that went meanwhile
            client.restart_workers(addresses, timeout=10, raise_for_error=False)


def _lost() -> ClusterError:
    return ClusterError(f"the dask scheduler was lost, or gave up the work; {_GO_ON}")
