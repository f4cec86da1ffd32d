"""Reads the leads' curves off a vector page: which path belongs to which lead, and since when.

Time is read off the paths, as a box's place is only measured to 0.2 mm: a path that begins with
its lead begins with the lead's first sample, and where a path runs through all leads of a row each
lead begins so many samples after the one before as its column comes later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.recording import LeadCurve
from ecgvision.signals.lattice import Run, Sampling, find_sampling, fitted_start, sampled
from ecgvision.trace_lines import (
    BRIDGED_MM,
    LEAST_PART_MM,
    SAME_COLUMN_MM,
    Line,
    between,
    by_row,
    lines_of,
)
from ecgvision.types import Layout, LeadBox, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Points

    Floats = NDArray[np.float64]

# A column's strokes begin no further than this from its box's left edge.
_REACH_MM = 1.5
# Holes up to this are bridged; a wider one is a gap in the lead (`BRIDGED_MM` without samples).
_BRIDGED_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Column:
    """Boxes that begin together: `zero_mm` is the x of their first sample as printed.

    `own_starts` tells whether paths were seen to begin there. `late_mm` is how far after the
    boxes' `start_s` that sample was taken, where all columns show one clock's samples.
    """

    boxes: tuple[LeadBox, ...]
    zero_mm: float
    own_starts: bool
    late_mm: float = 0.0

    @property
    def left_mm(self) -> float:
        return self.boxes[0].box.left_mm


def vector_curves(page: Page, layout: Layout) -> tuple[LeadCurve, ...]:
    """The curve of each of `layout.boxes`, in their order, from an upright vector page's strokes.

    `layout` is the layout as measured on `page` (`Match.layout`). `x_mm` is moved along the page
    so that a lead's first sample stands at the left edge of its box, whatever the box's error:
    sample time = (x_mm - box.left_mm) / speed + start_s. A lead that begins late keeps its hole.
    Where the machine's samples were found (`sample_mm`), `x_mm` are their places through the
    whole box, the first one that of the first sample at or after `start_s` on the page's one
    clock; else they are the points' own. `y_mm` is mm of the page, NaN in gaps: nothing is made
    up over holes of more than 3 samples (0.5 mm where there are no samples).

    `confidence` is the share of the box that was read. `reason` is "no-line" where nothing was
    found, "partly-missing" where more than 0.5 mm of the box is empty.

    Raises `ValueError` for a page without strokes of its own.
    """
    if page.origin != "vector":
        raise ValueError(f"{page.source.name}: expected a vector page, found {page.origin}")
    lines = lines_of(page, layout)
    # Where paths of two columns meet, their samples need not be a step apart.
    lefts = sorted({b.box.left_mm for b in layout.boxes})
    paths = [p for line in lines for p in between(line.points, lefts)]
    sampling = find_sampling(paths, layout.speed_mm_per_s)
    rows = by_row(lines, layout)
    columns = _columns(layout, rows, sampling)
    curves = {}
    for column in columns:
        for lead_box in column.boxes:
            lines_of_row = rows[id(lead_box)]
            parts = [part for line in lines_of_row if (part := _part(line, lead_box, column))]
            curves[id(lead_box)] = (
                _on_points(lead_box, parts, column)
                if sampling is None
                else _on_samples(lead_box, parts, column, sampling)
            )
    return tuple(curves[id(lead_box)] for lead_box in layout.boxes)


# --- where time begins --------------------------------------------------------------------------


def _columns(
    layout: Layout, rows: dict[int, list[Line]], sampling: Sampling | None
) -> list[_Column]:
    """The columns from left to right with the x of their first samples."""
    groups: list[list[LeadBox]] = []
    for lead_box in sorted(layout.boxes, key=lambda b: b.box.left_mm):
        if groups and lead_box.box.left_mm - groups[-1][0].box.left_mm < SAME_COLUMN_MM:
            groups[-1].append(lead_box)
        else:
            groups.append([lead_box])
    seen = [_common_start(group, rows) for group in groups]
    offsets = [x - g[0].box.left_mm for g, (x, n) in zip(groups, seen, strict=True) if n > 1]
    usual = float(np.median(offsets)) if offsets else None
    columns: list[_Column] = []
    for group, (start, count) in zip(groups, seen, strict=True):
        left = group[0].box.left_mm
        own, reach = count > 0, None
        if count == 1 and usual is not None and abs(start - left - usual) > SAME_COLUMN_MM / 2:
            start = left + usual  # this one lead begins late: the others say where it should
        elif not own:
            start, reach = _after(columns[:1], group[0], layout, sampling)
        column = _fitted(_Column(tuple(group), start, own), rows, sampling, reach)
        columns.append(_on_clock(column, columns[:1], layout, sampling))
    return columns


def _on_clock(
    column: _Column, first: Sequence[_Column], layout: Layout, sampling: Sampling | None
) -> _Column:
    """The column with `late_mm`, if it stands as many samples after the first as time has it."""
    if sampling is None or not first:
        return column
    rate = sampling.rate_hz(layout.speed_mm_per_s)
    lead_box, before = column.boxes[0], first[0].boxes[0]
    samples = _first_sample(lead_box, rate) - _first_sample(before, rate)
    off = column.zero_mm - first[0].zero_mm - samples * sampling.step_mm
    if abs(off) > 0.2 * sampling.step_mm + sampling.rounding_mm:
        return column
    late_s = _first_sample(lead_box, rate) / rate - lead_box.start_s
    return replace(column, late_mm=late_s * layout.speed_mm_per_s)


def _common_start(boxes: Sequence[LeadBox], rows: dict[int, list[Line]]) -> tuple[float, int]:
    """The x at which most leads of a column begin, the first such, and how many do."""
    left = boxes[0].box.left_mm
    starts = []
    for lead_box in boxes:
        near = [
            line.left_mm
            for line in rows[id(lead_box)]
            if abs(line.left_mm - left) <= _REACH_MM
            and line.overlap_mm(left, lead_box.box.right_mm) > _REACH_MM
        ]
        through = any(
            line.left_mm < left - _REACH_MM and line.right_mm > left + _REACH_MM
            for line in rows[id(lead_box)]
        )
        if near and not through:
            starts.append(min(near))
    if not starts:
        return left, 0
    every = np.sort(np.array(starts))
    counts = (np.abs(every[:, None] - every) < 0.02).sum(axis=1)
    best = int(np.argmax(counts))
    return float(every[best]), int(counts[best])


def _after(
    first: Sequence[_Column], lead_box: LeadBox, layout: Layout, sampling: Sampling | None
) -> tuple[float, float | None]:
    """Where a lead begins whose path comes from the column before, and how sure that is in mm.

    It is as many samples after the first column as time has it; columns that are set apart by
    more than that go by their boxes.
    """
    if not first:
        return lead_box.box.left_mm, None
    before = first[0].boxes[0]
    nominal = lead_box.box.left_mm - before.box.left_mm
    if sampling is None:
        return first[0].zero_mm + nominal, None
    rate = sampling.rate_hz(layout.speed_mm_per_s)
    samples = _first_sample(lead_box, rate) - _first_sample(before, rate)
    later = samples * sampling.step_mm
    apart = abs(later - nominal)
    if apart > SAME_COLUMN_MM:
        return first[0].zero_mm + nominal, None
    sure = 0.1 * sampling.step_mm
    if apart > 0.6 * sampling.step_mm:
        return first[0].zero_mm + later, sure
    return first[0].zero_mm + (later + nominal) / 2, apart / 2 + sure


def _first_sample(lead_box: LeadBox, rate_hz: float) -> int:
    """The number of the first sample at or after the box's start."""
    return math.ceil(lead_box.start_s * rate_hz - 1e-3)


def _fitted(
    column: _Column,
    rows: dict[int, list[Line]],
    sampling: Sampling | None,
    reach_mm: float | None,
) -> _Column:
    """The column with its zero freed of the rounding of x."""
    if sampling is None:
        return column
    runs: list[Run] = []
    for lead_box in column.boxes:
        count = _count(lead_box, column, sampling)
        parts = (_part(line, lead_box, column) for line in rows[id(lead_box)])
        runs += [_run(p, column, sampling, count) for p in parts if p and len(p.points) > 5]
    return replace(column, zero_mm=fitted_start(runs, column.zero_mm, sampling, reach_mm))


def _run(part: Line, column: _Column, sampling: Sampling, count: int) -> Run:
    """A part with what is known of its first and last sample: a path's ends are a lead's."""
    slack = 0.6 * max(sampling.step_mm, sampling.rounding_mm)
    begins = abs(part.left_mm - column.zero_mm) <= slack
    end = column.zero_mm + (count - 1) * sampling.step_mm
    ends = abs(part.right_mm - end) <= slack
    return Run(part.points, 0 if begins else None, count - 1 if ends else None)


def _count(lead_box: LeadBox, column: _Column, sampling: Sampling) -> int:
    """How many samples the lead's window holds."""
    width = lead_box.box.width_mm - column.late_mm
    return max(1, math.ceil(width / sampling.step_mm - 0.02))


# --- from lines to curves -----------------------------------------------------------------------


def _part(line: Line, lead_box: LeadBox, column: _Column) -> Line | None:
    """What of a line lies in the lead's window, and a little more at either end; None without.

    The end of a path that belongs to the neighbouring lead is not this lead's.
    """
    left = column.zero_mm
    right = left + lead_box.box.width_mm
    within = line.overlap_mm(left, right)
    if within < LEAST_PART_MM:
        return None
    beyond = max(left - line.left_mm, line.right_mm - right)
    if within < _REACH_MM and beyond > within and column.own_starts:
        return None
    x = line.points[:, 0]
    first = max(0, int(np.searchsorted(x, left - LEAST_PART_MM)) - 1)
    last = int(np.searchsorted(x, right + LEAST_PART_MM, "right")) + 1
    points = line.points[first:last]
    return Line(points, line.chain) if len(points) > 1 else None


def _on_samples(
    lead_box: LeadBox, parts: Sequence[Line], column: _Column, sampling: Sampling
) -> LeadCurve:
    """The lead at every sample of its window."""
    step, count = sampling.step_mm, _count(lead_box, column, sampling)
    y = np.full(count, np.nan)
    for part in sorted(parts, key=lambda p: p.left_mm - p.right_mm):
        run_of_part = _run(part, column, sampling, count)
        first, run = sampled(run_of_part, column.zero_mm, sampling)
        low, high = max(first, 0), min(first + len(run), count)
        if low < high:
            free = np.isnan(y[low:high])
            y[low:high][free] = run[low - first : high - first][free]
    y = _bridged(y)
    read = float(np.isfinite(y).mean())
    missing_mm = float(np.isnan(y).sum() * step)
    x: Floats = lead_box.box.left_mm + column.late_mm + step * np.arange(count, dtype=np.float64)
    return _curve(lead_box, x, y, read, missing_mm, step)


def _bridged(y: Floats) -> Floats:
    """Holes of up to three samples inside the lead are closed by a straight line."""
    known = np.flatnonzero(np.isfinite(y))
    for before in np.flatnonzero((np.diff(known) > 1) & (np.diff(known) <= _BRIDGED_SAMPLES + 1)):
        a, b = known[before], known[before + 1]
        y[a : b + 1] = np.linspace(y[a], y[b], b - a + 1)
    return y


def _on_points(lead_box: LeadBox, parts: Sequence[Line], column: _Column) -> LeadCurve:
    """The lead at the points of its own paths, with a NaN in each gap."""
    box = lead_box.box
    shift = box.left_mm - column.zero_mm
    x: list[Floats] = []
    y: list[Floats] = []
    end = -np.inf
    read = 0.0
    for part in sorted(parts, key=lambda p: p.left_mm):
        points = _cut(part.points + np.array([shift, 0.0]), max(box.left_mm, end), box.right_mm)
        if len(points) < 2:
            continue
        if points[0, 0] - end > BRIDGED_MM and x:
            x.append(np.array([(end + points[0, 0]) / 2]))
            y.append(np.array([np.nan]))
        end = float(points[-1, 0])
        read += end - float(points[0, 0])
        x.append(points[:, 0])
        y.append(points[:, 1])
    none = np.empty(0)
    return _curve(
        lead_box,
        np.concatenate(x) if x else none,
        np.concatenate(y) if y else none,
        min(1.0, read / box.width_mm),
        max(0.0, box.width_mm - read),
        None,
    )


def _cut(points: Points, left_mm: float, right_mm: float) -> Points:
    """The line between two places, with its ends there where it goes on beyond them."""
    x = points[:, 0]
    left, right = max(left_mm, float(x[0])), min(right_mm, float(x[-1]))
    if left >= right:
        return points[:0]
    inside = points[(x > left) & (x < right)]
    ends = np.interp([left, right], x, points[:, 1])
    return np.vstack([[left, ends[0]], inside, [right, ends[1]]])


def _curve(
    lead_box: LeadBox, x: Floats, y: Floats, read: float, missing_mm: float, step: float | None
) -> LeadCurve:
    if not np.isfinite(y).any():
        return LeadCurve(lead_box, x, y, "vector", 0.0, "no-line", step)
    partly = missing_mm > BRIDGED_MM
    confidence = read if partly else 1.0
    reason = "partly-missing" if partly else None
    return LeadCurve(lead_box, x, y, "vector", confidence, reason, step)
