"""A calibration pulse in the ink of a page of pixels, measured finer than a pixel.

Two upright edges with a level line between their tops and a short foot beside either. The levels
are the middles of the line's darkness in each column away from the edges, the median over columns:
noise, blur and JPEG move a median of middles by some hundredths of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.runs import true_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]

# Ink at least this dark (0 to 255) is the pen's.
_DARK = 100
_LEAST_HEIGHT_MM, _MOST_HEIGHT_MM = 2.2, 42.0
_LEAST_TOP_MM, _MOST_TOP_MM = 1.2, 13.0
# Edges of one pulse begin and end at the same height, to this much.
_UNEVEN_MM = 0.6
# A level line is at most this thick, and its middles lie within this of each other.
_THICK_MM, _ROUGH_MM = 1.2, 0.12
# A foot is looked for so far from its edge, and lies on one level this closely.
_FOOT_MM, _FOOT_ROUGH_MM = 3.0, 0.15
# Both feet stand on 0 mV; where a lead is joined to the right one it may run off.
_FEET_APART_MM = 0.12
# This far from an edge's middle its blur is gone: half a pen and a little, in mm and in pixels.
_EDGE_MM, _EDGE_PX = 0.25, 1.5
_SHARE = 0.7
# What an edge's blur leaves above the foot beside it, of 255.
_SKIRT = 15.0


@dataclass(frozen=True, slots=True)
class InkPulse:
    """A pulse in mm: the ends of its feet, its height, the level of its feet (middle of the line).

    `rise_mm` and `fall_mm` are its edges. Where a lead is joined to it, the right foot goes on.
    """

    left_mm: float
    rise_mm: float
    fall_mm: float
    right_mm: float
    height_mm: float
    foot_mm: float


@dataclass(frozen=True, slots=True)
class _Foot:
    """A pulse's feet in pixels of the window: their level, first and last column."""

    level: float
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class _Edge:
    """An upright edge in pixels of the window."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2


def ink_pulse_in(
    ink: Pixels,
    px_per_mm: float,
    *,
    window_mm: tuple[float, float],
    baseline_mm: float,
    reach_mm: float,
) -> InkPulse | None:
    """The pulse within a window across whose foot is near a baseline; None where there is none.

    `ink` is (H, W) ``uint8``, 0 ink and 255 paper; `reach_mm` is how far from the baseline the
    foot may be.
    """
    left = max(0, round(window_mm[0] * px_per_mm))
    right = min(ink.shape[1], round(window_mm[1] * px_per_mm))
    top = max(0, round((baseline_mm - _MOST_HEIGHT_MM - reach_mm) * px_per_mm))
    bottom = min(ink.shape[0], round((baseline_mm + reach_mm + 1.0) * px_per_mm))
    if right - left < _LEAST_TOP_MM * px_per_mm or bottom - top < _LEAST_HEIGHT_MM * px_per_mm:
        return None
    dark = 255.0 - ink[top:bottom, left:right].astype(np.float64)
    found = []
    edges = _edges(dark, px_per_mm)
    for index, first in enumerate(edges):
        for second in edges[index + 1 :]:
            pulse = _pulse_between(dark, first, second, px_per_mm)
            if pulse is not None:
                high, foot = pulse
                level = (foot.level + top) / px_per_mm
                if abs(level - baseline_mm) <= reach_mm:
                    across = (foot.left, first.x + 0.5, second.x + 0.5, foot.right + 1)
                    begin, rise, fall, end = ((x + left) / px_per_mm for x in across)
                    height = (foot.level - high) / px_per_mm
                    found.append(InkPulse(begin, rise, fall, end, height, level))
    return min(found, key=lambda pulse: abs(pulse.foot_mm - baseline_mm), default=None)


def _edges(dark: Floats, px_per_mm: float) -> list[_Edge]:
    """Runs of ink that stand upright, columns that touch put together."""
    edges: list[_Edge] = []
    step = np.diff((dark.T >= _DARK).astype(np.int8), prepend=0, append=0)
    (columns, starts), (_, stops) = np.nonzero(step == 1), np.nonzero(step == -1)
    high = stops - starts >= _LEAST_HEIGHT_MM * px_per_mm
    runs = (ends[high].tolist() for ends in (columns, starts, stops))
    for x, start, stop in zip(*runs, strict=True):
        last = next((e for e in edges if e.right >= x - 1 and _alike(e, start, stop)), None)
        if last is None:
            edges.append(_Edge(x, x, start, stop))
        else:
            edges[edges.index(last)] = _Edge(
                last.left, x, min(last.top, start), max(last.bottom, stop)
            )
    return [e for e in edges if e.right - e.left + 1 <= _THICK_MM * px_per_mm]


def _alike(edge: _Edge, start: int, stop: int) -> bool:
    """Whether a run overlaps an edge by more than half of the shorter one."""
    both = min(edge.bottom, stop) - max(edge.top, start)
    return both > 0.5 * min(edge.bottom - edge.top, stop - start)


def _pulse_between(
    dark: Floats, first: _Edge, second: _Edge, px_per_mm: float
) -> tuple[float, _Foot] | None:
    """(level of the top, foot) of the pulse between two edges in pixels, None where it is none."""
    width = second.x - first.x
    uneven = max(abs(first.top - second.top), abs(first.bottom - second.bottom))
    if not _LEAST_TOP_MM * px_per_mm <= width <= _MOST_TOP_MM * px_per_mm:
        return None
    if uneven > max(2, _UNEVEN_MM * px_per_mm):
        return None
    clear = max(_EDGE_MM * px_per_mm, _EDGE_PX) + 0.5
    columns = range(int(np.ceil(first.right + clear)), int(second.left - clear) + 1)
    level = min(first.top, second.top)
    top = _middles(dark, columns, level, px_per_mm)
    seen = np.isfinite(top)
    if len(columns) < 3 or seen.mean() < _SHARE:
        return None
    if np.percentile(np.abs(top[seen] - np.median(top[seen])), 80) > _ROUGH_MM * px_per_mm:
        return None
    # Between the top and the feet there is paper: a letter or a complex has ink there.
    half = slice(round(level + 0.4 * (first.bottom - level)), round(first.bottom - 1))
    inside = dark[half, columns.start : columns.stop]
    if (inside >= _DARK).any(axis=0).mean() > 1 - _SHARE:
        return None
    foot = _feet(dark, first, second, px_per_mm)
    return None if foot is None else (float(np.median(top[seen])), foot)


def _feet(dark: Floats, first: _Edge, second: _Edge, px_per_mm: float) -> _Foot | None:
    """Both feet as one; the level is that of the left one where they differ."""
    reach = round(_FOOT_MM * px_per_mm)
    left = _foot_beside(dark, range(first.left - 1, first.left - reach, -1), first, px_per_mm)
    right = _foot_beside(dark, range(second.right + 1, second.right + reach), second, px_per_mm)
    if left is None or right is None:
        one = left or right
        return one and _Foot(
            one.level, left.left if left else first.left, right.right if right else second.right
        )
    near = abs(left.level - right.level) <= _FEET_APART_MM * px_per_mm
    level = (left.level + right.level) / 2 if near else left.level
    return _Foot(level, left.left, right.right)


def _foot_beside(dark: Floats, columns: range, edge: _Edge, px_per_mm: float) -> _Foot | None:
    """The line that leaves an edge's lower end; `columns` go away from the edge."""
    inside = [x for x in columns if 0 <= x < dark.shape[1]]
    thick = _THICK_MM * px_per_mm
    middles = _middles(dark, inside, round(edge.bottom - 0.3 * px_per_mm), px_per_mm)
    # The edge's own blur reaches over the first columns: they are dark above the foot too.
    above = round(edge.bottom - thick)
    beside = np.array([float(dark[max(0, above - 3) : above, x].mean()) for x in inside])
    seen = np.isfinite(middles)
    begins = int(np.argmax(seen)) if seen.any() else len(seen)
    if begins > _EDGE_PX + 1:
        return None
    gaps = np.flatnonzero(~seen[begins:])
    end = begins + int(gaps[0]) if len(gaps) else len(seen)
    # A foot's last column is only partly inked.
    usable = slice(begins, end - 1 if len(gaps) else end)
    values = middles[usable][beside[usable] < _SKIRT]
    if len(values) == 0:
        return None
    start = float(np.median(values[: max(2, round(0.4 * px_per_mm))]))
    level = values[np.abs(values - start) <= _FOOT_ROUGH_MM * px_per_mm]
    outer = inside[end - 1]
    return _Foot(float(np.median(level)), min(edge.left, outer), max(edge.right, outer))


def _middles(dark: Floats, columns: Sequence[int], level: int, px_per_mm: float) -> Floats:
    """For each column the middle of the thin line at `level`, by its darkness; NaN without one."""
    reach = max(2, round(0.5 * px_per_mm))
    found = np.full(len(columns), np.nan)
    for index, x in enumerate(columns):
        column = dark[:, x]
        runs = true_runs(column >= _DARK)
        near = [r for r in runs if r[0] <= level + reach and r[1] >= level - reach]
        if len(near) != 1 or near[0][1] - near[0][0] > _THICK_MM * px_per_mm:
            continue
        start, stop = max(0, near[0][0] - 2), min(len(column), near[0][1] + 2)
        weight = column[start:stop]
        found[index] = float((weight * (np.arange(start, stop) + 0.5)).sum() / weight.sum())
    return found
