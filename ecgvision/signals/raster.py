"""Reads the leads' curves off a page of pixels, by fitting what a pen would draw to its ink."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.print_boxes import name_boxes
from ecgvision.recording import LeadCurve
from ecgvision.signals.crossings import fitted_crossings
from ecgvision.signals.edges import INK_SHARE, ColumnInk, column_ink
from ecgvision.signals.fit import Line, fitted_line
from ecgvision.signals.joints import own_parts_mm
from ecgvision.signals.pen import USUAL_MM, Pen, ink_darkness, measured_pen
from ecgvision.signals.starts import time_shifts_mm
from ecgvision.threads import side_by_side
from ecgvision.trace import RowWays, row_ways
from ecgvision.types import Box, Layout, LeadBox, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Holes up to this are bridged by the line; wider ones are gaps.
_BRIDGED_MM = 0.5
# Less than this of a box read is no lead; more than that missing is said.
_LEAST_COVERAGE, _MISSING = 0.1, 0.02
# A column whose ink the line misses by more than this is not explained by it.
_EXPLAINED_MM = 0.15
# From this share of columns on that other rows share, a lead counts as overlapped.
_OVERLAPPED = 0.1
# A first guess of the blur, good enough to measure the pen with.
_USUAL_BLUR_PX = 0.5


def raster_curves(page: Page, layout: Layout, ink: Pixels) -> tuple[LeadCurve, ...]:
    """The curve of each of `layout.boxes`, in their order.

    `page` is upright and level, `layout` as measured on it, `ink` the page without its grid, grey.
    `x_mm` is moved along so that a lead's first sample stands at the left edge of its box: sample
    time = (x_mm - box.left_mm) / speed + start_s. `confidence` is the share of the box whose ink
    the curve explains by itself. `reason` is "no-line" (nothing found), "partly-missing" (more
    than 2 % of the box is empty), or "overlapped" (other rows hide more than 10 % of it).
    """
    scale = ink.shape[1] / page.known_mm[0]
    dark = cv2.LUT(ink, np.linspace(1, 0, 256, dtype=np.float32))
    followed = row_ways(page, layout, ink)
    inks, pen = _inks_and_pen(dark, followed, scale, name_boxes(layout.boxes))
    lines = side_by_side(partial(fitted_line, one, pen) for one in inks)
    lines = fitted_crossings(dark, inks, lines, pen, scale)
    shifts_mm = time_shifts_mm(layout.rows, dark, inks, lines, pen, scale)
    curves = {}
    for row, one, line, shifts in zip(layout.rows, inks, lines, shifts_mm, strict=True):
        own_mm = own_parts_mm(row, one, line, scale, _EXPLAINED_MM)
        for lead_box, shift_mm, part_mm in zip(row, shifts, own_mm, strict=True):
            curves[id(lead_box)] = _curve(lead_box, one, line, scale, shift_mm, part_mm)
    return tuple(curves[id(lead_box)] for lead_box in layout.boxes)


def _inks_and_pen(
    dark: NDArray[np.float32], followed: RowWays, scale: float, names: Sequence[Box] = ()
) -> tuple[tuple[ColumnInk, ...], Pen]:
    """Each row's ink by columns, and the pen; first with a usual pen, then with the page's own."""
    guess = Pen(USUAL_MM * scale, _darkness(dark, followed), _USUAL_BLUR_PX)
    inks = _column_ink(dark, followed, scale, guess, names)
    pen = measured_pen(dark, inks, scale)
    return _column_ink(dark, followed, scale, pen, names), pen


def _column_ink(
    dark: NDArray[np.float32], followed: RowWays, scale: float, pen: Pen, names: Sequence[Box]
) -> tuple[ColumnInk, ...]:
    return column_ink(
        dark,
        followed.ways,
        followed.bars,
        followed.factor,
        scale,
        pen.width_px,
        pen.blur_px,
        pen.darkness,
        names,
    )


def _darkness(dark: NDArray[np.float32], followed: RowWays) -> float:
    """The darkness of the ink the ways run through."""
    seen = []
    for way in followed.ways:
        columns = np.minimum(np.arange(way.first, way.last) * followed.factor, dark.shape[1] - 1)
        y = np.clip((way.top + way.bottom) // 2 * followed.factor, 0, dark.shape[0] - 1)
        seen.append(dark[y, columns])
    values = np.concatenate(seen)
    return ink_darkness(values[values > INK_SHARE])


def _curve(
    lead_box: LeadBox,
    ink: ColumnInk,
    line: Line,
    scale: float,
    shift_mm: float,
    part_mm: tuple[float, float],
) -> LeadCurve:
    """The lead's curve off its row's line, of which `part_mm` is its own."""
    left, right = lead_box.box.left_mm + shift_mm, lead_box.box.right_mm + shift_mm
    x_mm = line.x_px / scale
    inside = (x_mm >= left) & (x_mm <= right)
    columns = (ink.columns + 0.5) / scale
    own = (columns >= part_mm[0]) & (columns <= part_mm[1])
    read = _bridged(ink.seen, _BRIDGED_MM * scale) & own
    node = np.clip((line.x_px - ink.columns[0]).astype(np.int64), 0, len(ink.columns) - 1)
    y_mm = np.where(read[node] & np.isfinite(line.y_px), line.y_px / scale, np.nan)[inside]
    within = (columns >= left) & (columns <= right)
    coverage = float(read[within].mean()) if within.any() else 0.0
    if coverage < _LEAST_COVERAGE:
        nothing = np.full(int(inside.sum()), np.nan)
        return LeadCurve(lead_box, x_mm[inside] - shift_mm, nothing, "raster", 0.0, "no-line")
    close = np.nan_to_num(line.misfit_px, nan=np.inf) < _EXPLAINED_MM * scale
    alone = close & ink.upper_seen & ink.lower_seen & ink.seen
    confidence = float(alone[within].mean())
    reason = None
    if coverage < 1 - _MISSING:
        reason = "partly-missing"
    elif float(ink.shared[within].mean()) > _OVERLAPPED:
        reason = "overlapped"
    return LeadCurve(lead_box, x_mm[inside] - shift_mm, y_mm, "raster", confidence, reason)


def _bridged(seen: Bools, most_px: float) -> Bools:
    """`seen` with its short holes filled; not at the ends."""
    filled = seen.copy()
    edges = np.flatnonzero(np.diff(seen.astype(np.int8)))
    for start, stop in _pairs(edges + 1, seen):
        if stop - start <= most_px:
            filled[start:stop] = True
    return filled


def _pairs(edges: NDArray[np.int64], seen: Bools) -> Sequence[tuple[int, int]]:
    """First column and column after the last of each hole between inked columns."""
    ends = edges if seen[0] else edges[1:]
    return [(int(a), int(b)) for a, b in zip(ends[0::2], ends[1::2], strict=False)]
