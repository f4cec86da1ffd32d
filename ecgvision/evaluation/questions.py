"""Yes-or-no questions that outputs of models answer: tasks, classes, other cuts of a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.errors import UsageError
from ecgvision.evaluation.calibration import log_odds_of_class
from ecgvision.evaluation.estimates import EvaluationError
from ecgvision.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.dataset.predictions import Predictions
    from ecgvision.dataset.store import Dataset


@dataclass(frozen=True, eq=False)
class Question:
    """A question about every row of a data set, answered by an output of `task`.

    `labels` (rows of the data set) are 0, 1 or NaN. `number` is the class of a task with several,
    asked against all others. `other_cut` questions are scored by an output that was trained for
    another cut, so that its probability is none of this question.
    """

    name: str
    title: str
    task: Task
    labels: NDArray[np.float64] = field(repr=False)
    number: int | None = None
    other_cut: bool = False

    def log_odds(self, predictions: Predictions, temperature: float = 1.0) -> NDArray[np.float64]:
        """(n,) in the order of the predictions, their logits divided by `temperature`."""
        scores = predictions.scores[self.task.name] / temperature
        return scores if self.number is None else log_odds_of_class(scores, self.number)


def questions(
    tasks: Iterable[Task], dataset: Dataset, cuts: Sequence[tuple[str, float]] = ()
) -> tuple[Question, ...]:
    """The questions of all tasks, each once, and of other `cuts`: name of a task and value.

    Raises `EvaluationError` where tasks of one name mean different things or the data set lacks
    their column, `LabelError` for labels that are none, `UsageError` for a cut of no such task.
    """
    known: dict[str, Task] = {}
    for task in tasks:
        before = known.setdefault(task.name, task)
        if _meaning(before) != _meaning(task):
            raise EvaluationError(
                f"task {task.name}: expected one meaning in all runs, found "
                f"{_meaning(before)} and {_meaning(task)}; evaluate these runs apart"
            )
    found: list[Question] = []
    for task in known.values():
        found += _of_task(task, _column(task, dataset))
        found += [
            _of_cut(task, value, dataset)
            for name, value in dict.fromkeys(cuts)
            if name == task.name
        ]
    for name, _ in cuts:
        if name not in known:
            raise UsageError(f"--cut {name}: no run has that task; there are {', '.join(known)}")
    return tuple(found)


def class_numbers(task: Task, dataset: Dataset) -> NDArray[np.float64]:
    """(rows,) the number of each row's class, NaN where it is not known."""
    return task.targets(_column(task, dataset)).astype(np.float64)


def _of_task(task: Task, values: Sequence[object]) -> list[Question]:
    targets = task.targets(values).astype(np.float64)
    title = task.title or task.name
    if task.is_binary:
        return [Question(task.name, title, task, targets)]
    unknown = np.isnan(targets)
    return [
        Question(
            f"{task.name}: {name}",
            f"{title}: {name}",
            task,
            np.where(unknown, np.nan, targets == number),
            number,
        )
        for number, name in enumerate(task.classes)
    ]


def _of_cut(task: Task, value: float, dataset: Dataset) -> Question:
    if task.below is None and task.at_least is None:
        raise UsageError(
            f"--cut {task.name}: the task has no cut; its labels are no measured value"
        )
    sign = "<" if task.below is not None else ">="
    changed = {"below": value} if task.below is not None else {"at_least": value}
    other = Task.model_validate({**task.model_dump(), **changed})
    targets = other.targets(_column(task, dataset)).astype(np.float64)
    name = f"{task.name} {sign} {value:g}"
    own = task.below if task.below is not None else task.at_least
    title = f"{task.source} {sign} {value:g}, scored by the output for {sign} {own:g}"
    return Question(name, title, task, targets, other_cut=True)


def _column(task: Task, dataset: Dataset) -> Sequence[object]:
    if task.source not in dataset.rows:
        labels = ", ".join(dataset.about.named("label")) or "none"
        raise EvaluationError(
            f"task {task.name}: expected a column {task.source} in data set "
            f"{dataset.about.name!r}, found the labels {labels}; evaluate on data with that label"
        )
    return [
        None if value is None or value != value else value for value in dataset.rows[task.source]
    ]


def _meaning(task: Task) -> Mapping[str, object]:
    told: dict[str, object] = {
        "column": task.source,
        "below": task.below,
        "at_least": task.at_least,
        "classes": task.classes or None,
    }
    return {name: value for name, value in told.items() if value is not None}
