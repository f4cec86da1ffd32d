"""Sorts a vector page's traces into lines, and the lines into the layout's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from ecgvision.strokes import sorted_strokes, trace_strokes
from ecgvision.types import Layout, LeadBox, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Points, Stroke

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Boxes whose left edges are this close stand in one column.
SAME_COLUMN_MM = 0.5
# Holes up to this are bridged where there are no samples to count; a wider one is a gap.
BRIDGED_MM = 0.5
# What of a path lies in a lead's window counts from this length on.
LEAST_PART_MM = 0.1
# Columns stand no further apart than this.
_MOST_GAP_MM = 10.0
# An empty column costs as much as a line this far from its baseline: print is short.
_SHORT_COSTS_MM = 20.0
# Levels do not tell who is who where lines shared out another way lie no further from their
# baselines, by this share of the rows' pitch; so many rows show in which order they are drawn.
_DOUBT, _LEAST_TOLD = 0.5, 3


@dataclass(frozen=True, slots=True)
class Line:
    """A path, x rising. Lines of one `chain` were drawn one after the other along one lead."""

    points: Points
    chain: int

    @property
    def left_mm(self) -> float:
        return float(self.points[0, 0])

    @property
    def right_mm(self) -> float:
        return float(self.points[-1, 0])

    def overlap_mm(self, left_mm: float, right_mm: float) -> float:
        return min(self.right_mm, right_mm) - max(self.left_mm, left_mm)


def lines_of(page: Page, layout: Layout) -> list[Line]:
    """The page's traces as lines that never turn back, each with the chain it belongs to."""
    traces = {id(s) for s in trace_strokes(page)}
    pens = {(s.rgb, round(s.width_mm, 2)) for s in trace_strokes(page)}
    windows = sorted({(b.box.left_mm, b.box.right_mm) for b in layout.boxes})
    found: list[tuple[Line, bool]] = []
    chain, before = 0, None
    for stroke in sorted_strokes(page).ink:
        if id(stroke) not in traces and (stroke.rgb, round(stroke.width_mm, 2)) not in pens:
            continue
        for points in _rising(stroke, windows):
            line = Line(points, chain)
            if not any(line.overlap_mm(*window) >= LEAST_PART_MM for window in windows):
                continue
            if before is None or not _goes_on(before, line, windows):
                chain += 1
            before = replace(line, chain=chain)
            found.append((before, id(stroke) in traces))
    # Short strokes are pieces of a lead only together with a long one: else they are print.
    long = {line.chain for line, is_trace in found if is_trace}
    return [line for line, _ in found if line.chain in long]


def _rising(stroke: Stroke, windows: Sequence[tuple[float, float]]) -> Iterator[Points]:
    """The stroke from left to right, cut where it turns back and where it leaps to a next lead."""
    points = stroke.points_mm
    if points[-1, 0] < points[0, 0]:
        points = points[::-1]
    step = np.diff(points[:, 0])
    cuts = step < -LEAST_PART_MM / 2
    # Between columns that stand apart, one path through all leads leaps from one to the next.
    gaps = [(a, b) for _, a in windows for b, _ in windows if BRIDGED_MM / 2 < b - a < _MOST_GAP_MM]
    for leap in np.flatnonzero(step > BRIDGED_MM / 2):
        x0, x1 = points[leap : leap + 2, 0]
        cuts[leap] |= any(
            abs(x0 - a) < SAME_COLUMN_MM and abs(x1 - b) < SAME_COLUMN_MM for a, b in gaps
        )
    for run in np.split(points, np.flatnonzero(cuts) + 1):
        if len(run) > 1:
            # What little a line goes back is rounding.
            yield np.column_stack([np.maximum.accumulate(run[:, 0]), run[:, 1]])


def between(points: Points, lefts: Sequence[float]) -> list[Points]:
    """What lies between the beginnings of columns, without the points next to those."""
    x = points[:, 0]
    edges = [-np.inf, *lefts, np.inf]
    return [
        points[(x > left + LEAST_PART_MM) & (x < right - LEAST_PART_MM)]
        for left, right in pairwise(edges)
    ]


def _goes_on(before: Line, line: Line, windows: Sequence[tuple[float, float]]) -> bool:
    """Whether a line was drawn after another one along the same lead."""
    if line.left_mm < before.right_mm - LEAST_PART_MM:
        return False
    narrow = [(a - LEAST_PART_MM, b + LEAST_PART_MM) for a, b in windows]
    shared = [(a, b) for a, b in narrow if a <= before.left_mm <= b and a <= line.right_mm <= b]
    columns = {a for a, _ in windows}
    # A rhythm strip's window holds all columns: a line must not begin another one of them.
    begins = any(abs(line.left_mm - left) < LEAST_PART_MM for left in columns)
    return bool(shared) and not begins


def by_row(lines: Sequence[Line], layout: Layout) -> dict[int, list[Line]]:
    """The lines of the row of each box, by the box's id.

    In each column the chains that fill it share out its rows so that all together lie nearest to
    their baselines: a wandering lead does not take its neighbour's row. Where levels hardly tell
    two of them apart, and the page's rows are drawn in order, that order does. A line that runs
    through several columns goes where most of it was put; what is left goes to the nearest row.
    """
    rows = layout.rows
    baselines = np.array([row[0].baseline_mm for row in rows])
    pitch = float(np.min(np.diff(baselines))) if len(rows) > 1 else np.inf
    chains = sorted({line.chain for line in lines})
    members = {c: [line for line in lines if line.chain == c] for c in chains}
    level = {
        c: float(np.median(np.concatenate([line.points[:, 1] for line in members[c]])))
        for c in chains
    }
    votes = np.zeros((len(chains), len(rows)))
    shared_out = []
    for left, right in _spans(layout):
        here = [r for r, row in enumerate(rows) if any(_holds(b, left, right) for b in row)]
        filling = [sum(max(0.0, m.overlap_mm(left, right)) for m in members[c]) for c in chains]
        share = np.array(filling) / (right - left)
        some = np.flatnonzero(share > 0.05)
        if not len(some) or not here:
            continue
        off = np.abs(np.array([level[chains[i]] for i in some])[:, None] - baselines[here])
        cost = off + _SHORT_COSTS_MM * (1 - np.minimum(share[some], 1.0))[:, None]
        # Where there are more chains than rows, the cheap ones are taken.
        shared_out.append((cost, *linear_sum_assignment(cost), some, here, filling))
    by_order = _drawn_in_order([column[:3] for column in shared_out], _DOUBT * pitch)
    for _, i, r, some, here, filling in shared_out:
        for chain, row in zip(i, np.sort(r) if by_order else r, strict=True):
            votes[some[chain], here[row]] += filling[some[chain]]
    owned: list[list[Line]] = [[] for _ in rows]
    for i, c in enumerate(chains):
        row = int(np.argmax(votes[i])) if votes[i].any() else _nearest(level[c], baselines)
        if abs(level[c] - baselines[row]) <= 1.5 * pitch:
            owned[row].extend(members[c])
    return {id(b): owned[r] for r, row in enumerate(rows) for b in row}


def _drawn_in_order(columns: Sequence[tuple[Floats, Ints, Ints]], doubt_mm: float) -> bool:
    """Whether the rows of every column may have been drawn from the top down, and one's surely.

    Of each column it takes what every chain, in the order of drawing, costs in every row, and which
    chains were put into which rows. A column in the order of drawing costs no more than that by
    levels, or hardly: levels do not tell who is who of lines that lie off their rows.
    """
    dearer_mm = [(cost[i, np.sort(r)] - cost[i, r]).sum() for cost, i, r in columns]
    known = any(len(r) >= _LEAST_TOLD and bool((np.diff(r) > 0).all()) for _, _, r in columns)
    return known and max(dearer_mm) <= doubt_mm


def _nearest(level_mm: float, baselines: Floats) -> int:
    return int(np.argmin(np.abs(baselines - level_mm)))


def _spans(layout: Layout) -> list[tuple[float, float]]:
    """The windows of the columns, narrowest kind only: those of rhythm strips hold several."""
    spans = sorted({(b.box.left_mm, b.box.right_mm) for b in layout.boxes if not b.rhythm_strip})
    distinct: list[tuple[float, float]] = []
    for span in spans or sorted({(b.box.left_mm, b.box.right_mm) for b in layout.boxes}):
        if not distinct or span[0] - distinct[-1][0] > SAME_COLUMN_MM:
            distinct.append(span)
    return distinct


def _holds(lead_box: LeadBox, left_mm: float, right_mm: float) -> bool:
    middle = (left_mm + right_mm) / 2
    return lead_box.box.left_mm < middle < lead_box.box.right_mm
