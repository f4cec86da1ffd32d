"""A run over all inputs, recorded so that a kill at any moment costs only what was in flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ecgvision import __version__
from ecgvision.archive.engine import Engine, WorkersError
from ecgvision.archive.journal import JOURNAL
from ecgvision.archive.manifest import compact
from ecgvision.archive.plan import Barred, Kept, Plan
from ecgvision.archive.rows import PageRow, now, one_line, year_of
from ecgvision.archive.store import LOCAL, Held, RunJournal, State, Store
from ecgvision.archive.task import Crash, FileTask, Outcome
from ecgvision.errors import PageError
from ecgvision.output import unwritable

# So many files are named in the journal at once before they are worked on.
_ANNOUNCED = 64
_HINTS = {
    "worker-crashed": "keep it apart, and report it if it may be passed on",
    "timed-out": "check its size and number of pages, or allow more with --timeout",
    "memory-exceeded": "check the size of its pages, or allow more with --memory",
}


class Listener(Protocol):
    """Is told how the run goes on."""

    def kept(self, done: int, refused: int) -> None:
        """A source of an earlier run was kept, so many pages done, so many refused."""
        ...

    def finished(self, folder: Path, rows: Sequence[PageRow], traces: Sequence[str]) -> None:
        """A source, whose outputs go to `folder` in the output folder, has come to its end."""
        ...

    def tick(self) -> None:
        """About a second has gone by."""
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: `left` sources were not tried; `stopped` says why, "" where none is left."""

    left: int = 0
    stopped: str = ""
    interrupted: bool = False


def locked(out_dir: Path, store: Store = LOCAL) -> AbstractContextManager[Held]:
    """Make the output folder and keep other runs out of it.

    Raises `InUseError` where one is there, `OutputError` where the folder cannot be written.
    """
    return store.locked(out_dir)


def sweep(out_dir: Path, store: Store = LOCAL) -> None:
    """Remove what a killed run has left half done. The folder must be locked."""
    store.sweep(out_dir, out_dir / JOURNAL)


class _Unlocked:
    """For a folder that nobody else knows."""

    def check(self) -> None:
        pass


def run(plan: Plan, engine: Engine, listener: Listener, held: Held | None = None) -> Ending:
    """Do what the plan says, and write the manifest. The folder must be locked and swept.

    `held` is its lock. Raises `OutputError` where the journal cannot be begun.
    """
    store, out_dir = plan.work.store, plan.work.out_dir
    told = store.told(out_dir / JOURNAL)
    held = held or _Unlocked()
    try:
        journal = store.journal(out_dir / JOURNAL, held)
    except OSError as error:
        raise unwritable(told, error) from error
    with journal:
        one = _Run(plan, journal, listener)
        try:
            one.begin()
            with engine:
                for outcome in engine.results(one.tasks()):
                    one.take(outcome)
                for outcome in engine.results(one.suspects(), alone=True):
                    one.take(outcome)
            journal.sync()
        except KeyboardInterrupt:
            with suppress(OSError):
                journal.sync()
            _tidy(out_dir, store, held)
            return Ending(one.left, "interrupted", interrupted=True)
        except WorkersError as error:
            with suppress(OSError):
                journal.sync()
            one.stopped = one.stopped or f"{error} [{error.code}]"
        except OSError as error:
            one.stopped = one.stopped or str(unwritable(told, error))
    if one.lost or one.stopped:
        _tidy(out_dir, store, held)
    if one.stopped:
        return Ending(one.left, one.stopped)
    try:
        held.check()
        compact(out_dir, store)
    except OSError as error:
        return Ending(0, str(unwritable(store.told(out_dir), error)))
    except KeyboardInterrupt:
        return Ending(0, "interrupted", interrupted=True)
    return Ending()


def _tidy(out_dir: Path, store: Store, held: Held) -> None:
    """Remove what workers that were ended had half written, if the folder is still ours."""
    with suppress(OSError):
        held.check()
        sweep(out_dir, store)


@dataclass
class _Run:
    """A run as far as it has come: what is still to be tried once more, and why it must stop.

    `lost` tells that a worker was, which may have been writing.
    """

    plan: Plan
    journal: RunJournal
    listener: Listener
    stopped: str = ""
    lost: bool = False
    _over: int = 0
    _again: list[FileTask] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many inputs have not come to their end."""
        return len(self.plan.inputs) - self._over

    def begin(self) -> None:
        roots = self.plan.inputs.roots
        told = {"kind": "run", "roots": roots, "started_at": now(), "ecgvision": __version__}
        self.journal.append(told)

    def tasks(self) -> Iterator[FileTask]:
        """The files to convert, each named in the journal before it is worked on.

        So a later run knows whose outputs it finds there, should this one be killed.
        """
        steps = self.plan.steps()
        while chunk := list(islice(steps, _ANNOUNCED)):
            files = [step for _, step in chunk if isinstance(step, FileTask)]
            free = {step.name for step in files if not self._has_any(step)}
            # What is found there later can only be their own.
            names = [step.name for step in files if _has_rights(step) or step.name in free]
            if names:
                self.journal.append({"kind": "start", "sources": names})
                self.journal.sync()
            for _, step in chunk:
                if self.stopped:
                    return
                if isinstance(step, FileTask):
                    yield replace(step, free=step.name in free)
                elif isinstance(step, Kept):
                    self._keep(step.done, step.refused)
                else:
                    self._bar(step)

    def _has_any(self, task: FileTask) -> bool:
        return _has_rights(task) or any(map(self.plan.knowledge.there, task.names(1).every))

    def suspects(self) -> Iterator[FileTask]:
        """The files that cost a worker, or its memory: each once more, and nothing beside it."""
        for task in self._again:
            if self.stopped:
                return
            yield replace(task, attempt=2, begun=True)

    def take(self, outcome: Outcome | None) -> None:
        """Record what came of a file, or put it aside to be tried once more."""
        if outcome is None:
            self.journal.sync_if_due()
            self.listener.tick()
            return
        task, result = outcome.task, outcome.result
        first = task.attempt == 1
        if isinstance(result, Crash):
            self.lost = True
            if first:
                self._again.append(task)
            else:
                self._end(task, crash_rows(task, result))
        elif result.same:
            known = self.plan.knowledge.known[task.name]
            self._keep(known.done, known.refused)
            self._append({"kind": "same", "source": task.name})
        elif first and any(row.reason == "memory-exceeded" for row in result.rows):
            self._again.append(task)
        else:
            if result.full:
                self.stopped = self.stopped or result.rows[-1].message
            self._end(task, result.rows, result.traces)

    def _end(self, task: FileTask, rows: Sequence[PageRow], traces: Sequence[str] = ()) -> None:
        self._over += 1
        self.listener.finished(task.folder, rows, traces)
        # Rows of what is there stay, rather than that it was not replaced.
        if not (self._has_outputs(task.name) and {r.reason for r in rows} == {"output-exists"}):
            self._record(rows)

    def _bar(self, step: Barred) -> None:
        self._over += 1
        self.listener.finished(step.folder, (step.row,), ())
        if not self._has_outputs(step.row.source):
            self._record((step.row,))

    def _keep(self, done: int, refused: int) -> None:
        self._over += 1
        self.listener.kept(done, refused)

    def _has_outputs(self, name: str) -> bool:
        known = self.plan.knowledge.known.get(name)
        return known is not None and bool(known.owned)

    def _record(self, rows: Sequence[PageRow]) -> None:
        records = [row.as_record() for row in rows]
        self._append({"kind": "file", "source": rows[0].source, "rows": records})

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            self.journal.append(record)
        except OSError as error:
            work = self.plan.work
            path = work.store.told(work.out_dir / JOURNAL)
            self.stopped = self.stopped or str(unwritable(path, error))


def _has_rights(task: FileTask) -> bool:
    """Whether it may replace files that are there."""
    return bool(task.work.force or task.owned or task.begun)


def crash_rows(task: FileTask, crash: Crash) -> tuple[PageRow, ...]:
    """The rows of a file that cost its worker: its finished pages, and the others as failed."""
    finished = crash.rows
    pages = max((row.pages for row in finished), default=0)
    digest = next((row.source_sha256 for row in finished if row.source_sha256), "")
    first = finished[-1].page + 1 if finished else 0
    state = task.at.state(task.source) or State(0, 0)
    lost = PageRow(
        task.name,
        source_sha256=digest,
        source_bytes=state.size_bytes,
        source_mtime_ns=state.mtime_ns,
        source_etag=state.etag,
        pages=pages,
        reason=crash.reason,
        attempts=task.attempt,
        options=task.options,
        year=year_of(state.mtime_ns) if state.mtime_ns else None,
        finished_at=now(),
        root=task.root,
    )
    told = [replace(row, pages=pages, source_sha256=digest) for row in finished]
    for number in range(first, max(pages, first) + 1):
        error = PageError(
            crash.reason,
            task.shown,
            number or None,
            expected="a file that a worker can convert",
            found=crash.found if number == first else f"{crash.found}, on page {first}",
            hint=_HINTS.get(crash.reason, "please report it"),
        )
        told.append(replace(lost, page=number, message=one_line(str(error))))
    return tuple(told)
