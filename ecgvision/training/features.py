"""What of a data set goes into a model, with clinical features imputed, and the fits themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.clinical import ClinicalImputer
from ecgvision.dataset.store import Dataset
from ecgvision.models import MultiTaskNet, load_weights
from ecgvision.models.weights import weight_bytes
from ecgvision.output import json_bytes, write_files
from ecgvision.training.baselines import fit_majority, fit_xgboost
from ecgvision.training.data import Examples, Rows, clinical_frame, input_array, targets_of
from ecgvision.training.recipe import Recipe
from ecgvision.training.statements import statements_of

CLINICAL, WEIGHTS, MODEL = "clinical.json", "weights.safetensors", "model.json"


def fitted_imputer(recipe: Recipe, dataset: Dataset, train: Rows) -> ClinicalImputer | None:
    """Fitted on the training rows alone; None where the recipe has no clinical features."""
    if not recipe.clinical:
        return None
    frame = clinical_frame(recipe.clinical, dataset)
    return ClinicalImputer().fit(frame.iloc[train].reset_index(drop=True))


def clinical_of(
    recipe: Recipe, dataset: Dataset, imputer: ClinicalImputer | None
) -> NDArray[np.float32] | None:
    """(rows, columns) of all rows, imputed unless the network takes NaN as a category."""
    if imputer is None:
        return None
    return imputed(recipe, clinical_frame(recipe.clinical, dataset), imputer)


def imputed(recipe: Recipe, frame: Any, imputer: ClinicalImputer | None) -> NDArray[np.float32]:
    """(rows, columns) of a frame of the recipe's clinical columns, as its model takes them.

    What is not known is filled in everywhere by what was learnt on the training rows: the study
    did so in training alone, where its test data were complete; a network needs a number.
    """
    keeps_unknown = recipe.kind == "deep" and recipe.model.unknown == "category"
    if imputer is not None and not keeps_unknown:
        frame = imputer.transform(frame)
    return np.asarray(frame[list(recipe.clinical)], dtype=np.float32)


def examples_of(
    recipe: Recipe,
    dataset: Dataset,
    source: NDArray[Any],
    clinical: NDArray[np.float32] | None,
    rows: Rows,
    *,
    labelled: bool = True,
) -> Examples:
    """Rows with their targets, or without, as at prediction they are not looked at."""
    targets = targets_of(recipe.tasks, dataset, rows) if labelled else {}
    return Examples(source, rows, targets, None if clinical is None else clinical[rows])


def fs_of(dataset: Dataset) -> float | None:
    return None if dataset.about.signal is None else dataset.about.signal.fs_hz


def fit_deep(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    rows: Mapping[str, Rows],
    start: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train a network and leave its weights in the folder."""
    import torch

    from ecgvision.training.fitting import fit

    source = input_array(recipe, dataset)
    imputer = fitted_imputer(recipe, dataset, rows["train"])
    clinical = clinical_of(recipe, dataset, imputer)
    train, validation = (
        examples_of(recipe, dataset, source, clinical, rows[split])
        for split in ("train", "validation")
    )
    statements = statements_of(recipe.training.statements, dataset, rows["train"])
    if statements is not None:
        train = replace(train, statements=statements.targets)
    torch.manual_seed(recipe.training.seed)
    net = MultiTaskNet(recipe.tasks, recipe.model, recipe.clinical, recipe.input == "signal")
    if start is not None:
        load_weights(net, start / WEIGHTS)
    fitted = fit(net, recipe, train, validation, fs_of(dataset), run, say)
    if fitted is None:
        return {}
    files = {run / WEIGHTS: weight_bytes(fitted.net)}
    if imputer is not None:
        files[run / CLINICAL] = imputer.to_json().encode()
    write_files(files)
    said = {} if statements is None else {"statements": list(statements.words)}
    return {"weights_of": fitted.kept, **fitted.figures, **said}


def fit_baseline(
    recipe: Recipe, dataset: Dataset, run: Path, rows: Mapping[str, Rows]
) -> dict[str, Any]:
    """Fit XGBoost or the majority and leave it in the folder."""
    targets = {split: targets_of(recipe.tasks, dataset, rows[split]) for split in rows}
    if recipe.kind == "majority":
        write_files({run / MODEL: json_bytes(fit_majority(recipe, targets["train"]))})
        return {}
    imputer = fitted_imputer(recipe, dataset, rows["train"])
    clinical = clinical_of(recipe, dataset, imputer)
    if imputer is None or clinical is None:
        raise AssertionError("a recipe of kind xgboost has clinical columns")
    train, validation = (
        (clinical[rows[split]], targets[split]) for split in ("train", "validation")
    )
    model, rounds = fit_xgboost(recipe, train, validation)
    files = {run / CLINICAL: imputer.to_json().encode(), run / MODEL: json_bytes(model)}
    write_files(files)
    return {"rounds": rounds}
