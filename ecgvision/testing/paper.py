"""The printed grid of a drawn page: where it lies and what it looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.types import RGB, Box, FormatInfo, Layout

if TYPE_CHECKING:
    from ecgvision.media.canvas import PdfCanvas

SMALL_MM, LARGE_MM = 1.0, 5.0
_PAGE_EDGE_MM = 2.0
_DOT_MM = 0.2  # a dot as small as a thin line is wide would not show
_PINKS: tuple[RGB, RGB] = ((240, 150, 150), (250, 212, 212))


@dataclass(frozen=True, slots=True)
class GridStyle:
    """Looks of a grid: lines every 5 mm (major) and every 1 mm (minor).

    A dotted grid has a dot every 1 mm both ways, and one every 0.5 mm along the major lines.
    `frame_rgb` is the colour of a border around the grid, where there is one.
    """

    major_rgb: RGB = _PINKS[0]
    minor_rgb: RGB = _PINKS[1]
    major_mm: float = 0.20
    minor_mm: float = 0.10
    dotted: bool = False
    frame_rgb: RGB | None = None

    @classmethod
    def of(cls, info: FormatInfo, *, dotted: bool = False) -> GridStyle:
        """The format's own colours: major, minor, and frame if it has a third; pink without."""
        major, minor = (*info.grid_rgb, *_PINKS[len(info.grid_rgb) :])[:2]
        frame = info.grid_rgb[2] if len(info.grid_rgb) > 2 else None
        return cls(major, minor, dotted=dotted, frame_rgb=frame)

    @classmethod
    def grey(cls) -> GridStyle:
        """What a grey printer or copier makes of a pink grid."""
        return cls((150, 150, 150), (208, 208, 208))

    @classmethod
    def black(cls) -> GridStyle:
        """A grid as black as the trace, told apart by its thin lines alone."""
        return cls((0, 0, 0), (0, 0, 0), major_mm=0.12, minor_mm=0.05)


def print_area(layout: Layout) -> Box:
    """The box around all leads and calibration pulses, in mm."""
    boxes = [lead_box.box for lead_box in layout.boxes]
    across = [edge for box in boxes for edge in (box.left_mm, box.right_mm)]
    across += layout.pulse_mm or ()
    return Box(
        min(across),
        min(box.top_mm for box in boxes),
        max(across),
        max(box.bottom_mm for box in boxes),
    )


def grid_area(layout: Layout) -> Box:
    """Whole large boxes around everything printed of the leads, kept off the page's edges.

    Lines pass through the left end and the baseline of the first lead, as on real paper.
    """
    first = layout.rows[0][0]
    area = print_area(layout)
    width_mm, height_mm = layout.page_mm
    left, right = _whole(area.left_mm - 1, area.right_mm + 1, first.box.left_mm, width_mm)
    top, bottom = _whole(area.top_mm, area.bottom_mm, first.baseline_mm, height_mm)
    return Box(left, top, right, bottom)


def _whole(low: float, high: float, anchor: float, page_mm: float) -> tuple[float, float]:
    """`low` and `high` moved out to whole large boxes from `anchor`, then back into the page."""
    first = math.floor((low - anchor) / LARGE_MM)
    last = math.ceil((high - anchor) / LARGE_MM)
    first = max(first, math.ceil((_PAGE_EDGE_MM - anchor) / LARGE_MM))
    last = min(last, math.floor((page_mm - _PAGE_EDGE_MM - anchor) / LARGE_MM))
    return anchor + first * LARGE_MM, anchor + max(last, first + 1) * LARGE_MM


def draw_grid(canvas: PdfCanvas, area: Box, style: GridStyle) -> None:
    """Minor lines first, so that the major ones lie over them."""
    if style.dotted:
        _draw_dots(canvas, area, style)
    else:
        _draw_lines(canvas, area, SMALL_MM, style.minor_mm, style.minor_rgb)
        _draw_lines(canvas, area, LARGE_MM, style.major_mm, style.major_rgb)
    if style.frame_rgb is not None:
        edges = (area.left_mm, area.top_mm, area.right_mm, area.bottom_mm)
        corners = np.array(edges)[[[0, 1], [2, 1], [2, 3], [0, 3], [0, 1]]]
        canvas.polyline(corners, 1.5 * style.major_mm, style.frame_rgb)


def _steps(low: float, high: float, pitch_mm: float) -> list[float]:
    return [low + k * pitch_mm for k in range(round((high - low) / pitch_mm) + 1)]


def _draw_lines(canvas: PdfCanvas, area: Box, pitch_mm: float, width_mm: float, rgb: RGB) -> None:
    large = round(LARGE_MM / pitch_mm)
    for k, x in enumerate(_steps(area.left_mm, area.right_mm, pitch_mm)):
        if large == 1 or k % large:  # a minor line under a major one would only blur its colour
            canvas.line(x, area.top_mm, x, area.bottom_mm, width_mm, rgb)
    for k, y in enumerate(_steps(area.top_mm, area.bottom_mm, pitch_mm)):
        if large == 1 or k % large:
            canvas.line(area.left_mm, y, area.right_mm, y, width_mm, rgb)


def _draw_dots(canvas: PdfCanvas, area: Box, style: GridStyle) -> None:
    columns = _steps(area.left_mm, area.right_mm, SMALL_MM / 2)
    for row, y in enumerate(_steps(area.top_mm, area.bottom_mm, SMALL_MM / 2)):
        for column, x in enumerate(columns):
            major = row % 10 == 0 or column % 10 == 0
            if not major and (row % 2 or column % 2):
                continue
            half = max(_DOT_MM, style.major_mm if major else style.minor_mm) / 2
            rgb = style.major_rgb if major else style.minor_rgb
            canvas.rect(Box(x - half, y - half, x + half, y + half), rgb)
