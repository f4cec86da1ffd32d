"""What is known of one model: the tables of its `model.toml`, checked key by key."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecgvision.tasks import Task

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# One name, or names in folders: never a way out of the repository.
FileName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")
]
Repository = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=96)
]
Share = Annotated[float, Field(ge=0, le=1)]
Role = Literal["weights", "config", "onnx", "onnx-int8", "card", "picture"]

# What each role's file may be: formats that hold data and run nothing.
SUFFIXES: dict[str, str] = {
    "weights": ".safetensors",
    "config": ".json",
    "onnx": ".onnx",
    "onnx-int8": ".onnx",
    "card": ".md",
    "picture": ".png",
}


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelTask(Task):
    """A task with its exact definition in words: what counts as positive, and on whose word."""

    definition: Text


class ImageStyle(_Table):
    """The images that the model was trained on."""

    style: Text
    height_px: int = Field(gt=0)
    width_px: int = Field(gt=0)


class SignalShape(_Table):
    """The recordings that the model was trained on: twelve leads, NaN where not printed."""

    fs_hz: float = Field(gt=0)
    seconds: float = Field(gt=0)


class HubPlace(_Table):
    """Where the files are: a repository at one commit, which nobody can move."""

    repository: Repository
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    tag: str = ""


class ModelFile(_Table):
    """One file of the model as it must be."""

    name: FileName
    bytes: int = Field(gt=0)
    sha256: Sha256
    role: Role

    @model_validator(mode="after")
    def _holds_data_alone(self) -> Self:
        if not self.name.endswith(SUFFIXES[self.role]):
            raise ValueError(f"a file of role {self.role} must end in {SUFFIXES[self.role]}")
        return self


class Metric(_Table):
    """A figure with its interval, the data it comes from, and the command that gives it.

    `interval` names the method. `format` is the page format it holds for, "" for all together.
    """

    task: str
    name: Literal[
        "auc", "average_precision", "brier", "sensitivity", "specificity", "f1", "accuracy"
    ]
    value: Share
    low: Share
    high: Share
    confidence: float = Field(default=0.95, gt=0, lt=1)
    interval: Text
    test_set: Text
    examples: int = Field(gt=0)
    positives: int | None = Field(default=None, ge=0)
    format: str = ""
    command: Text

    @model_validator(mode="after")
    def _within(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError("value must lie within low and high")
        return self


class Threshold(_Table):
    """An operating point: positive from this calibrated probability on."""

    task: str
    name: Text
    threshold: Share
    sensitivity: Share | None = None
    specificity: Share | None = None
    chosen_on: Text
    default: bool = False


class Calibration(_Table):
    """A task's logits are divided by the temperature before they become probabilities."""

    task: str
    temperature: float = Field(gt=0)
    fitted_on: Text


class Entry(_Table):
    """One model of the zoo.

    A model is `available`, with its files, or has `no-weights`, with the reason. Its files lie
    beside its `model.toml`, or on the Hub at the place `hub`, or both. `formats` are those of the
    pages it was trained on. `simulated` says that training or test data were drawn up, not
    recorded.
    """

    id: Id
    title: Text
    status: Literal["available", "no-weights"]
    reason: str = ""
    recipe: str = ""
    tasks: Annotated[tuple[ModelTask, ...], Field(min_length=1)]
    input: Literal["image", "signal"] = "image"
    formats: tuple[str, ...] = ()
    simulated: bool = False
    licence: Text
    datasets: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")], ...] = ()
    image: ImageStyle | None = None
    signal: SignalShape | None = None
    hub: HubPlace | None = None
    files: tuple[ModelFile, ...] = ()
    metrics: tuple[Metric, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    calibration: tuple[Calibration, ...] = ()

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        _once("tasks", [task.name for task in self.tasks])
        _once("files", [file.name for file in self.files])
        _once("calibration", [one.task for one in self.calibration])
        _once("default thresholds", [one.task for one in self.thresholds if one.default])
        names = {task.name for task in self.tasks}
        for key in ("metrics", "thresholds", "calibration"):
            for one in getattr(self, key):
                if one.task not in names:
                    raise ValueError(f"{key} speak of task {one.task!r}, which is none of tasks")
        return self

    @model_validator(mode="after")
    def _there_or_not(self) -> Self:
        if self.status == "no-weights":
            if not self.reason:
                raise ValueError("status no-weights needs a reason")
            if self.hub or self.files:
                raise ValueError("status no-weights has neither hub nor files")
            return self
        if self.reason:
            raise ValueError("status available needs no reason")
        roles = [file.role for file in self.files]
        if "weights" not in roles or roles.count("config") != 1:
            raise ValueError("status available needs [[files]]: weights, and one config")
        return self


def _once(key: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{key} name {', '.join(twice)} more than once")
