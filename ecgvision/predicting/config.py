"""A model's `config.json`: what its network takes, as the run that made it had it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecgvision.dataset.clinical_fitted import Fitted
from ecgvision.tasks import Task
from ecgvision.zoo.entry import Entry
from ecgvision.zoo.files import ModelFileError

Side = Annotated[int, Field(ge=32, le=4096)]


class _Part(BaseModel):
    # There is more in it, which is of no matter here.
    model_config = ConfigDict(frozen=True, extra="ignore")


class ImagePart(_Part):
    """The images of the data set that it was trained on."""

    style: str = "canonical"
    height_px: Side
    width_px: Side


class _Data(_Part):
    simulated: bool = False
    image: ImagePart | None = None


class _Run(_Part):
    data: _Data


class _Recipe(_Part):
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    input: str = "image"
    clinical: tuple[str, ...] = ()
    model: dict[str, Any] = Field(default_factory=dict)


class ModelConfig(_Part):
    """All of `config.json` that asking a network needs."""

    kind: Literal["ecgvision-model"]
    version: Literal[1]
    recipe: _Recipe
    run: _Run
    clinical: Fitted | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        names = self.recipe.clinical
        fitted = self.clinical
        if fitted is None:
            if names and not self.keeps_unknown:
                raise ValueError("clinical features, and nothing to fill in unknown ones by")
        elif missing := {*names} - {fitted.age, fitted.sex, *fitted.features}:
            raise ValueError(f"clinical: nothing to fill in {', '.join(sorted(missing))} by")
        return self

    @property
    def image(self) -> ImagePart:
        """The images that the network takes."""
        found = self.run.data.image
        if found is None:
            raise AssertionError("read_config refuses models of signals")
        return found if found.style else found.model_copy(update={"style": "canonical"})

    @property
    def keeps_unknown(self) -> bool:
        """Whether clinical features that are not known reach the network as NaN."""
        return bool(self.recipe.model.get("unknown") == "category")


def read_config(path: Path, entry: Entry) -> ModelConfig:
    """The `config.json` of a model of images whose tasks are binary; raises `ModelFileError`."""
    try:
        config = ModelConfig.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _error(entry, path, "a model's configuration", f"{where}: {first['msg']}") from error
    except OSError as error:
        raise _error(entry, path, "a file that can be read", str(error.strerror)) from error
    recipe, seen = config.recipe, config.run.data.image
    if recipe.input != "image" or entry.input != "image" or seen is None:
        raise _error(entry, path, "a model of images", "one of signals, which is not asked yet")
    due = [task.name for task in entry.tasks]
    found = [task.name for task in recipe.tasks]
    if due != found:
        raise _error(entry, path, f"the tasks {', '.join(due)}", ", ".join(found))
    several = [task.name for task in recipe.tasks if not task.is_binary]
    if several:
        raise _error(entry, path, "binary tasks", f"classes in {', '.join(several)}")
    if config.run.data.simulated and not entry.simulated:
        raise _error(entry, path, "data that were recorded", "simulated ones")
    told = entry.image
    if told and (told.style, told.height_px, told.width_px) != (
        config.image.style,
        seen.height_px,
        seen.width_px,
    ):
        raise _error(entry, path, "the images of model.toml", "others")
    return config


def _error(entry: Entry, path: Path, expected: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"{entry.id}: {path.name}: expected {expected}, found {found}; "
        "the files of this model do not belong together: install or pull it anew"
    )


def check_images(images: Any, config: ModelConfig) -> None:
    """Raise `ValueError` unless images are (n, H, W) ``uint8`` of the network's size."""
    due = (config.image.height_px, config.image.width_px)
    fine = isinstance(images, np.ndarray) and images.ndim == 3 and images.dtype == np.uint8
    if not fine or images.shape[1:] != due:
        raise ValueError(
            f"expected (n, {due[0]}, {due[1]}) uint8, found {getattr(images, 'shape', images)!r} "
            f"{getattr(images, 'dtype', '')}"
        )
