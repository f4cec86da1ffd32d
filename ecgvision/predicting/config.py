"""A model's `config.json`: what its network takes, as the run that made it had it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecgvision.dataset.clinical_fitted import Fitted
from ecgvision.tasks import Task
from ecgvision.zoo.entry import Entry
from ecgvision.zoo.files import ModelFileError

Side = Annotated[int, Field(ge=32, le=4096)]
# The backbone that takes them; `ecgvision.models`, which names it too, needs torch.
_WHOLE_RECORDINGS = "resnet1d"


class _Part(BaseModel):
    # There is more in it, which is of no matter here.
    model_config = ConfigDict(frozen=True, extra="ignore")


class ImagePart(_Part):
    """The images of the data set that it was trained on."""

    style: str = "canonical"
    height_px: Side
    width_px: Side


class SignalPart(_Part):
    """The recordings of the data set that it was trained on."""

    fs_hz: Annotated[float, Field(gt=0)]
    samples: Annotated[int, Field(ge=1)]
    leads: tuple[str, ...]


class _Data(_Part):
    simulated: bool = False
    image: ImagePart | None = None
    signal: SignalPart | None = None


class _Run(_Part):
    data: _Data


class _Augment(_Part):
    crop_s: float = 0.0


class _Training(_Part):
    augment: _Augment = _Augment()


class _Recipe(_Part):
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    input: str = "image"
    clinical: tuple[str, ...] = ()
    model: dict[str, Any] = Field(default_factory=dict)
    training: _Training = _Training()


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
        if found is None or self.is_signal:
            raise AssertionError("a network of signals takes no images")
        return found if found.style else found.model_copy(update={"style": "canonical"})

    @property
    def is_signal(self) -> bool:
        """Whether it takes recordings, not images."""
        return self.recipe.input == "signal"

    @property
    def signal(self) -> SignalPart:
        """The recordings that the network takes."""
        if self.run.data.signal is None or not self.is_signal:
            raise AssertionError("a network of images takes no signals")
        return self.run.data.signal

    @property
    def crop_s(self) -> float:
        """How many seconds of a recording it sees at once; 0 for all of it."""
        return self.recipe.training.augment.crop_s

    @property
    def keeps_unknown(self) -> bool:
        """Whether clinical features that are not known reach the network as NaN."""
        return bool(self.recipe.model.get("unknown") == "category")


def read_config(path: Path, entry: Entry) -> ModelConfig:
    """The `config.json` of a model whose tasks are binary; raises `ModelFileError`.

    It is one of images or of whole recordings.
    """
    try:
        config = ModelConfig.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _error(entry, path, "a model's configuration", f"{where}: {first['msg']}") from error
    except OSError as error:
        raise _error(entry, path, "a file that can be read", str(error.strerror)) from error
    recipe = config.recipe
    if recipe.input != entry.input:
        raise _error(entry, path, f"a model of {entry.input}s", f"one of {recipe.input}s")
    if config.is_signal and recipe.model.get("backbone") != _WHOLE_RECORDINGS:
        raise _error(entry, path, "a model of whole recordings", "one of beats, which is not asked")
    if (config.run.data.signal if config.is_signal else config.run.data.image) is None:
        raise _error(entry, path, f"what its {recipe.input}s are like", "nothing")
    due = [task.name for task in entry.tasks]
    found = [task.name for task in recipe.tasks]
    if due != found:
        raise _error(entry, path, f"the tasks {', '.join(due)}", ", ".join(found))
    several = [task.name for task in recipe.tasks if not task.is_binary]
    if several:
        raise _error(entry, path, "binary tasks", f"classes in {', '.join(several)}")
    if config.run.data.simulated and not entry.simulated:
        raise _error(entry, path, "data that were recorded", "simulated ones")
    if not _as_told(entry, config):
        raise _error(entry, path, f"the {recipe.input}s of model.toml", "others")
    return config


def _as_told(entry: Entry, config: ModelConfig) -> bool:
    """Whether `model.toml` speaks of the same images, or of the same signals."""
    if config.is_signal:
        due = config.signal
        shape = entry.signal
        return shape is None or (
            shape.fs_hz == due.fs_hz and round(shape.seconds * shape.fs_hz) == due.samples
        )
    image, told = config.image, entry.image
    return told is None or (told.style, told.height_px, told.width_px) == (
        image.style,
        image.height_px,
        image.width_px,
    )


def _error(entry: Entry, path: Path, expected: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"{entry.id}: {path.name}: expected {expected}, found {found}; "
        "the files of this model do not belong together: install or pull it anew"
    )
