"""A run made ready for the Hub: what of it may go up, and nothing else.

Both the files and the keys that go up are listed here. Machine paths, rows, predictions and
checkpoints stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecgvision.errors import EcgVisionError
from ecgvision.output import json_bytes
from ecgvision.tasks import Task
from ecgvision.zoo.card import Card, card_text, check_links, read_card
from ecgvision.zoo.catalogue import ENTRY, read_entry
from ecgvision.zoo.entry import Entry, ImageStyle, ModelFile, ModelTask
from ecgvision.zoo.picture import PICTURE, read_picture

RECIPE, ABOUT, WEIGHTS, CLINICAL = "recipe.toml", "run.json", "weights.safetensors", "clinical.json"
CONFIG, README = "config.json", "README.md"
ROLES = {
    README: "card",
    PICTURE: "picture",
    CONFIG: "config",
    WEIGHTS: "weights",
    "model.onnx": "onnx",
    "model-int8.onnx": "onnx-int8",
}
"""All files that a repository of ours has, with their roles."""

_ONNX = tuple(name for name in ROLES if name.endswith(".onnx"))
# Read, so that parts of them go up in config.json.
_READ = {RECIPE, ABOUT, CLINICAL}
# A run has these as well; they stay.
_STAY = {".lock", "metrics.csv", "predictions.parquet", "checkpoints", "tensorboard"}

# What goes up of recipe.toml and run.json: a value or a list of them, a number, a table whatever
# its keys, or a table's keys one by one.
_VALUE, _NUMBER, _TABLE = "value", "number", "table"
_RECIPE_KEYS: Mapping[str, Any] = {
    **dict.fromkeys(("id", "title", "kind", "input", "formats", "clinical"), _VALUE),
    **dict.fromkeys(("start", "join"), _VALUE),
    "tasks": _TABLE,
    "model": dict.fromkeys(
        ("backbone", "image_px", "planes", "normalise", "embedding", "dropout", "unknown",
         "lead_width", "fs_hz", "beat_s", "before_s", "width", "depth", "kernel", "members"),
        _VALUE,
    ),
    "training": _TABLE,
}  # fmt: skip
_RUN_KEYS: Mapping[str, Any] = {
    **dict.fromkeys(("kind", "status", "started", "precision", "weights_of", "statements"), _VALUE),
    **dict.fromkeys(("version", "seed", "starts", "wall_s"), _NUMBER),
    **dict.fromkeys(("epochs", "best_epoch", "steps"), _NUMBER),
    **dict.fromkeys(("validation_loss_best", "validation_loss_average"), _NUMBER),
    **dict.fromkeys(("examples_per_s", "waiting_share"), _NUMBER),
    "recipe": dict.fromkeys(("id", "title", "kind"), _VALUE),
    "data": {
        **dict.fromkeys(("name", "simulated", "sha256"), _VALUE),
        "image": dict.fromkeys(("style", "height_px", "width_px", "px_per_mm"), _VALUE),
        "signal": dict.fromkeys(("fs_hz", "leads", "samples"), _VALUE),
        "rows": dict.fromkeys(("train", "validation", "test", "excluded"), _NUMBER),
    },
    "start": dict.fromkeys(("recipe", "sha256"), _VALUE),
    "joined": _TABLE,
    "code": dict.fromkeys(("version", "sha256"), _VALUE),
    "environment": {
        **dict.fromkeys(("python", "system", "gpus"), _VALUE),
        **dict.fromkeys(("cores", "threads"), _NUMBER),
        "packages": _TABLE,
    },
    "sha256": {WEIGHTS: _VALUE},
}

# A path of some machine: from a root, a home, a drive or a share.
_PATH = re.compile(r"""(?:^|[\s"'=:(\[])(?:/[\w.]|~[/\\]|[A-Za-z]:[\\/]|\\\\)|file:""")
# Exporters note in ONNX files from which lines of which files each node came.
_TRACES = (b'File "', b"site-packages", b"/home/", b"/Users/", b"\\Users\\")
# Longer ones are no settings, nor a fit's coefficients: they may hold something of each patient.
_LONGEST = 64


class PackingError(EcgVisionError):
    """A run or its card cannot go up as it is; the message names the file and the key."""

    code = "not-for-the-hub"


@dataclass(frozen=True, slots=True)
class Pack:
    """What goes up: the files by name, and the model's entry but for place and files.

    `left_out` names keys that stay, as they stand on no list.
    """

    files: Mapping[str, bytes]
    entry: Entry
    left_out: tuple[str, ...]

    @property
    def listed(self) -> tuple[ModelFile, ...]:
        """The files as they stand in a `model.toml`."""
        return listed(self.files)


def listed(files: Mapping[str, bytes]) -> tuple[ModelFile, ...]:
    """Files of ours as they stand in a `model.toml`."""
    return tuple(
        ModelFile.model_validate(
            {
                "name": name,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "role": ROLES[name],
            }
        )
        for name, data in files.items()
    )


def pack(run: Path, card: Path) -> Pack:
    """Read a finished run and its card, and take of them what may go up.

    A `model.toml` beside the card says what is known of the model; without one, recipe and card
    do. The picture beside the card goes up where the card shows it. Raises `PackingError`,
    `EntryError`, `CardError`, `PictureError`.
    """
    entry, config, left_out = told_of(run, card)
    written = read_card(card)
    files = {
        README: card_text(entry, written).encode(),
        CONFIG: json_bytes(config),
        WEIGHTS: _weights(run / WEIGHTS, _json(run / ABOUT)),
    }
    if PICTURE in written.links:
        files[PICTURE] = read_picture(card.parent / PICTURE)
    files |= {name: _onnx(run / name) for name in _ONNX if _is(run / name)}
    check_links(card.name, written, files)
    return Pack(files, entry, left_out)


def told_of(run: Path, card: Path) -> tuple[Entry, dict[str, Any], tuple[str, ...]]:
    """The entry of a finished run, its `config.json`, and the names of keys that are left out.

    Raises `PackingError`, `EntryError`.
    """
    _check_names(run)
    recipe, about = _recipe(run / RECIPE), _json(run / ABOUT)
    if about.get("status") != "done":
        raise PackingError(
            f"{run.name}/{ABOUT}: status: expected 'done', found {about.get('status')!r}; "
            "finish the training first"
        )
    left_out: list[str] = []
    config = {
        "kind": "ecgvision-model",
        "version": 1,
        "recipe": _kept(recipe, _RECIPE_KEYS, RECIPE, left_out),
        "run": _kept(about, _RUN_KEYS, ABOUT, left_out),
    }
    if (run / CLINICAL).is_file():
        config["clinical"] = _json(run / CLINICAL)
    _check_values(config)
    return _entry(recipe, about, card, read_card(card)), config, tuple(left_out)


# --- files ------------------------------------------------------------------------------------


def _check_names(run: Path) -> None:
    """Raise unless the folder holds a run's files and no others."""
    if not run.is_dir():
        raise PackingError(f"{run}: expected the folder of a run, found none")
    found = {path.name for path in run.iterdir()}
    for name in (RECIPE, ABOUT, WEIGHTS):
        if not _is(run / name):
            more = "; only networks go to the Hub" if name == WEIGHTS else ""
            raise PackingError(f"{run.name}: expected {name}, found none{more}")
    others = sorted(found - _READ - _STAY - {WEIGHTS, *_ONNX})
    if others:
        raise PackingError(
            f"{run.name}: expected the files of a run alone, found {', '.join(others)}; weights go "
            "up as safetensors, never pickled; move what does not belong to the run elsewhere"
        )


def _is(path: Path) -> bool:
    # A link may lead anywhere.
    return path.is_file() and not path.is_symlink()


def _weights(path: Path, about: Mapping[str, Any]) -> bytes:
    from safetensors import SafetensorError, safe_open

    name = f"{path.parent.name}/{path.name}"
    try:
        with safe_open(path, framework="numpy") as opened:
            tensors, said = len(list(opened.keys())), opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise PackingError(
            f"{name}: expected safetensors, found something else: {error}; pickled weights do not "
            "go up"
        ) from error
    if not tensors or set(said) - {"format"}:
        raise PackingError(
            f"{name}: expected tensors, and of metadata the format alone, found {tensors} tensors "
            f"and {', '.join(sorted(said)) or 'none'}; take the file as `ecgvision train` wrote it"
        )
    data = path.read_bytes()
    due, digest = about.get("sha256", {}).get(path.name), hashlib.sha256(data).hexdigest()
    if due != digest:
        raise PackingError(
            f"{name}: expected SHA-256 {str(due)[:12]}, as {ABOUT} has it, found {digest[:12]}; "
            "these are not the weights of this run"
        )
    return data


def _onnx(path: Path) -> bytes:
    data = path.read_bytes()
    check_onnx(f"{path.parent.name}/{path.name}", data)
    return data


def check_onnx(name: str, data: bytes) -> None:
    """Raise `PackingError` unless these are ONNX without anything of a machine."""
    if not data.startswith(b"\x08"):  # the version, which ONNX files begin with
        raise PackingError(f"{name}: expected ONNX, found something else; export it anew")
    trace = next((one.decode() for one in _TRACES if one in data), None)
    if trace is not None:
        raise PackingError(
            f"{name}: expected no path of this machine, found {trace!r}; export it without the "
            "exporter's stack traces (metadata_props and doc_string of its nodes)"
        )


def _recipe(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackingError(f"{path.parent.name}/{path.name}: expected TOML: {error}") from error
    if found.get("kind", "deep") != "deep":
        raise PackingError(
            f"{path.parent.name}/{path.name}: kind: expected 'deep', found {found['kind']!r}; "
            "only networks go to the Hub"
        )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PackingError(f"{path.parent.name}/{path.name}: expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise PackingError(f"{path.parent.name}/{path.name}: expected a JSON object")
    return found


# --- keys -------------------------------------------------------------------------------------


def _kept(
    table: Mapping[str, Any], allowed: Mapping[str, Any], where: str, left_out: list[str]
) -> dict[str, Any]:
    """The part of a table that is on the list; names of what is not are added to `left_out`."""
    kept = {}
    for key, value in table.items():
        due = allowed.get(key)
        if isinstance(due, Mapping) and isinstance(value, dict):
            kept[key] = _kept(value, due, f"{where}: {key}", left_out)
        elif due is not None and _fits(value, due):
            kept[key] = value
        else:
            left_out.append(f"{where}: {key}")
    return kept


def _fits(value: Any, due: Any) -> bool:
    if value is None or due == _TABLE:
        return True
    if due == _NUMBER:
        return isinstance(value, int | float)
    several = value if isinstance(value, list) else [value]
    return due == _VALUE and all(isinstance(one, str | int | float) for one in several)


def _check_values(config: Mapping[str, Any]) -> None:
    """Raise where a value that may go up holds a path, or more numbers than a setting has."""
    for key, value in _leaves("", config):
        if isinstance(value, str) and _PATH.search(value):
            raise PackingError(f"{key}: expected no path of this machine, found {value!r}")
        if isinstance(value, list | dict) and len(value) > _LONGEST:
            raise PackingError(
                f"{key}: expected at most {_LONGEST} values, found {len(value)}: a list of rows or "
                "patients does not go up"
            )


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """All values with their keys; lists and the names of keys as well."""
    yield key, value
    if isinstance(value, dict):
        for name, one in value.items():
            yield f"{key}, a key", name
            yield from _leaves(f"{key}.{name}".lstrip("."), one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(f"{key}[{number}]", one)


# --- the entry --------------------------------------------------------------------------------


def _entry(recipe: Mapping[str, Any], about: Mapping[str, Any], card: Path, written: Card) -> Entry:
    """What is known of the model, with no weights yet; raises where it is not what was trained."""
    path = card.parent / ENTRY
    simulated = bool(about.get("data", {}).get("simulated"))
    try:
        asked = [Task.model_validate(task) for task in recipe.get("tasks", [])]
    except ValidationError as error:
        raise PackingError(f"{RECIPE}: tasks: {error.errors()[0]['msg']}") from error
    if not path.is_file():
        image = about.get("data", {}).get("image") or {}
        style = {key: image.get(key) for key in ImageStyle.model_fields}
        return _from_recipe(recipe, asked, style, simulated, card, written)
    entry = read_entry(path)
    for key, due, found in (
        ("recipe", recipe.get("id"), entry.recipe),
        ("tasks", [_meaning(task) for task in asked], [_meaning(task) for task in entry.tasks]),
        ("input", recipe.get("input", "image"), entry.input),
        ("simulated", simulated, entry.simulated),
        ("licence", (written.licence or entry.licence).lower(), entry.licence.lower()),
    ):
        if due != found:
            other = card.name if key == "licence" else "the run"
            raise PackingError(
                f"{path.parent.name}/{path.name}: {key}: expected {due!r} as {other} has it, "
                f"found {found!r}"
            )
    return entry


def _from_recipe(
    recipe: Mapping[str, Any],
    asked: list[Task],
    style: Mapping[str, Any],
    simulated: bool,
    card: Path,
    written: Card,
) -> Entry:
    if not written.licence:
        raise PackingError(
            f"{card.name}: expected a line `license: ...` in its head between two lines ---, or a "
            f"{ENTRY} beside it; found neither"
        )
    tasks = [ModelTask(**task.model_dump(), definition=_meaning(task)) for task in asked]
    try:
        return Entry.model_validate(
            {
                "id": recipe.get("id"),
                "title": recipe.get("title"),
                "status": "no-weights",
                "reason": "on its way to the Hub",
                "recipe": recipe.get("id"),
                "tasks": tasks,
                "input": recipe.get("input", "image"),
                "formats": recipe.get("formats", ()),
                "image": style if style["style"] else None,
                "simulated": simulated,
                "licence": written.licence,
                "datasets": written.datasets,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PackingError(f"{RECIPE}, {card.name}: {where}: {first['msg']}") from error


def _meaning(task: Task) -> str:
    """A task's question in words that are equal where the questions are.

    >>> _meaning(Task(name="lvef", column="lvef_percent", below=50))
    'lvef: lvef_percent below 50'
    """
    if task.classes:
        return f"{task.name}: {task.source}, one of {', '.join(task.classes)}"
    if task.below is not None:
        return f"{task.name}: {task.source} below {task.below:g}"
    if task.at_least is not None:
        return f"{task.name}: {task.source} at least {task.at_least:g}"
    return f"{task.name}: {task.source} is 1"
