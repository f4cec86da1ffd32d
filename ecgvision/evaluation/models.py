"""Runs become models to be compared: their names, what they were trained on, what they say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.errors import UsageError
from ecgvision.evaluation.estimates import EvaluationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.dataset.predictions import Predictions
    from ecgvision.dataset.store import Dataset

    Predict = Callable[[Path, Dataset, NDArray[np.int64]], Predictions]


@dataclass(frozen=True, eq=False)
class Model:
    """A run under a name of its own, with its predictions and what a reader must know of it."""

    name: str
    title: str
    predictions: Predictions = field(repr=False)
    trained_on: str = ""
    remarks: tuple[str, ...] = ()


def collect(
    runs: Sequence[Path], dataset: Dataset, rows: NDArray[np.int64], predict: Predict
) -> tuple[Model, ...]:
    """The runs' predictions for these rows, by `predict`.

    Raises `UsageError` for no or doubled runs, `EvaluationError` for predictions of other rows.
    """
    folders = [Path(run) for run in runs]
    doubled = [
        run for run in folders if [one.resolve() for one in folders].count(run.resolve()) > 1
    ]
    if not folders or doubled:
        named = f"{str(doubled[0])!r} is named twice" if doubled else "none is named"
        raise UsageError(f"runs: {named}; name each run folder once")
    names = _names(folders)
    return tuple(
        _model(name, run, dataset, rows, predict(run, dataset, rows))
        for name, run in zip(names, folders, strict=True)
    )


def _model(
    name: str, run: Path, dataset: Dataset, rows: NDArray[np.int64], predictions: Predictions
) -> Model:
    if not np.array_equal(predictions.rows, rows):
        raise EvaluationError(
            f"run {name}: expected predictions of {len(rows)} rows of the data set in their order, "
            f"found {len(predictions.rows)} others; predict again"
        )
    about, recipe = _told(run / "run.json"), _told(run / "recipe.toml")
    trained_on = data_hash(about)
    remarks = []
    if trained_on and trained_on != dataset.digest:
        remarks.append(
            f"{name} was trained on other data ({trained_on[:12]}) than is evaluated here "
            f"({dataset.digest[:12]}): make sure that no patient of the evaluated rows was in it."
        )
    if not trained_on:
        remarks.append(f"{name} does not tell which data it was trained on.")
    status = about.get("status")
    if isinstance(status, str) and status not in ("", "done", "finished"):
        remarks.append(f"{name}: its run.json says {status!r}, not that training has ended.")
    return Model(name, str(recipe.get("title", "")), predictions, trained_on, tuple(remarks))


def data_hash(about: dict[str, Any]) -> str:
    """The digest of the training data that a run.json tells, or nothing."""
    told = about.get("data", {})
    found = told.get("digest", "") if isinstance(told, dict) else told
    return found if isinstance(found, str) else ""


def _told(path: Path) -> dict[str, Any]:
    """A JSON or TOML file as a dictionary, empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of those above them as tell them apart."""
    parts = [run.resolve().parts for run in folders]
    for depth in range(1, max(len(one) for one in parts) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in folders]
