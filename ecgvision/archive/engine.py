"""What does the work of a run: the protocol of engines, and the simplest of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ecgvision.archive.task import FileResult, FileTask, Outcome
from ecgvision.archive.work import convert_file
from ecgvision.errors import EcgVisionError

Worker = Callable[[FileTask], FileResult]


class WorkersError(EcgVisionError):
    """No worker stays alive, whatever it is given."""

    code = "workers-lost"


class Engine(Protocol):
    """Converts files, some at a time; a context that holds its processes or machines."""

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        """What came of each task, in any order; None at least once a second where nothing did.

        A task is taken when there is room for it, so that few are in flight at any time; with
        `alone` one after the other. A worker that is lost with its file comes as a `Crash`.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None:
        """End everything, what is in flight as well."""
        ...


class InProcess:
    """Converts one file after the other in this process: no start-up, and no protection."""

    def __init__(self, worker: Worker = convert_file) -> None:
        self._worker = worker

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        for task in tasks:
            yield Outcome(task, self._worker(task))
