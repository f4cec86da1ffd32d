"""The normalised image straight from the recording, for where drawing whole pages takes too long.

The page is not printed, recognised and cleaned, as all of it is known: its strokes and lead names
go to the same `normalise_page` that conversion ends in. A scan's image is softened as scans are.
`tests/test_dataset_direct.py` holds this way to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.conversion import normalise_page
from ecgvision.testing import trace_points
from ecgvision.types import RENDER_PX_PER_MM, Box, Layout, Match, Page, Stroke, Text

if TYPE_CHECKING:
    from ecgvision.dataset.drawing_style import PageStyle
    from ecgvision.normalise import ImageOptions
    from ecgvision.plugins import Format
    from ecgvision.testing.synthetic import Ecg
    from ecgvision.types import Pixels, Points

# A name whose capitals are 2.6 mm high, and the box that PDF readers give it.
_NAME_ABOVE_MM, _NAME_BELOW_MM, _NAME_WIDTH_MM = 1.3, 3.7, 2.2
_SHIFT = 4  # bits of a pixel's fraction, for OpenCV


@dataclass(frozen=True)
class _Known:
    """A page whose strokes and words are known, so that nobody need look at its pixels."""

    known_strokes: tuple[Stroke, ...]
    known_texts: tuple[Text, ...]

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        raise NotImplementedError("this page was never drawn")

    def strokes(self) -> tuple[Stroke, ...]:
        return self.known_strokes

    def texts(self) -> tuple[Text, ...]:
        return self.known_texts


def direct_image(chosen: Format, ecg: Ecg, style: PageStyle, options: ImageOptions) -> Pixels:
    """(H, W) ``uint8``: about what conversion gives for the record's page of that style."""
    layout = style.layout.shifted(*style.offset_mm)
    strokes = _strokes(layout, ecg, style.pen_mm)
    reader = _Known(strokes, _names(layout))
    page = Page(Path("drawn"), 1, "vector", layout.page_mm, None, reader)
    right_mm, down_mm = style.offset_mm
    offset_mm = (right_mm, down_mm + _level_mm(layout, ecg))
    match = Match(layout, 1.0, offset_mm, page_mm=layout.page_mm)
    canonical = options.style == "canonical"
    ink = np.full((1, 1), 255, np.uint8) if canonical else _ink(layout, strokes)
    image, _ = normalise_page(page, chosen, match, ink, options)
    if style.scan is None:
        return image.pixels
    sigma_px = style.scan.blur_px * image.px_per_mm * 25.4 / style.scan.dpi
    softened: Pixels = cv2.GaussianBlur(image.pixels, (0, 0), sigma_px)
    return softened


def _level_mm(layout: Layout, ecg: Ecg) -> float:
    """How far the rows run below their baselines: what is measured on a page has that in it."""
    below = []
    for row in layout.rows:
        heights = [trace_points(one, layout, ecg)[:, 1] - one.baseline_mm for one in row]
        medians = [float(np.median(h[np.isfinite(h)])) for h in heights if np.isfinite(h).any()]
        below += [float(np.median(medians))] if medians else []
    return float(np.mean(below)) if below else 0.0


def _strokes(layout: Layout, ecg: Ecg, pen_mm: float) -> tuple[Stroke, ...]:
    return tuple(
        Stroke(run, pen_mm, (0, 0, 0))
        for lead_box in layout.boxes
        for run in _known_runs(trace_points(lead_box, layout, ecg))
    )


def _known_runs(points: Points) -> Iterator[Points]:
    """The stretches of a line without NaN."""
    known = np.isfinite(points[:, 1])
    for run in np.split(points, np.flatnonzero(np.diff(known)) + 1):
        if len(run) > 1 and np.isfinite(run[0, 1]):
            yield run


def _names(layout: Layout) -> tuple[Text, ...]:
    return tuple(
        Text(
            b.lead, Box(x, y - _NAME_ABOVE_MM, x + _NAME_WIDTH_MM * len(b.lead), y + _NAME_BELOW_MM)
        )
        for b in layout.boxes
        if b.name_mm is not None
        for x, y in [b.name_mm]
    )


def _ink(layout: Layout, strokes: tuple[Stroke, ...]) -> Pixels:
    """The traces alone at the resolution that pages are rendered with."""
    width_px, height_px = (round(side * RENDER_PX_PER_MM) for side in layout.page_mm)
    ink = np.full((height_px, width_px), 255, np.uint8)
    for stroke in strokes:
        points = (stroke.points_mm * RENDER_PX_PER_MM - 0.5) * (1 << _SHIFT)
        thickness = max(1, round(stroke.width_mm * RENDER_PX_PER_MM))
        fixed = np.rint(points).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(ink, [fixed], False, 0, thickness, cv2.LINE_AA, _SHIFT)
    return ink
