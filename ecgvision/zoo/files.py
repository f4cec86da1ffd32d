"""A model's files: those that lie beside its `model.toml`, and whether files are the right ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ecgvision.errors import EcgVisionError
from ecgvision.zoo.catalogue import Model
from ecgvision.zoo.entry import ModelFile


class ModelFileError(EcgVisionError):
    """A file of a model is missing or is not the one of its `model.toml`."""

    code = "model-damaged"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of a model: where it is, and what is wrong with it, if anything is."""

    file: ModelFile
    path: Path | None
    problem: str = ""


def difference(path: Path, file: ModelFile) -> str:
    """What tells a file from the one of the catalogue; "" for that very one; raises `OSError`."""
    size = path.stat().st_size
    if size != file.bytes:
        return f"expected {file.bytes:,} bytes, found {size:,}"
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        return f"expected SHA-256 {file.sha256[:12]}, found {digest[:12]}"
    return ""


def verify_bundled(model: Model) -> tuple[Checked, ...]:
    """The files beside `model.toml`, by size and SHA-256."""
    return tuple(_checked(model, file) for file in model.entry.files)


def _checked(model: Model, file: ModelFile) -> Checked:
    path = model.beside(file)
    if path is None:
        return Checked(file, None, f"not beside {model.path.name}")
    try:
        return Checked(file, path, difference(path, file))
    except OSError as error:
        return Checked(file, path, f"cannot be read: {error.strerror}")


def checked_path(model: Model, file: ModelFile, path: Path) -> Path:
    """The path of a file that is the catalogue's very one; raises `ModelFileError` otherwise."""
    try:
        problem = difference(path, file)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    if problem:
        raise ModelFileError(
            f"{model.entry.id}: {file.name}: {problem}; do not use it: install ecgvision anew, or "
            "ask who keeps the model"
        )
    return path
