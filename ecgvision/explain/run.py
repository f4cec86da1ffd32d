"""A run explained on pages, or on rows of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ecgvision.dataset.images import network_image
from ecgvision.dataset.store import Dataset
from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.explain.heat import heat_map
from ecgvision.explain.picture import (
    LeadPart,
    canonical_parts,
    heat_by_lead,
    overlay,
    parts_of_image,
    published_parts,
)
from ecgvision.normalise import ImageOptions
from ecgvision.output import json_bytes, png_bytes, write_files
from ecgvision.plugins import load_formats
from ecgvision.tasks import Task
from ecgvision.training.asking import log_odds
from ecgvision.training.features import imputed
from ecgvision.training.predicting import run_imputer, trained_net
from ecgvision.training.recipe import Recipe
from ecgvision.training.run import read_run

if TYPE_CHECKING:
    from ecgvision.types import Pixels


class ExplainError(EcgVisionError):
    """A run or an image cannot be explained; the message says what to take instead."""

    code = "explain"


@dataclass(frozen=True)
class Subject:
    """One image to be explained: `page` as it is shown, `image` as the network sees it."""

    name: str
    page: Pixels = field(repr=False)
    image: Pixels = field(repr=False)
    parts: tuple[LeadPart, ...]
    clinical: Mapping[str, float]


@dataclass(frozen=True)
class Explained:
    """What was written for a subject, and what its JSON says."""

    files: tuple[Path, ...]
    summary: dict[str, Any] = field(repr=False)


def page_subjects(
    run: Path, page: Path, format_name: str, clinical: Mapping[str, float]
) -> Iterator[Subject]:
    """The pages of a report, normalised as the images that the run was trained on.

    Raises `PageError` for a page that cannot be used, `ExplainError` for a run of signals.
    """
    from ecgvision.conversion import convert

    _, about = _image_run(run)
    seen = about["data"]["image"]
    options = ImageOptions(style=seen["style"] or "canonical")
    for one in convert(page, format=format_name, options=options):
        pixels = one.image.pixels
        image = network_image(pixels, seen["height_px"], seen["width_px"])
        name = page.stem if one.page_number == 1 else f"{page.stem}-p{one.page_number}"
        yield Subject(name, pixels, image, parts_of_image(one.image), clinical)


def row_subject(run: Path, dataset: Dataset, row: int) -> Subject:
    """One row of a data set; raises `UsageError` for one that is not there."""
    recipe, _ = _image_run(run)
    if dataset.images is None or dataset.about.image is None:
        raise UsageError(f"data set {dataset.about.name!r} has no images")
    if not 0 <= row < len(dataset):
        raise UsageError(
            f"row {row} is not there; data set {dataset.about.name!r} has 0 to {len(dataset) - 1}"
        )
    image = np.array(dataset.images[row])
    parts = _parts(dataset.about.image.style, str(dataset.rows["format"].iloc[row]))
    there = [name for name in recipe.clinical if name in dataset.rows]
    clinical = {name: float(dataset.rows[name].iloc[row]) for name in there}
    return Subject(f"row-{row}", image, image, parts, clinical)


def _parts(style: str, format_id: str) -> tuple[LeadPart, ...]:
    """Where the leads stand in a picture of that style; none where the format is not installed."""
    if style in ("", "canonical"):
        return canonical_parts()
    for one in load_formats().formats:
        if one.info.id == format_id:
            layout = next((two for two in one.layouts if two.published), None)
            return () if layout is None else published_parts(layout, style)
    return ()


def explain(run: Path, subject: Subject, out: Path) -> Explained:
    """Write a PNG for each task, and a JSON with the share of each lead; whole or not at all.

    The picture shows what speaks for the positive class of a binary task, whatever the answer, and
    for the likeliest class of another.
    """
    recipe, about = _image_run(run)
    net = trained_net(recipe, run)
    clinical = _clinical(recipe, run, subject.clinical)
    with torch.inference_mode():
        page = net.pages(torch.from_numpy(np.ascontiguousarray(subject.image))[None])
        logits = net(page, clinical)
    told: dict[str, Any] = {}
    files: dict[Path, bytes] = {}
    for task in recipe.tasks:
        shown, words, probability = _answer(task, logits[task.name])
        heat = heat_map(net, task, subject.image, clinical, shown)
        shares = heat_by_lead(heat, subject.parts)
        title = f"{words}: {probability:.2f}, not calibrated. Research only"
        picture = overlay(subject.page, heat, title, subject.parts, shares)
        files[out / f"{subject.name}.{task.name}.png"] = png_bytes(picture)
        told[task.name] = {
            "shown": words,
            "probability_uncalibrated": round(probability, 4),
            "heat_by_lead": {lead: round(share, 4) for lead, share in shares.items()} or None,
        }
    summary = {
        "run": recipe.id,
        "subject": subject.name,
        "simulated": bool(about["data"]["simulated"]),
        "method": "Grad-CAM++",
        "clinical": {n: v if np.isfinite(v) else None for n, v in subject.clinical.items()},
        "tasks": told,
    }
    files[out / f"{subject.name}.json"] = json_bytes(summary)
    write_files(files)
    return Explained(tuple(files), summary)


def _image_run(run: Path) -> tuple[Recipe, dict[str, Any]]:
    recipe, about = read_run(run)
    if recipe.kind != "deep" or recipe.input != "image":
        what = "signals" if recipe.kind == "deep" else "no picture at all"
        raise ExplainError(
            f"{run.name}: expected a run of images, found one of {what} ({recipe.id}); "
            "heat maps are drawn for 2-D networks alone"
        )
    return recipe, about


def _clinical(recipe: Recipe, run: Path, given: Mapping[str, float]) -> torch.Tensor | None:
    """What is given, the rest imputed as in training."""
    unknown = sorted(set(given) - set(recipe.clinical))
    if unknown:
        raise UsageError(
            f"{recipe.id} knows no {', '.join(unknown)}; "
            f"it takes {', '.join(recipe.clinical) or 'no clinical features'}"
        )
    if not recipe.clinical:
        return None
    frame = pd.DataFrame({n: [given.get(n, np.nan)] for n in recipe.clinical}, dtype="float64")
    found = imputed(recipe, frame, run_imputer(recipe, run))
    return torch.from_numpy(found)


def _answer(task: Task, logits: torch.Tensor) -> tuple[int, str, float]:
    """The class that is shown, its words, and its probability."""
    title = task.title or task.name
    scores = log_odds(task, logits)
    if task.is_binary:
        return 1, title, float(0.5 * (1 + np.tanh(scores[0] / 2)))
    shares = np.exp(scores[0] - scores[0].max())
    shown = int(shares.argmax())
    return shown, f"{title}: {task.classes[shown]}", float(shares[shown] / shares.sum())
