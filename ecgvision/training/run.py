"""A run: one recipe trained on one data set, in one folder that says all that made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ecgvision import __version__
from ecgvision.dataset.predictions import write_predictions
from ecgvision.dataset.store import Dataset, file_sha256
from ecgvision.output import make_folder, unwritable, write_files, write_json
from ecgvision.training.data import split_rows
from ecgvision.training.errors import TrainingError
from ecgvision.training.recipe import Recipe, described_error, read_recipe, recipe_text

RECIPE, ABOUT, WEIGHTS, MODEL = "recipe.toml", "run.json", "weights.safetensors", "model.json"
PREDICTIONS = "predictions.parquet"
_LOCK = ".lock"
_PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "scikit-learn", "xgboost-cpu")

Say = Callable[[str], None]


def train_run(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    *,
    start: Path | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Train a recipe into a folder, from where an earlier training of the same stopped.

    `start` is the run whose weights a recipe with `start` begins with; unless given, the folder of
    that name beside `run`, where those that a recipe joins must be. A run that is done is left as
    it is. Comes back with what run.json says; in processes that train along, with nothing.

    Raises `TrainingError` where recipe and data do not fit, or the folder holds something else;
    `LabelError`, `ModelError`, `OutputError`.
    """
    from ecgvision.training.fitting import is_first_process

    rows = {split: split_rows(recipe, dataset, split) for split in ("train", "validation")}
    begun = _begun(recipe, dataset, run, start)
    told = _described(recipe, dataset, begun, {name: len(found) for name, found in rows.items()})
    if not is_first_process():
        _fit(recipe, dataset, run, rows, begun, say)
        return {}
    with _alone(run):
        earlier = _compared(recipe, told, run)
        if earlier and earlier["status"] == "done":
            say(f"{run.name} is trained already")
            return earlier
        told["starts"] = int(earlier.get("starts", 0)) + 1 if earlier else 1
        files = {run / RECIPE: recipe_text(recipe).encode(), run / ABOUT: _json(told)}
        write_files(files)
        return _trained(recipe, dataset, run, rows, begun, told, say)


def _trained(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    rows: Mapping[str, Any],
    begun: Sequence[Path],
    told: dict[str, Any],
    say: Say,
) -> dict[str, Any]:
    from ecgvision.training.predicting import predict_run

    began_s = time.perf_counter()
    try:
        figures = _fit(recipe, dataset, run, rows, begun, say)
        asked = np.concatenate([dataset.chosen(split) for split in ("validation", "test")])
        write_predictions(run / PREDICTIONS, predict_run(run, dataset, np.sort(asked)))
    except (Exception, KeyboardInterrupt) as error:
        told["status"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        # Others' words may quote paths and rows.
        told["error"] = (
            described_error(error) if isinstance(error, TrainingError) else (type(error).__name__)
        )
        write_json(run / ABOUT, told)
        raise
    told |= {"status": "done", "wall_s": round(time.perf_counter() - began_s, 1), **figures}
    model = run / (WEIGHTS if recipe.kind == "deep" else MODEL)
    # By which evaluation knows that the predictions are those of this model.
    told["sha256"] = {path.name: file_sha256(path) for path in (model, run / PREDICTIONS)}
    write_json(run / ABOUT, told)
    return told


def read_run(run: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the run.json of a finished run; raises `TrainingError`."""
    about = read_about(run)
    if about is None:
        raise TrainingError(
            f"{run.name}: expected a run, found {'no' if not run.exists() else 'a folder without'} "
            f"{ABOUT}; name the folder that `ecgvision train` wrote"
        )
    if about.get("status") != "done":
        raise TrainingError(
            f"{run.name}: expected a finished run, found one that is {about.get('status')}; "
            "give `ecgvision train` the same arguments again to finish it"
        )
    return read_recipe(run / RECIPE), about


def read_about(run: Path) -> dict[str, Any] | None:
    """run.json, or None where there is none; raises `TrainingError` for one that is no JSON."""
    path = run / ABOUT
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{run.name}/{ABOUT}: expected JSON, found something else; "
            "delete the run and train anew"
        ) from error
    return found


# --- before -----------------------------------------------------------------------------------


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Keep other trainings out of the folder meanwhile."""
    try:
        make_folder(run)
        lock = FileLock(run / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(
            f"{run.name}: another training is at work there; wait for it, or choose another -o"
        ) from error
    except OSError as error:
        raise unwritable(run, error) from error
    try:
        yield
    finally:
        lock.release()


def _compared(recipe: Recipe, told: Mapping[str, Any], run: Path) -> dict[str, Any] | None:
    """The run.json of an earlier training of the same; raises `TrainingError` for another."""
    about = read_about(run)
    if about is None or not (run / RECIPE).is_file():
        others = sorted(path.name for path in run.iterdir() if path.name != _LOCK)
        if others:
            raise TrainingError(
                f"{run.name}: expected a new folder or a run of {recipe.id}, found others' files "
                f"({others[0]}); choose another -o"
            )
        return None
    difference = _difference(read_recipe(run / RECIPE).what, recipe.what)
    if difference:
        raise TrainingError(
            f"{run.name}: holds a run of another recipe: {difference}; choose another -o"
        )
    for key, what in (("data", "data set"), ("start", "start run"), ("joined", "joined runs")):
        old, new = _hashes(about.get(key)), _hashes(told.get(key))
        if old != new:
            raise TrainingError(
                f"{run.name}: was begun with another {what}: expected the hash {old or 'none'}, "
                f"found {new or 'none'}; choose another -o, or give it the same again"
            )
    return about


def _hashes(told: Any) -> str:
    """The hashes of a table of run.json, or of a list of them, in short."""
    tables = told if isinstance(told, list) else [told or {}]
    return ", ".join(str(one.get("sha256", ""))[:12] for one in tables)


def _difference(old: Any, new: Any, where: str = "") -> str:
    """The first value in which two trees differ, in words; empty where they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            found = _difference(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))
            if found:
                return found
        return ""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        each = (
            _difference(a, b, f"{where}.{k}") for k, (a, b) in enumerate(zip(old, new, strict=True))
        )
        return next((found for found in each if found), "")
    return "" if old == new else f"{where} was {old!r} and is {new!r} now"


def _begun(recipe: Recipe, dataset: Dataset, run: Path, start: Path | None) -> list[Path]:
    """The finished runs that the weights come from; raises `TrainingError`."""
    if start is not None and not recipe.start:
        raise TrainingError(f"recipe {recipe.id} starts from no other run; leave --start out")
    if recipe.start:
        folder = start or run.parent / recipe.start
        _finished(recipe, "starts from", recipe.start, folder, ", or name its run with --start")
        return [folder]
    from ecgvision.training.joining import check_member

    members = [run.parent / name for name in recipe.join]
    for name, folder in zip(recipe.join, members, strict=True):
        found, about = _finished(recipe, "joins", name, folder)
        check_member(recipe, found, about["data"], dataset)
    return members


def _finished(
    recipe: Recipe, verb: str, name: str, folder: Path, otherwise: str = ""
) -> tuple[Recipe, dict[str, Any]]:
    """Another recipe's finished run; raises `TrainingError`."""
    if not folder.is_dir():
        raise TrainingError(
            f"recipe {recipe.id} {verb} a run of {name}: expected it in {folder}, "
            f"found nothing; train {name} first{otherwise}"
        )
    found, about = read_run(folder)
    if found.id != name:
        raise TrainingError(
            f"recipe {recipe.id} {verb} a run of {name}, found one of {found.id} in {folder.name}; "
            f"train {name} first{otherwise}"
        )
    return found, about


def _described(
    recipe: Recipe, dataset: Dataset, begun: Sequence[Path], rows: Mapping[str, int]
) -> dict[str, Any]:
    about = dataset.about
    names = recipe.join or (recipe.start,) * len(begun)
    known = [
        {"recipe": name, "sha256": file_sha256(folder / WEIGHTS)}
        for name, folder in zip(names, begun, strict=True)
    ]
    return {
        "kind": "ecgvision-run",
        "version": 1,
        "status": "running",
        "recipe": {"id": recipe.id, "title": recipe.title, "kind": recipe.kind},
        "data": {
            "name": about.name,
            "simulated": about.simulated,
            "sha256": dataset.digest,
            "image": None if about.image is None else about.image.model_dump(mode="json"),
            "signal": None if about.signal is None else about.signal.model_dump(mode="json"),
            "rows": dict(rows),
        },
        "start": known[0] if recipe.start else None,
        **({"joined": known} if recipe.join else {}),
        "seed": recipe.training.seed,
        "code": {"version": __version__, "sha256": _code_sha256()},
        "environment": _environment(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _code_sha256() -> str:
    """One hash of the package's own sources: a version says little while it is developed."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _environment() -> dict[str, Any]:
    import torch

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{sys.platform} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "packages": found,
    }


def _json(value: Any) -> bytes:
    from ecgvision.output import json_bytes

    return json_bytes(value)


# --- fitting ----------------------------------------------------------------------------------


def _fit(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    rows: Mapping[str, Any],
    begun: Sequence[Path],
    say: Say,
) -> dict[str, Any]:
    """Leave the model in the folder; the figures for run.json."""
    from ecgvision.training import features, joining

    if recipe.join:
        return joining.join(recipe, begun, run)
    if recipe.kind == "deep":
        start = begun[0] if begun else None
        return features.fit_deep(recipe, dataset, run, rows, start, say)
    return features.fit_baseline(recipe, dataset, run, rows)
