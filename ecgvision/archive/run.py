"""A run over all inputs, recorded so that a kill at any moment costs only what was in flight."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from ecgvision import __version__
from ecgvision.archive.engine import Engine, WorkersError
from ecgvision.archive.journal import JOURNAL, Journal
from ecgvision.archive.manifest import compact
from ecgvision.archive.plan import Barred, Kept, Plan, Step
from ecgvision.archive.rows import PageRow, now, one_line, year_of
from ecgvision.archive.task import Crash, FileTask, Outcome
from ecgvision.archive.work import source_state
from ecgvision.errors import EcgVisionError, PageError
from ecgvision.output import TEMPORARY, make_folder, unwritable

LOCK = ".lock"
"""The name of the file, in the output folder, that a run locks. It stays there."""

# So many files are named in the journal at once before they are worked on.
_ANNOUNCED = 64
_HINTS = {
    "worker-crashed": "keep it apart, and report it if it may be passed on",
    "timed-out": "check its size and number of pages, or allow more with --timeout",
    "memory-exceeded": "check the size of its pages, or allow more with --memory",
}


class InUseError(EcgVisionError):
    """Another run writes to the same folder."""

    code = "output-in-use"


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


@contextmanager
def locked(out_dir: Path) -> Iterator[None]:
    """Make the output folder and keep other runs out of it.

    Raises `InUseError` where one is there, `OutputError` where the folder cannot be written. The
    lock ends with the process, however that ends.
    """
    import filelock

    lock = filelock.FileLock(out_dir / LOCK, timeout=0)
    try:
        make_folder(out_dir)
        lock.acquire()
    except filelock.Timeout as error:
        raise InUseError(
            f"another run writes to {out_dir}; wait for its end, or name another folder with -o"
        ) from error
    except OSError as error:
        raise unwritable(out_dir, error) from error
    try:
        yield
    finally:
        lock.release()


def sweep(out_dir: Path) -> None:
    """Remove what a killed run has left half done. The folder must be locked."""
    if not (out_dir / JOURNAL).exists():
        return
    for folder, _, files in os.walk(out_dir):
        for name in files:
            if name.startswith(TEMPORARY) or Path(folder).name == SPOOL:
                with suppress(OSError):
                    Path(folder, name).unlink()
    with suppress(OSError):
        (out_dir / SPOOL).rmdir()


SPOOL = f"{TEMPORARY}rows"
"""The folder, in the output folder, for rows of files that are not finished."""


def run(plan: Plan, engine: Engine, listener: Listener) -> Ending:
    """Do what the plan says, and write the manifest. The folder must be locked and swept.

    Raises `OutputError` where the journal cannot be begun.
    """
    out_dir = plan.work.out_dir
    try:
        journal = Journal(out_dir / JOURNAL)
    except OSError as error:
        raise unwritable(out_dir / JOURNAL, error) from error
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
            return Ending(one.left, "interrupted", interrupted=True)
        except WorkersError as error:
            journal.sync()
            one.stopped = one.stopped or f"{error} [{error.code}]"
        except OSError as error:
            one.stopped = one.stopped or str(unwritable(out_dir / JOURNAL, error))
    if one.stopped:
        return Ending(one.left, one.stopped)
    try:
        compact(out_dir)
    except OSError as error:
        return Ending(0, str(unwritable(out_dir, error)))
    except KeyboardInterrupt:
        return Ending(0, "interrupted", interrupted=True)
    return Ending()


@dataclass
class _Run:
    """A run as far as it has come: what is still to be tried once more, and why it must stop."""

    plan: Plan
    journal: Journal
    listener: Listener
    stopped: str = ""
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
            names = [step.name for _, step in chunk if _is_free(step)]
            if names:
                self.journal.append({"kind": "start", "sources": names})
                self.journal.sync()
            for _, step in chunk:
                if self.stopped:
                    return
                if isinstance(step, FileTask):
                    yield step
                elif isinstance(step, Kept):
                    self._keep(step.done, step.refused)
                else:
                    self._bar(step)

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
            path = self.plan.work.out_dir / JOURNAL
            self.stopped = self.stopped or str(unwritable(path, error))


def _is_free(step: Step) -> TypeGuard[FileTask]:
    """Whether the outputs of a file, which are found there later, can only be its own."""
    if not isinstance(step, FileTask):
        return False
    ours = step.work.force or step.owned or step.begun
    return bool(ours) or not any(map(os.path.lexists, step.names(1).every))


def crash_rows(task: FileTask, crash: Crash) -> tuple[PageRow, ...]:
    """The rows of a file that cost its worker: its finished pages, and the others as failed."""
    finished = crash.rows
    pages = max((row.pages for row in finished), default=0)
    digest = next((row.source_sha256 for row in finished if row.source_sha256), "")
    first = finished[-1].page + 1 if finished else 0
    size, mtime_ns = source_state(task.source) or (0, 0)
    lost = PageRow(
        task.name,
        source_sha256=digest,
        source_bytes=size,
        source_mtime_ns=mtime_ns,
        pages=pages,
        reason=crash.reason,
        attempts=task.attempt,
        options=task.options,
        year=year_of(mtime_ns) if mtime_ns else None,
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
