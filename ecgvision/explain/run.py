"""A network explained on pages, or on rows of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ecgvision.dataset.images import network_image
from ecgvision.dataset.store import Dataset
from ecgvision.errors import UsageError
from ecgvision.explain.heat import heat_map
from ecgvision.explain.network import ImageNetwork
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
from ecgvision.predicting.clinical import Value
from ecgvision.tasks import Task
from ecgvision.training.asking import log_odds

if TYPE_CHECKING:
    from ecgvision.types import Pixels


@dataclass(frozen=True)
class Subject:
    """One image to be explained: `page` as it is shown, `image` as the network sees it."""

    name: str
    page: Pixels = field(repr=False)
    image: Pixels = field(repr=False)
    parts: tuple[LeadPart, ...]
    clinical: Mapping[str, Value]


@dataclass(frozen=True)
class Explained:
    """What was written for a subject, and what its JSON says."""

    files: tuple[Path, ...]
    summary: dict[str, Any] = field(repr=False)


def page_subjects(
    asked: ImageNetwork, page: Path, format_name: str, clinical: Mapping[str, Value]
) -> Iterator[Subject]:
    """The pages of a report, normalised as the images that the network was trained on.

    Raises `PageError` for a page that cannot be used.
    """
    from ecgvision.conversion import convert

    options = ImageOptions(style=asked.style)  # type: ignore[arg-type]
    for one in convert(page, format=format_name, options=options):
        pixels = one.image.pixels
        image = network_image(pixels, *asked.image_px)
        name = page.stem if one.page_number == 1 else f"{page.stem}-p{one.page_number}"
        yield Subject(name, pixels, image, parts_of_image(one.image), clinical)


def row_subject(asked: ImageNetwork, dataset: Dataset, row: int) -> Subject:
    """One row of a data set; raises `UsageError` for one that is not there."""
    if dataset.images is None or dataset.about.image is None:
        raise UsageError(f"data set {dataset.about.name!r} has no images")
    if not 0 <= row < len(dataset):
        raise UsageError(
            f"row {row} is not there; data set {dataset.about.name!r} has 0 to {len(dataset) - 1}"
        )
    image = np.array(dataset.images[row])
    parts = _parts(dataset.about.image.style, str(dataset.rows["format"].iloc[row]))
    there = [name for name in asked.clinical if name in dataset.rows]
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


def explain(asked: ImageNetwork, subject: Subject, out: Path) -> Explained:
    """Write a PNG for each task, and a JSON with the share of each lead; whole or not at all.

    The picture shows what speaks for the positive class of a binary task, whatever the answer, and
    for the likeliest class of another. Raises `UsageError` for features that the network does not
    know.
    """
    given = asked.features(subject.clinical)
    clinical = None if given is None else torch.from_numpy(given)
    with torch.inference_mode():
        page = asked.net.pages(torch.from_numpy(np.ascontiguousarray(subject.image))[None])
        logits = asked.net(page, clinical)
    told: dict[str, Any] = {}
    files: dict[Path, bytes] = {}
    for task in asked.tasks:
        temperature = asked.temperatures.get(task.name)
        shown, words, probability = _answer(task, logits[task.name], temperature or 1.0)
        heat = heat_map(asked.net, task, subject.image, clinical, shown)
        shares = heat_by_lead(heat, subject.parts)
        how = "" if temperature else ", not calibrated"
        whose = " Simulated data." if asked.simulated else ""
        title = f"{words}: {probability:.2f}{how}.{whose} Research only"
        picture = overlay(subject.page, heat, title, subject.parts, shares)
        files[out / f"{subject.name}.{task.name}.png"] = png_bytes(picture)
        told[task.name] = {
            "shown": words,
            "probability": round(probability, 4),
            "calibrated": temperature is not None,
            "heat_by_lead": {lead: round(share, 4) for lead, share in shares.items()} or None,
        }
    summary = {
        "model": asked.id,
        "subject": subject.name,
        "simulated": asked.simulated,
        "method": "Grad-CAM++",
        "clinical": {name: _plain(value) for name, value in subject.clinical.items()},
        "tasks": told,
    }
    files[out / f"{subject.name}.json"] = json_bytes(summary)
    write_files(files)
    return Explained(tuple(files), summary)


def _plain(value: Value) -> Value:
    """NaN is nothing."""
    return None if value != value else value


def _answer(task: Task, logits: torch.Tensor, temperature: float) -> tuple[int, str, float]:
    """The class that is shown, its words, and its probability."""
    title = task.title or task.name
    scores = log_odds(task, logits) / temperature
    if task.is_binary:
        return 1, title, float(0.5 * (1 + np.tanh(scores[0] / 2)))
    shares = np.exp(scores[0] - scores[0].max())
    shown = int(shares.argmax())
    return shown, f"{title}: {task.classes[shown]}", float(shares[shown] / shares.sum())
