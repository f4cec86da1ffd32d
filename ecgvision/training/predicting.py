"""A trained run asked about rows of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.clinical import ClinicalImputer
from ecgvision.dataset.predictions import Predictions
from ecgvision.dataset.store import Dataset
from ecgvision.models import MultiTaskNet, load_weights
from ecgvision.training.asking import ask, best_device
from ecgvision.training.baselines import ask_baseline
from ecgvision.training.data import input_array
from ecgvision.training.errors import TrainingError
from ecgvision.training.features import (
    CLINICAL,
    MODEL,
    WEIGHTS,
    clinical_of,
    examples_of,
    fs_of,
)
from ecgvision.training.recipe import Recipe, read_recipe

_RECIPE = "recipe.toml"


def predict_run(run: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Predictions:
    """Scores of all tasks of a run for these rows, labels or not; the same every time.

    Raises `TrainingError` or `ModelError` where the run is not whole or the data set lacks what it
    needs.
    """
    recipe = read_recipe(run / _RECIPE)
    rows = np.asarray(rows, dtype=np.int64)
    clinical = clinical_of(recipe, dataset, run_imputer(recipe, run))
    if recipe.kind != "deep":
        features = None if clinical is None else clinical[rows]
        scores = ask_baseline(recipe, _model(run), len(rows), features)
        return Predictions(recipe.tasks, rows, scores)
    net = trained_net(recipe, run)
    source = input_array(recipe, dataset)
    examples = examples_of(recipe, dataset, source, clinical, rows, labelled=False)
    scores = ask(net, recipe, examples, fs_of(dataset), best_device())
    return Predictions(recipe.tasks, rows, scores)


def trained_net(recipe: Recipe, run: Path) -> MultiTaskNet:
    """The network of a run with its weights, for prediction; raises `ModelError`."""
    # What it started from is of no matter any more, and may be gone.
    settings = recipe.model.model_copy(update={"pretrained": ""})
    net = MultiTaskNet(recipe.tasks, settings, recipe.clinical, recipe.input == "signal")
    load_weights(net, run / WEIGHTS)
    net.eval()
    return net


def run_imputer(recipe: Recipe, run: Path) -> ClinicalImputer | None:
    """The imputer of a run that has one; raises `TrainingError` where its file is missing."""
    if not recipe.clinical or recipe.kind == "majority":
        return None
    return ClinicalImputer.from_json(_text(run / CLINICAL), f"{run.name}/{CLINICAL}")


def _model(run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_text(run / MODEL))
    except ValueError as error:
        raise TrainingError(
            f"{run.name}/{MODEL}: expected JSON, found something else; train anew"
        ) from error
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"{path.parent.name}: expected a run with {path.name}, found none that can be read; "
            "train anew"
        ) from error
