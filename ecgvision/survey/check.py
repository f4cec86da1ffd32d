"""Draws what a format takes for its leads on the page itself, for a human eye to judge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.errors import NoMatchError
from ecgvision.evidence import upright
from ecgvision.media.views import scaled
from ecgvision.recognition import recognise
from ecgvision.types import RGB, Box, Layout, LeadBox, Match, Page

if TYPE_CHECKING:
    from ecgvision.plugins import Format
    from ecgvision.types import Pixels

_FINEST_PX_PER_MM = 8.0
_MOST_PIXELS = 25e6
_STRIP_MM = 9.0  # above the page, for the caption
_PALE = 0.55  # how much of the page's own ink stays, so that the colours show

# Neighbours get different colours, so that it is seen where one ends and the next begins.
_MEASURED: tuple[RGB, ...] = ((0, 130, 60), (0, 90, 200))
_RHYTHM: RGB = (130, 40, 160)
_DECLARED: RGB = (235, 120, 0)
_BASELINE: RGB = (210, 0, 60)
_PULSE: RGB = (0, 150, 170)
_BLACK: RGB = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class CheckPicture:
    """The page with the boxes: (H, W, 3) RGB ``uint8``; `refusal` says why it is no match."""

    pixels: Pixels
    px_per_mm: float
    caption: str
    refusal: NoMatchError | None = None


def check_page(page: Page, chosen: Format) -> CheckPicture:
    """Draw the measured layout on the page; on a refused page the declared one, in orange."""
    refusal: NoMatchError | None = None
    match: Match | None
    try:
        match = recognise(page, [chosen]).match
        layout = match.layout
        caption = f"{chosen.info.id}, layout {layout.name}, score {match.score:.2f}"
    except NoMatchError as error:
        refusal = error
        match = chosen.detect(page)
        layout = _declared(chosen, match)
        caption = f"refused as {chosen.info.id}; layout {layout.name} as declared"
    view = upright(page, match) if match is not None else _sized(page, layout)
    drawing = _Drawing(view)
    for row in layout.rows:
        for column, lead_box in enumerate(row):
            drawing.lead(lead_box, _colour(lead_box, column, refused=refusal is not None))
        if layout.pulse_mm is not None:
            left, right = layout.pulse_mm
            foot = row[0].baseline_mm
            drawing.box(Box(left, foot - layout.gain_mm_per_mv, right, foot), _PULSE)
    drawn = "boxes orange" if refusal else "rhythm strips purple"
    pixels = drawing.with_caption(f"{caption}   {drawn}, baselines red, pulses turquoise")
    return CheckPicture(pixels, drawing.px_per_mm, caption, refusal)


def _declared(chosen: Format, match: Match | None) -> Layout:
    """The layout that came nearest, where it stands by its declaration; or the first one."""
    nearest = [lay for lay in chosen.layouts if match is not None and lay.name == match.layout.name]
    return (nearest or list(chosen.layouts))[0]


def _sized(page: Page, layout: Layout) -> Page:
    """The page, taken to be as wide as the layout's where its size is not known."""
    if page.size_mm is not None or page.size_px is None:
        return page
    return scaled(page, page.size_px[0] / layout.page_mm[0])


def _colour(lead_box: LeadBox, column: int, *, refused: bool) -> RGB:
    if refused:
        return _DECLARED
    return _RHYTHM if lead_box.rhythm_strip else _MEASURED[column % len(_MEASURED)]


class _Drawing:
    """The page, paled, and coloured lines on it; lengths in mm."""

    def __init__(self, page: Page) -> None:
        if page.size_mm is None:
            raise ValueError("give the page its size in mm first")
        area = page.size_mm[0] * page.size_mm[1]
        self.px_per_mm = min(_FINEST_PX_PER_MM, math.sqrt(_MOST_PIXELS / area))
        pixels = page.pixels(self.px_per_mm)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        paled = 255 - (255 - pixels.astype(np.float32)) * _PALE
        self._pixels: Pixels = np.ascontiguousarray(paled.astype(np.uint8))

    def lead(self, lead_box: LeadBox, rgb: RGB) -> None:
        """The box, its baseline, and the lead's name in its top right corner."""
        box = lead_box.box
        # A little inside, so that the edges of neighbours stand side by side.
        self.box(box.grown(-0.15, -0.15) if min(box.width_mm, box.height_mm) > 1 else box, rgb)
        self._line((box.left_mm, lead_box.baseline_mm), (box.right_mm, lead_box.baseline_mm))
        right, top = self._px(box.right_mm - 1.0, box.top_mm + 1.0)
        (width, height), _ = cv2.getTextSize(lead_box.lead, *self._font(3.0))
        self._text(lead_box.lead, (right - width, top + height), 3.0, rgb)

    def with_caption(self, caption: str) -> Pixels:
        """The picture under a white strip that says what it shows."""
        page = self._pixels
        strip = np.full((round(_STRIP_MM * self.px_per_mm), page.shape[1], 3), 255, np.uint8)
        self._pixels = np.vstack([strip, page])
        self._text(caption, self._px(3.0, _STRIP_MM - 3.0), 3.0, _BLACK)
        return self._pixels

    def _px(self, x_mm: float, y_mm: float) -> tuple[int, int]:
        return round(x_mm * self.px_per_mm), round(y_mm * self.px_per_mm)

    def _thick(self, mm: float) -> int:
        return max(1, round(mm * self.px_per_mm))

    def box(self, box: Box, rgb: RGB) -> None:
        corners = self._px(box.left_mm, box.top_mm), self._px(box.right_mm, box.bottom_mm)
        cv2.rectangle(self._pixels, *corners, rgb, self._thick(0.25))

    def _line(self, start_mm: tuple[float, float], stop_mm: tuple[float, float]) -> None:
        ends = self._px(*start_mm), self._px(*stop_mm)
        cv2.line(self._pixels, *ends, _BASELINE, self._thick(0.12))

    def _font(self, height_mm: float) -> tuple[int, float, int]:
        """Face, scale and thickness: Hershey capitals are 21 units high."""
        return cv2.FONT_HERSHEY_SIMPLEX, height_mm * self.px_per_mm / 21, self._thick(0.25)

    def _text(self, text: str, corner: tuple[int, int], height_mm: float, rgb: RGB) -> None:
        face, scale, thickness = self._font(height_mm)
        cv2.putText(self._pixels, text, corner, face, scale, rgb, thickness, cv2.LINE_AA)
