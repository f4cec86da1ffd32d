"""Runs become models to be compared: their names, what they were trained on, what they say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.evaluation.estimates import EvaluationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.dataset.predictions import Predictions
    from ecgvision.dataset.store import Dataset

    Predict = Callable[[Path, Dataset, NDArray[np.int64]], Predictions]

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, eq=False)
class Model:
    """A run under a name of its own, with its predictions and what a reader must know of it."""

    name: str
    title: str
    predictions: Predictions = field(repr=False)
    trained_on: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Collected:
    """The models that can be evaluated, and why other runs cannot, by name."""

    models: tuple[Model, ...]
    failed: Mapping[str, EcgVisionError]


def collect(
    runs: Sequence[Path], dataset: Dataset, rows: NDArray[np.int64], predict: Predict
) -> Collected:
    """The runs' predictions for these rows, by `predict`; a run that cannot give them has failed.

    Raises `UsageError` for no or doubled runs, and what the last run says where all have failed.
    """
    folders = [Path(run) for run in runs]
    real = [run.resolve() for run in folders]
    doubled = [run for run, one in zip(folders, real, strict=True) if real.count(one) > 1]
    if not folders or doubled:
        named = f"{str(doubled[0])!r} is named twice" if doubled else "none is named"
        raise UsageError(f"runs: {named}; name each run folder once")
    models, failed = [], {}
    for name, run in zip(_names(folders), folders, strict=True):
        try:
            models.append(_model(name, run, dataset, rows, predict(run, dataset, rows)))
        except EcgVisionError as error:
            failed[name] = error
            if len(failed) == len(folders):
                raise
    return Collected(tuple(models), failed)


def stored(run: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Predictions | None:
    """What a run has predicted when it was trained, if it is surely of these rows.

    None unless the run is done, was trained on this very data set, its model and its predictions
    have the hashes that run.json tells, and all `rows` are among them.
    """
    from ecgvision.dataset.predictions import Predictions, read_predictions
    from ecgvision.dataset.store import file_sha256

    about = _told(run / "run.json")
    hashes = about.get("sha256")
    if about.get("status") != "done" or data_hash(about) != dataset.digest:
        return None
    if not isinstance(hashes, dict) or PREDICTIONS not in hashes or len(hashes) < 2:
        return None
    paths = {run / name: told for name, told in hashes.items()}
    if any(not path.is_file() or file_sha256(path) != told for path, told in paths.items()):
        return None
    found = read_predictions(run / PREDICTIONS)
    order = np.argsort(found.rows, kind="stable")
    place = np.searchsorted(found.rows[order], rows)
    known = place < found.rows.size
    if not known.all() or not np.array_equal(found.rows[order][place], rows):
        return None
    chosen = order[place]
    scores = {name: values[chosen] for name, values in found.scores.items()}
    return Predictions(found.tasks, rows, scores)


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
    remarks = tuple(_remarks(name, about, dataset))
    return Model(name, str(recipe.get("title", "")), predictions, trained_on, remarks)


def _remarks(name: str, about: dict[str, Any], dataset: Dataset) -> Iterator[str]:
    trained_on, status = data_hash(about), about.get("status")
    if not trained_on:
        yield f"{name} does not tell which data it was trained on."
    elif trained_on != dataset.digest:
        yield (
            f"{name} was trained on other data ({trained_on[:12]}) than is evaluated here "
            f"({dataset.digest[:12]}): make sure that no patient of the evaluated rows was in it."
        )
    data = about.get("data")
    if isinstance(data, dict) and data.get("simulated") and not dataset.about.simulated:
        yield f"{name} was trained on simulated data."
    if status != "done" and about:
        yield f"{name}: its run.json does not say that the training is done."


def data_hash(about: dict[str, Any]) -> str:
    """The digest of the training data that a run.json tells, or nothing."""
    told = about.get("data")
    found = told.get("sha256", "") if isinstance(told, dict) else ""
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
