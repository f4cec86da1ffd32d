"""Heat maps over pages, and how much of the heat lies on each lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ecgvision.normalise import published_boxes
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from ecgvision.types import EcgImage, Layout, LeadBox, Pixels

_WIDTH_PX = 900
_TITLE_PX, _TEXT_PX = 26, 18
# So much of the colour covers the page where the heat is 1.
_OPACITY = 0.6


@dataclass(frozen=True, slots=True)
class LeadPart:
    """Where a lead stands on a picture, in shares of its width and height."""

    lead: str
    left: float
    top: float
    right: float
    bottom: float


def parts_of_image(image: EcgImage) -> tuple[LeadPart, ...]:
    """The lead boxes of a normalised picture; none where it does not know them."""
    height, width = (side / image.px_per_mm for side in image.pixels.shape[:2])
    return _parts(image.boxes, width, height)


def _parts(boxes: Sequence[LeadBox], width_mm: float, height_mm: float) -> tuple[LeadPart, ...]:
    return tuple(
        LeadPart(
            b.lead,
            b.box.left_mm / width_mm,
            b.box.top_mm / height_mm,
            b.box.right_mm / width_mm,
            b.box.bottom_mm / height_mm,
        )
        for b in boxes
    )


def canonical_parts() -> tuple[LeadPart, ...]:
    """The boxes of every picture of the canonical style: six rows, two columns."""
    return tuple(
        LeadPart(lead, k // 6 / 2, k % 6 / 6, (k // 6 + 1) / 2, (k % 6 + 1) / 6)
        for k, lead in enumerate(LEADS)
    )


def published_parts(layout: Layout, style: str) -> tuple[LeadPart, ...]:
    """The boxes of a published picture of the layout, where the leads lie as they are due."""
    told = layout.published
    if told is None:
        return ()
    windows = style == "published-windows"
    width = sum(last - first for first, last in told.shown_px(windows)) / told.px_per_mm
    boxes = published_boxes(layout, windows=windows)
    return _parts(boxes, width, told.height_px / told.px_per_mm)


def heat_by_lead(heat: NDArray[np.float32], parts: Sequence[LeadPart]) -> dict[str, float]:
    """The share of all heat that lies on each lead; empty where there is none.

    Pixels count by their centres, so that boxes side by side share none.
    """
    total = float(heat.sum())
    if total <= 0:
        return {}
    y = (np.arange(heat.shape[0]) + 0.5) / heat.shape[0]
    x = (np.arange(heat.shape[1]) + 0.5) / heat.shape[1]
    shares: dict[str, float] = {}
    for part in parts:
        rows = (y >= part.top) & (y < part.bottom)
        columns = (x >= part.left) & (x < part.right)
        inside = float(heat[np.ix_(rows, columns)].sum())
        shares[part.lead] = shares.get(part.lead, 0.0) + inside / total
    return shares


def overlay(
    page: Pixels,
    heat: NDArray[np.float32],
    title: str,
    parts: Sequence[LeadPart],
    shares: Mapping[str, float],
) -> Pixels:
    """The page with its heat in colour, (H, W, 3) RGB ``uint8``; each lead with name and share."""
    scale = _WIDTH_PX / page.shape[1]
    size = (_WIDTH_PX, round(page.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = cv2.resize(page, size, interpolation=how)
    warm = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * warm).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    # Ink stays dark, paper takes the colour.
    share = (_OPACITY * warm)[:, :, None]
    mixed = grey[:, :, None] * (1 - share) + colours * share * (0.4 + 0.6 * grey[:, :, None] / 255)
    whole = np.full((size[1] + 2 * _TITLE_PX, size[0], 3), 255, np.uint8)
    whole[2 * _TITLE_PX :] = mixed.round().astype(np.uint8)
    return _labelled(whole, title, parts, shares, size[1])


def _labelled(
    whole: Pixels,
    title: str,
    parts: Sequence[LeadPart],
    shares: Mapping[str, float],
    height_px: int,
) -> Pixels:
    picture = Image.fromarray(whole)
    draw = ImageDraw.Draw(picture)
    draw.text((8, _TITLE_PX // 2), title, fill=(0, 0, 0), font=ImageFont.load_default(_TITLE_PX))
    font = ImageFont.load_default(_TEXT_PX)
    most = max(shares.values(), default=0)
    for part in parts:
        if part.lead not in shares:
            continue
        left = part.left * _WIDTH_PX
        top = 2 * _TITLE_PX + part.top * height_px
        text = f"{part.lead} {100 * shares[part.lead]:.0f} %"
        box = draw.textbbox((left + 6, top + 4), text, font=font)
        draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=(255, 255, 255))
        # The lead with the most heat stands out.
        fill = (170, 0, 0) if shares[part.lead] == most else (0, 0, 0)
        draw.text((left + 6, top + 4), text, fill=fill, font=font)
    return np.asarray(picture)
