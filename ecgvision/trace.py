"""Finds each lead's own trace: its strokes on a vector page, its own ink on a raster page.

On a raster page every row is followed through its ink (`ecgvision.follow`). Ink then belongs to the
row whose way runs nearest, if it hangs together with it. So a neighbour's QRS that reaches into a
lead's box stays with the neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from ecgvision.follow import BAND_MM, follow_rows
from ecgvision.print_boxes import name_boxes
from ecgvision.runs import lower_ends, upper_ends
from ecgvision.strokes import LEAST_BAR_MM
from ecgvision.trace_lines import by_row, lines_of
from ecgvision.types import Box, Layout, LeadBox, Page
from ecgvision.ways import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels, Points

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

STEP_MM = 0.2
"""Distance between the points of a lead's sampled line: 8 ms at 25 mm/s."""

_FOLLOW_PX_PER_MM = 6.0
# A separator stands this near to where its column begins.
_BAR_MM = 1.5
_BESIDE_BAR_MM = 0.2
# Where a way rises less than this within the same length, no spike begins.
_FLAT_MM = 1.4


@dataclass(frozen=True, slots=True)
class LeadTrace:
    """One lead as printed.

    `y_mm` samples its line every `STEP_MM` from the left edge of its box, NaN where there is no
    ink. A vector page gives `lines`, each (n, 2) in mm; a raster page gives `ink`, (H, W)
    ``uint8`` of the lead's own ink within `ink_box`.
    """

    lead_box: LeadBox
    y_mm: Floats
    lines: tuple[Points, ...] = ()
    ink: Pixels | None = None
    ink_box: Box | None = None

    @property
    def coverage(self) -> float:
        """The share of the lead's window on which there is a line."""
        return float(np.isfinite(self.y_mm).mean())

    @property
    def level_mm(self) -> float:
        """The level the line mostly runs at; NaN without a line."""
        seen = self.y_mm[np.isfinite(self.y_mm)]
        return float(np.median(seen)) if len(seen) else float("nan")


def trace_leads(page: Page, layout: Layout, ink: Pixels) -> tuple[LeadTrace, ...]:
    """Each box's own trace. `ink` is the upright page without its grid at `page.px_per_mm`."""
    if page.origin == "vector":
        traced = _from_strokes(page, layout)
        if any(trace.coverage > 0.5 for trace in traced):
            return traced
    return _from_ink(page, layout, ink)


def _samples(lead_box: LeadBox) -> Floats:
    box = lead_box.box
    x: Floats = np.arange(box.left_mm, box.right_mm, STEP_MM) + STEP_MM / 2
    return x


# --- vector -----------------------------------------------------------------------------------


def _from_strokes(page: Page, layout: Layout) -> tuple[LeadTrace, ...]:
    owned = by_row(lines_of(page, layout), layout)
    return tuple(_lead_from_lines(b, [line.points for line in owned[id(b)]]) for b in layout.boxes)


def _lead_from_lines(lead_box: LeadBox, candidates: Sequence[Points]) -> LeadTrace:
    """The parts of the row's lines that lie in the lead's window; the longest wins a place."""
    box = lead_box.box
    x = _samples(lead_box)
    y = np.full(x.shape, np.nan)
    lines: list[Points] = []
    clipped = [part for line in candidates if (part := _clipped(line, box)) is not None]
    for part in sorted(clipped, key=lambda p: -float(np.ptp(p[:, 0]))):
        inside = (x >= part[0, 0]) & (x <= part[-1, 0])
        if not inside.any() or np.isfinite(y[inside]).mean() > 0.2:
            continue
        y[inside] = np.interp(x[inside], part[:, 0], part[:, 1])
        lines.append(part)
    return LeadTrace(lead_box, y, lines=tuple(sorted(lines, key=lambda p: float(p[0, 0]))))


def _clipped(line: Points, box: Box) -> Points | None:
    """The part of a line, x rising, between the box's left and right edge."""
    x = line[:, 0]
    left, right = max(box.left_mm, float(x[0])), min(box.right_mm, float(x[-1]))
    if right - left < 1.0:
        return None
    first, last = np.searchsorted(x, left, "left"), np.searchsorted(x, right, "right")
    part = line[first:last]
    ends = np.interp([left, right], x, line[:, 1])
    # Where the line goes on beyond an edge, it ends on the edge.
    head = [[left, ends[0]]] if first > 0 and x[first] > left else []
    tail = [[right, ends[1]]] if last < len(x) and x[last - 1] < right else []
    return np.array([*head, *part.tolist(), *tail])


# --- raster -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowWays:
    """The ways of a layout's rows through `mask`, the page's ink `factor` times as coarse.

    `bars` is where upright bars between columns hide whatever else is there; no part of the mask.
    """

    mask: Bools
    bars: Bools
    ways: tuple[Way, ...]
    factor: int
    px_per_mm: float


def row_ways(page: Page, layout: Layout, ink: Pixels) -> RowWays:
    """Where the rows of `layout` run through `ink`, the upright page without its grid.

    Remembered with the page: the picture of the leads and their signals both start from it.
    """
    # A few of the ink's pixels tell it from what another grid removal left.
    key = ("row ways", layout.boxes, ink.shape, hash(ink[::7, ::13].tobytes()))
    if key not in page.memo:
        scale = ink.shape[1] / page.known_mm[0]
        factor = max(1, round(scale / _FOLLOW_PX_PER_MM))
        height, width = ink.shape[0] // factor, ink.shape[1] // factor
        small = cv2.resize(
            ink[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA
        )
        # Averaging thins a line's ink; a pixel half as dark as the pen still is the line's.
        mask = small < 150
        bars = _bars(mask, layout, scale / factor)
        mask = _without_bars(mask, bars, scale / factor)
        ways = follow_rows(mask, layout.rows, scale / factor)
        page.memo[key] = RowWays(mask, bars, ways, factor, scale / factor)
    found: RowWays = page.memo[key]
    return found


def _from_ink(page: Page, layout: Layout, ink: Pixels) -> tuple[LeadTrace, ...]:
    scale = ink.shape[1] / page.known_mm[0]
    followed = row_ways(page, layout, ink)
    mask, small_scale = followed.mask, followed.px_per_mm
    ways = _to_the_tips(mask, followed.ways, name_boxes(layout.boxes), small_scale)
    owned = _own_ink(mask, ways, layout, small_scale)
    traces = {}
    for row, way, own in zip(layout.rows, ways, owned, strict=True):
        near = cv2.dilate(own.view(np.uint8), np.ones((3, 3), np.uint8))
        seen: Bools = np.any(own, axis=0)
        for lead_box in row:
            traces[id(lead_box)] = _lead_from_ink(
                lead_box, ink, scale, near, small_scale, seen, way
            )
    return tuple(traces[id(b)] for b in layout.boxes)


def _bars(mask: Bools, layout: Layout, px_per_mm: float) -> Bools:
    """Where upright bars stand at which columns begin, and what is grey of them beside them.

    Only there: the spikes of rows close together make bars of their own.
    """
    if not layout.separators:
        return np.zeros(mask.shape, bool)
    edges = {b.box.left_mm for b in layout.boxes} | {b.box.right_mm for b in layout.boxes}
    near = np.zeros(mask.shape[1], bool)
    for x in edges:
        near[max(0, int((x - _BAR_MM) * px_per_mm)) : int((x + _BAR_MM) * px_per_mm) + 1] = True
    grey = (mask & near).astype(np.uint8)
    length = round(LEAST_BAR_MM * px_per_mm)
    bars = cv2.morphologyEx(grey, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    beside = 2 * round(_BESIDE_BAR_MM * px_per_mm) + 1
    wide: Bools = cv2.dilate(bars, np.ones((3, beside), np.uint8)) > 0
    return wide


def _without_bars(mask: Bools, bars: Bools, px_per_mm: float) -> Bools:
    """The ink without bars; what crosses a bar is closed again."""
    if not bars.any():
        return mask
    rest = mask & ~bars
    reach = np.ones((1, 2 * max(2, round(0.5 * px_per_mm)) + 1), np.uint8)
    closed = cv2.morphologyEx(rest.astype(np.uint8), cv2.MORPH_CLOSE, reach) > 0
    result: Bools = rest | (closed & mask)
    return result


def _to_the_tips(
    mask: Bools, ways: Sequence[Way], names: Sequence[Box], px_per_mm: float
) -> list[Way]:
    """The ways grown up and down to the ends of the ink they stand in.

    The cheapest way cuts across a narrow spike before its tip, where both limbs are one ink. A way
    grows no further than half way to the next row's way.
    """
    grown = []
    for way in ways:
        x = np.arange(way.first, way.last)
        top, bottom = upper_ends(mask, way.top, x), lower_ends(mask, way.bottom, x)
        for name in names:
            _spare(way, name, px_per_mm, top, bottom)
        for other in ways:
            if other is not way:
                _stop_at(way, other, top, bottom)
        grown.append(replace(way, entered=top, left=bottom))
    return grown


def _spare(
    way: Way, name: Box, px_per_mm: float, top: NDArray[np.int64], bottom: NDArray[np.int64]
) -> None:
    """Take back growth from a flat part into a lead's printed name: a letter and no spike."""
    x = (np.arange(way.first, way.first + len(top)) + 0.5) / px_per_mm
    around = 2 * round(_FLAT_MM / 2 * px_per_mm) + 1
    rise = maximum_filter1d(way.bottom, around) - minimum_filter1d(way.top, around)
    beside = (x >= name.left_mm) & (x <= name.right_mm) & (rise < _FLAT_MM * px_per_mm)
    for grown, known in ((top, way.top), (bottom, way.bottom)):
        y = (grown + 0.5) / px_per_mm
        letter = beside & (y >= name.top_mm) & (y <= name.bottom_mm)
        grown[letter] = known[letter]


def _stop_at(way: Way, other: Way, top: NDArray[np.int64], bottom: NDArray[np.int64]) -> None:
    """Keep a grown way (`top`, `bottom`, changed in place) from running into another way."""
    first = max(way.first, other.first)
    last = min(way.first + len(way.top), other.first + len(other.top))
    if first >= last:
        return
    mine, theirs = (
        slice(first - way.first, last - way.first),
        slice(first - other.first, last - other.first),
    )
    above = other.bottom[theirs] < way.top[mine]
    below = other.top[theirs] > way.bottom[mine]
    # Where the ink runs on into the other way, two tips touch: each gets its half.
    meets = above & (top[mine] <= other.bottom[theirs] + 1)
    top[mine] = np.where(meets, (way.top[mine] + other.bottom[theirs] + 1) // 2, top[mine])
    meets = below & (bottom[mine] >= other.top[theirs] - 1)
    bottom[mine] = np.where(meets, (way.bottom[mine] + other.top[theirs]) // 2, bottom[mine])


def _own_ink(mask: Bools, ways: Sequence[Way], layout: Layout, px_per_mm: float) -> list[Bools]:
    """For each row the ink that is its own: nearest to its way, and hanging together with it."""
    y, x = np.divmod(np.flatnonzero(mask), mask.shape[1])  # four times as quick as np.nonzero
    distance = np.full((len(ways), len(y)), np.inf, np.float32)
    astray = np.zeros((len(ways), mask.shape[1]), bool)
    for index, way in enumerate(ways):
        astray[index, way.first : way.last] = way.astray
        inside = (x >= way.first) & (x < way.first + len(way.top))
        at = x[inside] - way.first
        above, below = way.top[at] - y[inside], y[inside] - way.bottom[at]
        distance[index, inside] = np.maximum(np.maximum(above, below), 0)
    nearest = distance.min(axis=0)
    keep_out = _in_clear(x, y, layout, px_per_mm) & (nearest > 0.4 * px_per_mm)
    owned = []
    for index in range(len(ways)):
        mine = (distance[index] <= nearest) & np.isfinite(nearest) & ~keep_out
        mine &= ~astray[index, x]
        seeds = distance[index, mine] <= 1
        owned.append(_hanging_together(mask.shape, y[mine], x[mine], seeds))
    return owned


def _in_clear(
    x: NDArray[np.int64], y: NDArray[np.int64], layout: Layout, px_per_mm: float
) -> Bools:
    """Which pixels lie where other print is due: lead names and the layout's clear boxes."""
    inside = np.zeros(len(x), bool)
    for box in (*layout.clear, *name_boxes(layout.boxes)):
        left, right = box.left_mm * px_per_mm, box.right_mm * px_per_mm
        top, bottom = box.top_mm * px_per_mm, box.bottom_mm * px_per_mm
        inside |= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return inside


def _hanging_together(
    shape: tuple[int, ...], y: NDArray[np.int64], x: NDArray[np.int64], seeds: Bools
) -> Bools:
    """Of the pixels (y, x) those that hang together with one of `seeds`, over gaps of two pixels.

    As a mask of the page.
    """
    result = np.zeros(shape, bool)
    if not seeds.any():
        return result
    # Only the part of the page with such pixels is looked at.
    down, across = y - (y.min() - 1), x - (x.min() - 1)
    own = np.zeros((int(down.max()) + 2, int(across.max()) + 2), np.uint8)
    own[down, across] = 1
    bridged = cv2.dilate(own, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(bridged, connectivity=8)
    piece = labels[down, across]
    wanted = np.zeros(count, bool)
    wanted[piece[seeds]] = True
    kept = wanted[piece]
    result[y[kept], x[kept]] = True
    return result


def _lead_from_ink(
    lead_box: LeadBox,
    ink: Pixels,
    scale: float,
    near: Pixels,
    small_scale: float,
    seen: Bools,
    way: Way,
) -> LeadTrace:
    """One lead's own ink, cut from the page at full resolution, and its sampled line.

    `near` is 1 where the row's own ink is, or beside it, `seen` tells the columns that have some.
    """
    box = lead_box.box
    left = max(0, round(box.left_mm * scale))
    right = min(ink.shape[1], round(box.right_mm * scale))
    top = max(0, round((lead_box.baseline_mm - BAND_MM) * scale))
    bottom = min(ink.shape[0], round((lead_box.baseline_mm + BAND_MM) * scale))
    ratio = small_scale / scale
    rows = np.minimum((np.arange(top, bottom) * ratio).astype(int), near.shape[0] - 1)
    columns = np.minimum((np.arange(left, right) * ratio).astype(int), near.shape[1] - 1)
    low, high = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    # White where the ink is not the row's: by columns first, as coarse rows are few.
    paper = np.uint8(255) * (np.take(near[low:high], columns, axis=1) == 0)
    cut = np.maximum(ink[top:bottom, left:right], np.take(paper, rows - low, axis=0))
    ink_box = Box(left / scale, top / scale, right / scale, bottom / scale)
    y_mm = _sampled_way(lead_box, seen, small_scale, way)
    return LeadTrace(lead_box, y_mm, ink=cut, ink_box=ink_box)


def _sampled_way(lead_box: LeadBox, seen: Bools, px_per_mm: float, way: Way) -> Floats:
    """The way's middle, or its far end where it climbs, at each sample; NaN off the ink."""
    x = _samples(lead_box)
    column = np.round(x * px_per_mm - 0.5).astype(int) - way.first
    inside = (column >= 0) & (column < len(way.top))
    at = np.clip(column, 0, max(0, len(way.top) - 1))
    level = lead_box.baseline_mm * px_per_mm
    top, bottom = way.top[at], way.bottom[at]
    far = np.where(np.abs(top - level) > np.abs(bottom - level), top, bottom)
    middle = np.where(bottom - top > 3, far, (top + bottom) / 2)
    page_column = np.clip(at + way.first, 0, len(seen) - 1)
    # A sample counts as seen when the row has ink of its own in that column.
    return np.where(seen[page_column] & inside, (middle + 0.5) / px_per_mm, np.nan)
