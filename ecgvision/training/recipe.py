"""Recipes: what is trained on what, and how, as TOML; found by id or path, checked key by key."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.models.settings import STRIPS, ModelSettings
from ecgvision.tasks import Task

_HERE = Path(__file__).resolve()
# In an installed package, and in the working tree.
_FOLDERS = (_HERE.parent / "recipes", _HERE.parents[2] / "zoo" / "recipes")
# Longer chains are loops.
_DEEPEST = 8

Share = Annotated[float, Field(ge=0, le=1)]


class RecipeError(UsageError):
    """A recipe cannot be found, read or believed; the message names the file and the key."""

    code = "recipe"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentSettings(_Table):
    """How training examples are varied, on the device, anew in every epoch.

    Images: `blur` and `motion_blur` are the shares of pages blurred a little, `brightness` and
    `contrast` the most by which they change, `shift` and `stretch` the most by which a page is
    moved and scaled, as a share of its size. Signals: `gain` is the most by which all millivolts
    are scaled, `noise_mv` and `wander_mv` the most of white noise and of slow drift, `drop_lead`
    the share of leads left out. `crop_s` seconds of a whole recording are seen at a time, 0 for
    all of it; asked for its opinion, a model sees pieces that cover it, and the mean counts.
    `mixup` is the parameter of the beta distribution that pairs of examples are mixed by, 0 for
    none (Zhang et al. 2018).
    """

    blur: Share = 0.2
    motion_blur: Share = 0.2
    brightness: Share = 0.2
    contrast: Share = 0.2
    shift: Share = 0.0
    stretch: Share = 0.0
    gain: Share = 0.0
    noise_mv: float = Field(default=0.0, ge=0)
    wander_mv: float = Field(default=0.0, ge=0)
    drop_lead: float = Field(default=0.0, ge=0, lt=1)
    crop_s: float = Field(default=0.0, ge=0)
    mixup: float = Field(default=0.0, ge=0)


class StatementSettings(_Table):
    """Words of a text column that are learnt beside the tasks; see `ecgvision.training.statements`.

    `column` lists statements, with spaces, commas or semicolons between them; "" for none. Learnt
    are those of `least_share` of the training rows; their mean loss counts `weight` times.
    """

    column: str = ""
    least_share: Share = 0.0075
    weight: float = Field(default=1.0, ge=0)


class TrainingSettings(_Table):
    """How a network is trained; the defaults are the study's.

    The learning rate rises over `warmup_steps`, then falls linearly to 0 over `epochs`. With `swa`
    the weights of the last `swa_share` of the epochs are averaged. `patience` epochs without a
    lower validation loss end a training, 0 never does. `precision` "auto" is bf16 or fp16 on GPUs
    that have it and fp32 on the CPU. `workers` -1 loads in this process on the CPU and in two
    others for a GPU. `compile` is worth it for long trainings on a GPU.
    """

    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    swa: bool = True
    swa_share: float = Field(default=0.25, gt=0, le=1)
    patience: int = Field(default=5, ge=0)
    precision: Literal["auto", "32", "16", "bf16"] = "auto"
    seed: int = Field(default=1, ge=0, lt=2**31)
    workers: int = Field(default=-1, ge=-1, le=64)
    channels_last: bool = True
    compile: bool = False
    augment: AugmentSettings = AugmentSettings()
    statements: StatementSettings = StatementSettings()


class TrainerSettings(_Table):
    """Where it is trained: handed to Lightning as it is; no part of what the model becomes."""

    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    nodes: int = Field(default=1, ge=1)
    strategy: str = "auto"


class Recipe(_Table):
    """One paradigm: its input, rows, tasks, network and training.

    `formats` are those whose rows are trained on, all where empty; validation for early stopping
    follows them. `clinical` names columns. `start` is the recipe whose run the weights come from.
    `join` names recipes whose trained networks become the members of this one: then nothing is
    trained.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    kind: Literal["deep", "xgboost", "majority"] = "deep"
    input: Literal["image", "signal"] = "image"
    formats: tuple[str, ...] = ()
    clinical: tuple[str, ...] = ()
    start: str = ""
    join: tuple[str, ...] = ()
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    trainer: TrainerSettings = TrainerSettings()

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"tasks need names of their own, found {', '.join(names)}")
        if not sum(task.weight for task in self.tasks):
            raise ValueError("one task at least needs a weight above 0")
        if self.kind == "xgboost" and not self.clinical:
            raise ValueError("kind xgboost needs clinical columns")
        if self.kind != "deep" and (self.start or self.join):
            raise ValueError(f"start and join are for kind deep, not {self.kind}")
        if self.join and (self.start or self.clinical or len({*self.join}) != len(self.join)):
            raise ValueError("join has recipes that differ, no start and no clinical columns")
        if self.join and self.model.members != len(self.join):
            raise ValueError(f"join needs model.members = {len(self.join)}, as many as it names")
        if self.kind == "deep" and self.model.whole_recordings and self.input == "image":
            raise ValueError(f"backbone {self.model.backbone} needs input = 'signal'")
        if self.model.backbone == STRIPS and self.input != "image":
            raise ValueError(f"backbone {STRIPS} needs input = 'image'")
        return self

    @property
    def what(self) -> dict[str, Any]:
        """All that makes the model, as plain values: not where it is trained."""
        return self.model_dump(mode="json", exclude={"trainer"})


# --- finding and reading ----------------------------------------------------------------------


def recipe_paths() -> dict[str, Path]:
    """The recipes that come with the package, by id."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def load_recipe(
    name: str | Path, settings: Sequence[str] = (), tasks: Path | None = None
) -> Recipe:
    """The recipe of that id or in that file, what it extends merged in.

    `settings` are "key.key=value" with values as in TOML, bare words being text; tasks are named
    by their names, as in "tasks.scar.weight=0.6". `tasks` is a TOML file whose [[tasks]] replace
    those of the recipe. Raises `RecipeError`.
    """
    path = _found(name)
    table = _merged(path, depth=0)
    if tasks is not None:
        table["tasks"] = _tasks_of(tasks)
    for setting in settings:
        _set(table, setting)
    return _checked(table, path.name)


def read_recipe(path: Path) -> Recipe:
    """A resolved recipe as `recipe_text` wrote it; raises `RecipeError`."""
    return _checked(_read(path), path.name)


def _found(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or path.parent != Path():
        return path
    known = recipe_paths()
    if str(name) in known:
        return known[str(name)]
    raise RecipeError(
        f"no recipe is called {str(name)!r}; there are {', '.join(known) or 'none'}, "
        "or name a .toml file"
    )


def _merged(path: Path, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise RecipeError(f"{path.name}: extends itself, or more than {_DEEPEST} others in turn")
    table = _read(path)
    parent = table.pop("extends", "")
    if not parent:
        return table
    beside = path.parent / f"{parent}.toml"
    if str(parent).endswith(".toml"):
        beside = path.parent / str(parent)
    base = _merged(beside if beside.is_file() else _found(str(parent)), depth + 1)
    return _joined(base, table)


def _joined(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; what is no table, lists too, is replaced."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            value = _joined(merged[key], value)
        merged[key] = value
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe, found {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name}: expected TOML, found something else: {error}") from error


def _tasks_of(path: Path) -> list[Any]:
    table = _read(path)
    found = table.get("tasks")
    if set(table) != {"tasks"} or not isinstance(found, list):
        raise RecipeError(f"{path.name}: expected [[tasks]] alone, found {', '.join(table) or '-'}")
    return found


def _checked(table: Mapping[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        more = len(error.errors()) - 1
        raise RecipeError(
            f"{source}: {f'{where}: ' if where else ''}{first['msg']}"
            f"{f' (and {more} more)' if more else ''}"
        ) from error


def _set(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {setting!r}: expected key.key=value, as in training.epochs=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = table
    for part in parts[:-1]:
        place = _within(place, part, setting)
    if not isinstance(place, dict):
        raise RecipeError(f"--set {setting!r}: {'.'.join(parts[:-1])} has no keys")
    place[parts[-1]] = value


def _within(place: Any, part: str, setting: str) -> Any:
    if isinstance(place, list):
        for one in place:
            if isinstance(one, dict) and one.get("name") == part:
                return one
        raise RecipeError(f"--set {setting!r}: no task is called {part!r}")
    if not isinstance(place, dict):
        raise RecipeError(f"--set {setting!r}: {part!r} is no table")
    return place.setdefault(part, {})


# --- writing ----------------------------------------------------------------------------------


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as TOML: every value, none inherited."""
    told = recipe.model_dump(mode="json")
    return "\n".join(_lines("", told)) + "\n"


def _lines(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Plain values first, then tables and lists of tables."""
    for key, value in table.items():
        if value is not None and not _is_table(value):
            yield f"{key} = {_toml(value)}"
    for key, value in table.items():
        full = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            yield from ("", f"[{full}]", *_lines(full, value))
        elif _is_table(value):
            for one in value:
                yield from ("", f"[[{full}]]", *_lines(full, one))


def _is_table(value: Any) -> bool:
    rows = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict) or rows


def _toml(value: Any) -> str:
    """TOML's text, numbers, words and lists are written as JSON's are, with one exception.

    >>> _toml(["a", 5e-05, True])
    '["a", 5e-05, true]'
    """
    # JSON leaves the character "delete" as it is, which TOML does not allow.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def described_error(error: EcgVisionError) -> str:
    """For `run.json`: the code and the sentence."""
    return f"{error} [{error.code}]"
