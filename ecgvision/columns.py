"""Measures where the columns of a recognised layout begin on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.strokes import trace_strokes
from ecgvision.types import Layout, LeadBox

if TYPE_CHECKING:
    from ecgvision.evidence import Evidence

# A column begins no further than this from where its layout, moved to the page, has it.
_REACH_MM = 3.2
_LEAST_STROKE_MM = 20.0
# Gaps between columns are wider than a break in a bad print and narrower than half a large box.
_LEAST_GAP_MM, _MOST_GAP_MM = 0.35, 6.5
# Ink begins half a pen before its line does.
_HALF_PEN_MM = 0.15


@dataclass(frozen=True, slots=True)
class Columns:
    """A layout with its columns where they were measured.

    `stray_mm` is how far single columns were from where the layout has them to each other;
    `unseen` counts columns whose beginning was not seen though that of others was.
    """

    layout: Layout
    stray_mm: float
    unseen: int


def measured_columns(evidence: Evidence, layout: Layout) -> Columns:
    """The layout with its columns moved to where strokes begin or gaps common to all rows end.

    A layout whose columns show neither (traces that run on from column to column) stays as it is.
    """
    lefts = sorted({round(b.box.left_mm, 1) for b in layout.twelve})
    if evidence.page.origin == "vector":
        moved = {id(b): _stroke_shift(evidence, layout, b) for b in layout.boxes}
    else:
        moved = _gap_shifts(evidence, layout)
        lefts = lefts[1:]
    known = [(b.box.left_mm, s) for b in layout.boxes if (s := moved.get(id(b))) is not None]
    if not known:
        return Columns(layout, 0.0, 0)
    usual = _shift_of_first(layout, known)
    shifts = [moved.get(id(b)) for b in layout.boxes]
    placed = tuple(
        b.shifted(usual if shift is None else shift, 0.0)
        for b, shift in zip(layout.boxes, shifts, strict=True)
    )
    seen = {round(left, 1) for left, _ in known}
    strays = [abs(shift - usual) for _, shift in known]
    unseen = [left for left in lefts if left not in seen and not _run_through(evidence, left)]
    return Columns(replace(layout, boxes=placed), max(strays), len(unseen))


def _run_through(evidence: Evidence, left_mm: float) -> bool:
    """Whether strokes of a vector page run on from the column before: there is no beginning."""
    if evidence.page.origin != "vector":
        return False
    ends = [np.sort(stroke.points_mm[[0, -1], 0]) for stroke in trace_strokes(evidence.page)]
    through = [x for x in ends if x[0] < left_mm - _REACH_MM and x[1] > left_mm + _REACH_MM]
    return len(through) >= 2


def _shift_of_first(layout: Layout, known: Sequence[tuple[float, float]]) -> float:
    """The shift of what has none of its own, such as the first column.

    The others' shifts lie on a line where the columns' pitch is not the layout's.
    """
    lefts, shifts = np.array(known).T
    if len(np.unique(np.round(lefts, 1))) < 3:
        return float(np.median(shifts))
    slope, start = np.polyfit(lefts, shifts, 1)
    return float(start + slope * min(b.box.left_mm for b in layout.boxes))


def _stroke_shift(evidence: Evidence, layout: Layout, lead_box: LeadBox) -> float | None:
    """How far from the box's left edge the strokes of its column begin, by the column's median."""
    column = [
        b
        for b in layout.boxes
        if abs(b.box.left_mm - lead_box.box.left_mm) < 0.5
        and b.rhythm_strip == lead_box.rhythm_strip
    ]
    shifts = []
    for stroke in trace_strokes(evidence.page):
        x = stroke.points_mm[:, 0]
        level, left = float(np.median(stroke.points_mm[:, 1])), float(x.min())
        if float(x.max()) - left < _LEAST_STROKE_MM:
            continue
        for b in column:
            near = abs(level - b.baseline_mm) < b.box.height_mm / 2
            if near and abs(left - b.box.left_mm) <= _REACH_MM:
                shifts.append(left - b.box.left_mm)
    return float(np.median(shifts)) if len(shifts) >= (len(column) + 1) // 2 else None


def _gap_shifts(evidence: Evidence, layout: Layout) -> dict[int, float | None]:
    """How far each column but the first is moved, by the gaps that all rows have before it."""
    scale, mask = evidence.mask_px_per_mm, evidence.mask
    columns: dict[float, list[LeadBox]] = {}
    for b in layout.twelve:
        columns.setdefault(round(b.box.left_mm, 2), []).append(b)
    inked = np.zeros(mask.shape[1], bool)
    for row in layout.rows:
        if any(b.rhythm_strip for b in row):
            continue
        half = min(row[0].box.height_mm / 2, 10.0)
        top = max(0, round((row[0].baseline_mm - half) * scale))
        bottom = max(top + 1, round((row[0].baseline_mm + half) * scale))
        inked |= mask[top:bottom].any(axis=0)
    shifts: dict[int, float | None] = {}
    for left in sorted(columns)[1:]:
        end = _gap_end(inked, left, scale)
        for b in columns[left]:
            shifts[id(b)] = None if end is None else end - left
    return shifts


def _gap_end(
    inked: np.ndarray[tuple[int], np.dtype[np.bool_]], x_mm: float, scale: float
) -> float | None:
    """Where the widest gap that ends near `x_mm` ends, in mm."""
    first = max(0, round((x_mm - _REACH_MM - _MOST_GAP_MM) * scale))
    last = min(len(inked), round((x_mm + _REACH_MM) * scale))
    step = np.diff((~inked[first:last]).astype(np.int8), prepend=0, append=0)
    starts, ends = np.nonzero(step == 1)[0], np.nonzero(step == -1)[0]
    wide = (ends - starts) / scale
    ends_mm = (ends + first) / scale + _HALF_PEN_MM
    fits = (wide >= _LEAST_GAP_MM) & (wide <= _MOST_GAP_MM) & (np.abs(ends_mm - x_mm) <= _REACH_MM)
    if not fits.any():
        return None
    return float(ends_mm[fits][np.argmax(wide[fits])])
