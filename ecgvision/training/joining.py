"""Trained networks as the members of one: their mean counts, and nothing is trained.

Several networks together are better than any of them (Lakshminarayanan et al. 2017), also where
they have learned from different formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgvision.dataset.store import Dataset
from ecgvision.models import MultiTaskNet
from ecgvision.models.weights import fit_state, read_tensors, weight_bytes
from ecgvision.output import write_files
from ecgvision.training.errors import TrainingError
from ecgvision.training.features import WEIGHTS
from ecgvision.training.recipe import Recipe


def check_member(recipe: Recipe, found: Recipe, data: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise `TrainingError` unless a run of `found` can be a member of the recipe's network."""
    for what, due, there in (
        ("tasks", recipe.tasks, found.tasks),
        ("input", recipe.input, found.input),
        ("network", _shape(recipe), _shape(found)),
        ("clinical features", recipe.clinical, found.clinical),
        ("data set", dataset.digest, data.get("sha256")),
    ):
        if due != there:
            raise TrainingError(
                f"recipe {recipe.id} joins {found.id}: expected the same {what}, found another; "
                "train all of them on one data set with settings that agree"
            )


def _shape(recipe: Recipe) -> dict[str, Any]:
    """What makes a single network: the members of a joined one are single."""
    return recipe.model.model_dump(exclude={"members", "pretrained"})


def join(recipe: Recipe, members: Sequence[Path], run: Path) -> dict[str, Any]:
    """Leave the weights of one network in the folder, made of those of the runs; the figures.

    Raises `ModelError` for weights that do not fit.
    """
    settings = recipe.model.model_copy(update={"pretrained": ""})
    net = MultiTaskNet(recipe.tasks, settings, recipe.clinical, recipe.input == "signal")
    state: dict[str, Any] = {}
    for number, member in enumerate(members):
        before = f"others.{number - 1}." if number else ""
        path = member / WEIGHTS
        state |= {f"{before}{name}": tensor for name, tensor in read_tensors(path).items()}
    fit_state(net, state, " and ".join(member.name for member in members))
    write_files({run / WEIGHTS: weight_bytes(net)})
    return {"weights_of": "members"}
