"""What a model said of rows of a data set: what training gives and evaluation takes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from ecgvision.dataset.about import DatasetError
from ecgvision.dataset.parquet import parquet_table
from ecgvision.errors import UsageError
from ecgvision.output import write_files
from ecgvision.tasks import Task

_TASKS = b"ecgvision.tasks"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of the tasks for rows of a data set, before any calibration.

    `rows` (n,) are the rows' numbers, in the order of all `scores`. A binary task has (n,) log-odds
    of the positive class, one with k classes (n, k) logits. Rows whose labels are not known have
    scores, too. Raises `UsageError` where any of it does not fit or is not finite.
    """

    tasks: tuple[Task, ...]
    rows: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float64]] = field(repr=False)

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if sorted(names) != sorted(self.scores) or len(set(names)) != len(names):
            raise UsageError(f"scores of {sorted(self.scores)} do not fit the tasks {names}")
        if self.rows.ndim != 1 or self.rows.dtype != np.int64:
            raise UsageError(f"rows: expected (n,) int64, found {self.rows.shape}")
        for task in self.tasks:
            self._check(task)

    def _check(self, task: Task) -> None:
        found = self.scores[task.name]
        count = len(self.rows)
        shape = (count,) if task.is_binary else (count, task.outputs)
        if found.shape != shape or found.dtype != np.float64:
            raise UsageError(
                f"scores of {task.name}: expected {shape} float64, "
                f"found {found.shape} {found.dtype}"
            )
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0][0])
            raise UsageError(f"scores of {task.name}: row {self.rows[row]} is not finite")

    def task(self, name: str) -> Task:
        """The task of that name; raises `UsageError`."""
        for one in self.tasks:
            if one.name == name:
                return one
        raise UsageError(f"no task {name!r}; there are {', '.join(t.name for t in self.tasks)}")

    def probabilities(self, name: str) -> NDArray[np.float64]:
        """(n,) of the positive class, or (n, k) that sum to 1, from the scores as they are."""
        scores = self.scores[name]
        if self.task(name).is_binary:
            # tanh does not overflow, whatever the log-odds.
            return np.asarray(0.5 * (1 + np.tanh(scores / 2)), dtype=np.float64)
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a Parquet file: `row`, then a column for each score; raises `OutputError`.

    They are called `score.task`, or `score.task.class` for each of several classes.
    """
    columns: dict[str, Any] = {"row": predictions.rows}
    for task in predictions.tasks:
        scores = predictions.scores[task.name]
        columns |= zip(_columns(task), np.atleast_2d(scores.T), strict=True)
    tasks = json.dumps([task.model_dump(mode="json") for task in predictions.tasks])
    table = pa.table(columns).replace_schema_metadata({_TASKS: tasks})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    write_files({path: file.getvalue()})


def _columns(task: Task) -> list[str]:
    name = f"score.{task.name}"
    return [name] if task.is_binary else [f"{name}.{one}" for one in task.classes]


def read_predictions(path: Path) -> Predictions:
    """The predictions in a file of `write_predictions`; raises `DatasetError`."""
    try:
        table = parquet_table(path.read_bytes())
        tasks = tuple(
            Task.model_validate(one) for one in json.loads((table.schema.metadata or {})[_TASKS])
        )
        scores = {}
        for task in tasks:
            found = [table[name].to_numpy() for name in _columns(task)]
            scores[task.name] = found[0] if task.is_binary else np.stack(found, axis=1)
        return Predictions(tasks, table["row"].to_numpy(), scores)
    except (pa.ArrowException, OSError, KeyError, ValueError, ValidationError, UsageError) as error:
        raise DatasetError(
            "predictions-unreadable",
            path,
            None,
            expected="predictions of a run",
            found=f"something else ({type(error).__name__})",
            hint="give the run again, or name another file",
        ) from error
