"""The catalogue: a folder for each model, with its `model.toml` and its card, `README.md`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.plugins import Broken, load_model_files
from ecgvision.zoo.entry import Entry, ModelFile

ENTRY, CARD = "model.toml", "README.md"
_PACKAGE = Path(__file__).resolve().parents[1]
# In an installed package, and in the working tree.
_FOLDERS = (_PACKAGE / "zoo_data", _PACKAGE.parent / "zoo")


class EntryError(EcgVisionError):
    """A `model.toml` cannot be read or contradicts itself; the message names file and key."""

    code = "model-entry"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalogue, or of a file of one's own."""

    entry: Entry
    path: Path

    @property
    def card(self) -> Path | None:
        """Its card, where there is one beside `model.toml`."""
        card = self.path.parent / CARD
        return card if card.is_file() else None

    @property
    def bundled(self) -> bool:
        """Whether all its files lie beside `model.toml`."""
        files = self.entry.files
        return bool(files) and all(self.beside(file) is not None for file in files)

    def beside(self, file: ModelFile) -> Path | None:
        """One of its files, where it lies beside `model.toml`."""
        path = self.path.parent / file.name
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Installed:
    """The models of the package and of plugins, by id, and the plugins that are broken."""

    models: Mapping[str, Model]
    broken: tuple[Broken, ...] = ()


def catalogue(folder: Path | None = None) -> dict[str, Model]:
    """All models that come with the package, by id; `folder` is another catalogue.

    Raises `EntryError` for one that is broken.
    """
    home = folder or _home()
    paths = sorted(home.glob(f"*/{ENTRY}")) if home else []
    return {path.parent.name: _ours(path) for path in paths}


def _home() -> Path | None:
    return next((one for one in _FOLDERS if one.is_dir()), None)


def _ours(path: Path) -> Model:
    """A model of the catalogue, which is called like its folder and has a card."""
    model, name = Model(read_entry(path), path), path.parent.name
    if model.entry.id != name:
        raise _error(path, "id", f"{name!r}, as its folder is called", model.entry.id)
    return _with_card(model)


def _with_card(model: Model) -> Model:
    if model.card is None:
        name = model.path.parent.name
        raise EntryError(f"{name}: expected a card, {CARD}, beside {ENTRY}; found none")
    return model


def installed_models(extra: Iterable[tuple[str, Any]] = ()) -> Installed:
    """The models of the package, and those that plugins bring, each plugin apart.

    A plugin whose model is broken, or has an id that is taken, is reported with the broken ones.
    `extra` are (name, plugin) pairs besides the installed ones. Raises `EntryError` for a model of
    the package that is broken.
    """
    models, files = catalogue(), load_model_files(extra)
    broken = list(files.broken)
    for name, path in files.paths:
        try:
            model = _with_card(Model(read_entry(path), path))
            if model.entry.id in models:
                raise EntryError(f"{_shown(path)}: id: there is a model {model.entry.id} already")
            models[model.entry.id] = model
        except EntryError as error:
            broken.append(Broken(name, str(error)))
    return Installed(models, tuple(broken))


def find_model(name: str, extra: Iterable[tuple[str, Any]] = ()) -> Model:
    """The model of that id, or of that `model.toml`; raises `UsageError`, `EntryError`."""
    path = Path(name)
    if path.suffix == ".toml" or path.parent != Path():
        if not path.is_file():
            raise UsageError(f"{name}: expected a {ENTRY}, found no such file")
        return Model(read_entry(path), path)
    home = _home()
    if home is not None and (home / name / ENTRY).is_file():
        return _ours(home / name / ENTRY)  # without loading any plugin
    installed = installed_models(extra)
    if name not in installed.models:
        lost = "".join(f"; plugin {b.name} is broken: {b.reason}" for b in installed.broken)
        raise UsageError(
            f"no model is called {name!r}; there are {', '.join(installed.models) or 'none'}, "
            f"or name the {ENTRY} of another{lost}"
        )
    return installed.models[name]


def read_entry(path: Path) -> Entry:
    """What a `model.toml` says; raises `EntryError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EntryError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise EntryError(f"{_shown(path)}: expected TOML, found a mistake: {error}") from error
    return entry_of_text(text, path)


def entry_of_text(text: str, path: Path) -> Entry:
    """What the text of a `model.toml` says, `path` being where it belongs; raises `EntryError`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EntryError(f"{_shown(path)}: expected TOML, found a mistake: {error}") from error
    try:
        return Entry.model_validate(raw)
    except ValidationError as error:
        raise EntryError("; ".join(_complaint(path, one) for one in error.errors())) from error


def _complaint(path: Path, error: Mapping[str, Any]) -> str:
    """One of pydantic's findings as file, key, expected and found."""
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"])
    key, kind = place.lstrip("."), error["type"]
    if kind == "extra_forbidden":
        return str(_error(path, key, "no such key", "one that nobody reads"))
    if kind == "missing":
        return str(_error(path, key, "a value", "nothing"))
    if kind == "value_error":
        return f"{_shown(path)}: {f'{key}: ' if key else ''}{error['ctx']['error']}"
    said = re.sub(r"^\w+ should (be )?", "", error["msg"])
    said = said.replace("match pattern", "a text of the pattern", 1)
    return str(_error(path, key, said, repr(error["input"])))


def _error(path: Path, key: str, expected: str, found: str) -> EntryError:
    return EntryError(f"{_shown(path)}: {key}: expected {expected}, found {found}")


def _shown(path: Path) -> str:
    """The file with its folder: all are called alike."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def entry_text(entry: Entry) -> str:
    """The entry as the TOML that `read_entry` reads as this very value."""
    import tomlkit

    told = entry.model_dump(mode="json", exclude_defaults=True)
    # Plain values come before tables: TOML would take them for the table's own.
    nested = ("image", "hub", "tasks", "files", "metrics", "thresholds", "calibration")
    ordered = {key: value for key, value in told.items() if key not in nested}
    return tomlkit.dumps(ordered | {key: told[key] for key in nested if key in told})
