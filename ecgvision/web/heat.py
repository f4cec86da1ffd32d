"""Which parts of a picture raised a model's answer.

By Grad-CAM++ where torch is installed. Or by taking parts away one at a time: that asks the very
network that answered, and needs nothing but it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ecgvision.output import png_bytes
from ecgvision.web.pages import label_leads

if TYPE_CHECKING:
    from ecgvision.explain.network import ImageNetwork
    from ecgvision.predicting import ZooModel
    from ecgvision.types import EcgImage, LeadBox, Pixels

# Each lead is taken away in so many parts, one after the other.
_PARTS = 4
_PAPER = 255
_WIDTH_PX = 1000
_HOT_RGB = np.array([235, 120, 0], np.float32)
_MOST_COLOUR = 0.65


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The picture with its weights in colour, as PNG, and the share of each lead, most first."""

    png: bytes = field(repr=False)
    leads: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a lead's box, in shares of the picture's width and height."""

    lead: str
    left: float
    top: float
    right: float
    bottom: float

    def of(self, height: int, width: int) -> tuple[slice, slice]:
        rows = slice(round(self.top * height), round(self.bottom * height))
        return rows, slice(round(self.left * width), round(self.right * width))


def grad_cam_maps(
    name: str, model: ZooModel, image: EcgImage, clinical: Mapping[str, float]
) -> dict[str, HeatMap]:
    """By task, what Grad-CAM++ finds in the network of the model of that name."""
    from ecgvision.explain import Subject, explain
    from ecgvision.explain.picture import parts_of_image

    parts = parts_of_image(image)
    subject = Subject("page", image.pixels, model.prepared(image), parts, clinical)
    with TemporaryDirectory(prefix="ecgvision-") as folder:
        told = explain(_network(name), subject, Path(folder)).summary["tasks"]
        return {
            task.name: HeatMap(
                Path(folder, f"page.{task.name}.png").read_bytes(),
                _ordered(told[task.name]["heat_by_lead"] or {}),
            )
            for task in model.entry.tasks
        }


@lru_cache(maxsize=1)
def _network(name: str) -> ImageNetwork:
    """The network with its gradients, loaded once in each process."""
    from ecgvision.explain.network import image_network

    return image_network(name)


def _ordered(shares: Mapping[str, float]) -> list[dict[str, Any]]:
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    return [{"lead": lead, "share": round(share, 4)} for lead, share in ordered if share > 0]


def occlusion_maps(
    model: ZooModel, image: EcgImage, clinical: Mapping[str, float]
) -> dict[str, HeatMap]:
    """By task, what raised the log-odds: how far they fall when a part of a lead is blank paper."""
    small = model.prepared(image)
    parts = [part for lead_box in image.boxes for part in _parts(lead_box, image)]
    blanked = np.repeat(small[None], len(parts) + 1, axis=0)
    for one, part in zip(blanked[1:], parts, strict=True):
        one[part.of(*small.shape)] = _PAPER
    logits = model.logits(blanked, [dict(clinical)] * len(blanked))
    return {name: _map(image, parts, found[0] - found[1:]) for name, found in logits.items()}


def _parts(lead_box: LeadBox, image: EcgImage) -> list[_Part]:
    height, width = image.pixels.shape
    width_mm, height_mm = width / image.px_per_mm, height / image.px_per_mm
    box = lead_box.box
    edges = np.linspace(box.left_mm, box.right_mm, _PARTS + 1) / width_mm
    top, bottom = box.top_mm / height_mm, box.bottom_mm / height_mm
    return [
        _Part(lead_box.lead, float(edges[k]), top, float(edges[k + 1]), bottom)
        for k in range(_PARTS)
    ]


def _map(image: EcgImage, parts: list[_Part], fall: np.ndarray[Any, Any]) -> HeatMap:
    """`fall` is (n,): by how much the log-odds fall without each part."""
    raised = np.maximum(fall, 0.0)
    total, most = float(raised.sum()), float(raised.max(initial=0.0))
    shares: dict[str, float] = {}
    if total > 0:
        for part, value in zip(parts, raised, strict=True):
            shares[part.lead] = shares.get(part.lead, 0.0) + float(value) / total
    picture = _coloured(image, parts, raised / most if most > 0 else raised)
    return HeatMap(png_bytes(picture), _ordered(shares))


def _coloured(image: EcgImage, parts: list[_Part], warmth: np.ndarray[Any, Any]) -> Pixels:
    scale = _WIDTH_PX / image.pixels.shape[1]
    size = (_WIDTH_PX, round(image.pixels.shape[0] * scale))
    grey = cv2.resize(image.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = np.zeros(grey.shape, np.float32)
    for part, warm in zip(parts, warmth, strict=True):
        share[part.of(*grey.shape)] = _MOST_COLOUR * float(warm)
    # Ink stays dark, paper takes the colour.
    tinted = _HOT_RGB * (grey[:, :, None] / 255)
    mixed = grey[:, :, None] * (1 - share[:, :, None]) + tinted * share[:, :, None]
    picture: Pixels = mixed.round().astype(np.uint8)
    label_leads(picture, image)
    return picture
