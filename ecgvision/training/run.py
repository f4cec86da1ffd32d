"""A run: one recipe trained on one data set, in one folder that says all that made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
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
    that name beside `run`. A run that is done is left as it is. Comes back with what run.json
    says; in processes that train along, with nothing.

    Raises `TrainingError` where recipe and data do not fit, or the folder holds something else;
    `LabelError`, `ModelError`, `OutputError`.
    """
    from ecgvision.training.fitting import is_first_process

    rows = {split: split_rows(recipe, dataset, split) for split in ("train", "validation")}
    begun = _start_of(recipe, run, start)
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
    begun: Path | None,
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
    for key, what in (("data", "data set"), ("start", "start run")):
        old, new = (about.get(key) or {}), (told[key] or {})
        if old.get("sha256") != new.get("sha256"):
            raise TrainingError(
                f"{run.name}: was begun with another {what}: expected the hash "
                f"{str(old.get('sha256'))[:12]}, found {str(new.get('sha256'))[:12]}; "
                "choose another -o, or give it the same again"
            )
    return about


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


def _start_of(recipe: Recipe, run: Path, start: Path | None) -> Path | None:
    """The finished run that the weights come from; raises `TrainingError`."""
    if not recipe.start:
        if start is not None:
            raise TrainingError(f"recipe {recipe.id} starts from no other run; leave --start out")
        return None
    folder = start or run.parent / recipe.start
    if not folder.is_dir():
        raise TrainingError(
            f"recipe {recipe.id} starts from a run of {recipe.start}: expected it in {folder}, "
            f"found nothing; train {recipe.start} first, or name its run with --start"
        )
    found, _ = read_run(folder)
    if found.id != recipe.start:
        raise TrainingError(
            f"recipe {recipe.id} starts from a run of {recipe.start}, "
            f"found one of {found.id} in {folder.name}; name another with --start"
        )
    return folder


def _described(
    recipe: Recipe, dataset: Dataset, start: Path | None, rows: Mapping[str, int]
) -> dict[str, Any]:
    about = dataset.about
    begun = None
    if start is not None:
        begun = {"recipe": recipe.start, "sha256": file_sha256(start / WEIGHTS)}
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
        "start": begun,
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
    start: Path | None,
    say: Say,
) -> dict[str, Any]:
    """Leave the model in the folder; the figures for run.json."""
    from ecgvision.training import features

    if recipe.kind == "deep":
        return features.fit_deep(recipe, dataset, run, rows, start, say)
    return features.fit_baseline(recipe, dataset, run, rows)
