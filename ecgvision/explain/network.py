"""What is explained: the network of a run, or of a model of the zoo, with all it is asked with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgvision.errors import EcgVisionError
from ecgvision.models import MultiTaskNet
from ecgvision.predicting.clinical import Value, features
from ecgvision.tasks import Task

Features = Callable[[dict[str, float]], NDArray[np.float32] | None]


class ExplainError(EcgVisionError):
    """A run or an image cannot be explained; the message says what to take instead."""

    code = "explain"


@dataclass(frozen=True)
class ImageNetwork:
    """A network of images: `image_px` and `style` are those of the images it takes.

    `temperatures` has those of its tasks that are calibrated.
    """

    id: str
    net: MultiTaskNet = field(repr=False)
    tasks: tuple[Task, ...]
    clinical: tuple[str, ...]
    image_px: tuple[int, int]
    style: str
    simulated: bool
    temperatures: Mapping[str, float]
    _filled: Features = field(repr=False)

    def features(self, given: Mapping[str, Value]) -> NDArray[np.float32] | None:
        """(1, k) with what is not given filled in as in training; None where it takes none.

        Raises `UsageError` for features that it does not know.
        """
        known = features(given, self.clinical)
        return self._filled(known) if self.clinical else None


def image_network(name: str) -> ImageNetwork:
    """The network of the run in that folder, or of the model of that id or `model.toml`.

    Raises `ExplainError` for one of no images; `TrainingError`, `ModelError`, `UsageError`,
    `ModelFileError`.
    """
    path = Path(name)
    is_model = path.suffix == ".toml" or (path.parent == Path() and not path.exists())
    return _of_model(name) if is_model else _of_run(path)


def _of_run(run: Path) -> ImageNetwork:
    import pandas as pd

    from ecgvision.training.features import imputed
    from ecgvision.training.predicting import run_imputer, trained_net
    from ecgvision.training.run import read_run

    recipe, about = read_run(run)
    if recipe.kind != "deep" or recipe.input != "image":
        what = "signals" if recipe.kind == "deep" else "no picture at all"
        raise ExplainError(
            f"{run.name}: expected a run of images, found one of {what} ({recipe.id}); "
            "heat maps are drawn for 2-D networks alone"
        )
    imputer = run_imputer(recipe, run)

    def filled(known: dict[str, float]) -> NDArray[np.float32]:
        frame = pd.DataFrame({name: [value] for name, value in known.items()}, dtype="float64")
        return imputed(recipe, frame, imputer)

    seen = about["data"]["image"]
    return ImageNetwork(
        recipe.id,
        trained_net(recipe, run),
        recipe.tasks,
        recipe.clinical,
        (seen["height_px"], seen["width_px"]),
        seen["style"] or "canonical",
        bool(about["data"]["simulated"]),
        {},
        filled,
    )


def _of_model(name: str) -> ImageNetwork:
    from ecgvision.predicting.clinical import network_features
    from ecgvision.predicting.model import load_torch_model

    model, network = load_torch_model(name)
    if model.config.is_signal:
        raise ExplainError(
            f"{model.entry.id}: expected a model of images, found one of signals; heat maps are "
            "drawn for 2-D networks alone"
        )
    return ImageNetwork(
        model.entry.id,
        network.net,
        model.config.recipe.tasks,
        model.clinical,
        model.image_px,
        model.config.image.style,
        model.entry.simulated,
        {one.task: one.temperature for one in model.entry.calibration},
        lambda known: network_features([known], model.config),
    )
