"""Models without pictures: XGBoost on clinical features, and always the same answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgvision.tasks import Task
from ecgvision.training.errors import TrainingError
from ecgvision.training.recipe import Recipe

Scores = NDArray[np.float64]
Targets = Mapping[str, NDArray[np.float32]]
# The study does not give its settings: small trees, stopped by the validation loss.
_ROUNDS, _EARLY = 300, 20
_SETTINGS = {"max_depth": 3, "eta": 0.1, "subsample": 0.8, "nthread": 1, "tree_method": "hist"}


def fit_majority(recipe: Recipe, targets: Targets) -> dict[str, Any]:
    """For each task what every row gets: log-odds of its share, or logits of its classes'."""
    found = {}
    for task in recipe.tasks:
        known = targets[task.name][np.isfinite(targets[task.name])].astype(int)
        # Half an example more of each class keeps the logarithms finite.
        logs = np.log(np.bincount(known, minlength=task.outputs) + 0.5)
        found[task.name] = float(logs[1] - logs[0]) if task.is_binary else logs.tolist()
    return {"kind": "majority", "tasks": found}


def fit_xgboost(
    recipe: Recipe,
    train: tuple[NDArray[np.float32], Targets],
    validation: tuple[NDArray[np.float32], Targets],
) -> tuple[dict[str, Any], dict[str, int]]:
    """Boosted trees for each task, as XGBoost's own JSON, and how many rounds each took."""
    import xgboost

    models, rounds = {}, {}
    for task in recipe.tasks:
        settings: dict[str, Any] = {**_SETTINGS, "seed": recipe.training.seed}
        if task.is_binary:
            settings |= {"objective": "binary:logistic", "eval_metric": "logloss"}
        else:
            settings |= {"objective": "multi:softprob", "eval_metric": "mlogloss"}
            settings["num_class"] = task.outputs
        booster = xgboost.train(
            settings,
            _matrix(task, *train),
            num_boost_round=_ROUNDS,
            evals=[(_matrix(task, *validation), "validation")],
            early_stopping_rounds=_EARLY,
            verbose_eval=False,
        )
        rounds[task.name] = int(booster.best_iteration) + 1
        kept = booster[: rounds[task.name]]
        models[task.name] = json.loads(bytes(kept.save_raw("json")))
    return {"kind": "xgboost", "tasks": models}, rounds


def _matrix(task: Task, features: NDArray[np.float32], targets: Targets) -> Any:
    import xgboost

    known = np.isfinite(targets[task.name])
    return xgboost.DMatrix(features[known], targets[task.name][known], nthread=1)


def ask_baseline(
    recipe: Recipe, model: Mapping[str, Any], count: int, features: NDArray[np.float32] | None
) -> dict[str, Scores]:
    """Scores of every task for `count` rows; raises `TrainingError` for a model that is none."""
    if model.get("kind") != recipe.kind or set(model.get("tasks", ())) != {
        task.name for task in recipe.tasks
    }:
        raise TrainingError(
            f"model.json: expected a model of kind {recipe.kind} for the tasks of {recipe.id}, "
            "found another; train anew"
        )
    if recipe.kind == "majority":
        return {
            t.name: np.tile(np.asarray(model["tasks"][t.name], np.float64), (count, 1))
            if not t.is_binary
            else np.full(count, model["tasks"][t.name], np.float64)
            for t in recipe.tasks
        }
    import xgboost

    data = xgboost.DMatrix(features, nthread=1)
    found = {}
    for task in recipe.tasks:
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(json.dumps(model["tasks"][task.name]).encode()))
        found[task.name] = booster.predict(data, output_margin=True).astype(np.float64)
    return found
