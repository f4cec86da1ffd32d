"""Whether the columns of the page tell how long a second is, better than its grid does.

Some machines draw grid and millivolts with other millimetres than their seconds: on EDAN SE-3
pages both are 0.9 % larger than the columns, which are 2.5 s or 5 s to the pixel.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.strokes import trace_strokes
from ecgvision.types import Layout, LeadBox, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]
    Marks = list[tuple[float, float]]

# A column begins no further than this from where the layout has it; a bar, than this.
_STROKE_MM, _BAR_MM = 3.2, 2.5
_LEAST_STROKE_MM = 20.0
# Without a gap: a stroke ends no further than this before the next column begins.
_MOST_GAP_MM = 0.8
# All marks must lie this close to one straight line, and reach over so much paper.
_STRAY_MM, _LEAST_SPAN_MM = 0.2, 60.0
# Within this of the declaration they confirm the page's own millimetres; bars may show others.
_SURE, _MOST_OFF = 0.003, 0.08


def columns_scale(page: Page, layout: Layout, ink: Pixels) -> float | None:
    """Millimetres of the page per millimetre of the time axis, by where columns begin and end.

    None where the columns do not tell: gaps between them, traces that run through, marks that are
    not on one line. Within 0.3 % of the declaration they confirm it: that is 1. More than that is
    believed only of upright bars, which can be nothing else than ends of columns.
    """
    bars = False
    if page.origin == "vector":
        marks = _stroke_marks(page, layout)
    else:
        marks = _bar_marks(ink, ink.shape[1] / page.known_mm[0], layout)
        bars = True
    if len(marks) < 2:
        return None
    due, seen = np.array(marks).T
    if np.ptp(due) < _LEAST_SPAN_MM:
        return None
    slope, start = np.polyfit(due, seen, 1)
    if np.abs(seen - start - slope * due).max() > _STRAY_MM:
        return None
    if abs(slope - 1) <= _SURE:
        return 1.0
    return float(slope) if bars and len(marks) >= 3 and abs(slope - 1) <= _MOST_OFF else None


def _due_mm(lead_box: LeadBox, layout: Layout) -> float:
    return lead_box.start_s * layout.speed_mm_per_s


def _stroke_marks(page: Page, layout: Layout) -> Marks:
    """(due, seen) of each column's beginning, if the columns follow each other without a gap."""
    starts: dict[float, list[float]] = {}
    ends: dict[float, list[float]] = {}
    lines = [s.points_mm for s in trace_strokes(page)]
    spans = [(float(p[:, 0].min()), float(p[:, 0].max()), float(np.median(p[:, 1]))) for p in lines]
    for b in layout.twelve:
        for left, right, level in spans:
            near = abs(level - b.baseline_mm) < b.box.height_mm / 2
            whole = _LEAST_STROKE_MM < right - left < b.box.width_mm + _STROKE_MM
            if near and whole and abs(left - b.box.left_mm) <= _STROKE_MM:
                due = round(_due_mm(b, layout), 3)
                starts.setdefault(due, []).append(left)
                ends.setdefault(due, []).append(right)
    order = sorted(starts)
    for before, after in pairwise(order):
        if np.median(starts[after]) - np.median(ends[before]) > _MOST_GAP_MM:
            return []
    return [(due, float(np.median(starts[due]))) for due in order]


def _bar_marks(ink: Pixels, px_per_mm: float, layout: Layout) -> Marks:
    """(due, seen) of the upright bars between columns, and of the rows' ends."""
    if not layout.separators:
        return []
    boxes = layout.twelve
    top = min(b.baseline_mm for b in boxes)
    bottom = max(b.baseline_mm for b in boxes)
    band = ink[round(top * px_per_mm) : round(bottom * px_per_mm)]
    marks: Marks = []
    firsts = {round(_due_mm(b, layout), 3): b for b in boxes}
    for due in sorted(firsts)[1:]:
        seen = _bar_px(band, firsts[due].box.left_mm, px_per_mm)
        if seen is not None:
            marks.append((due, seen / px_per_mm))
    return [*marks, *_end_marks(ink, px_per_mm, layout)] if marks else []


def _bar_px(band: Pixels, x_mm: float, px_per_mm: float) -> float | None:
    """The middle of the upright bar near a place: the column with most ink, by its darkness."""
    first = max(0, round((x_mm - _BAR_MM) * px_per_mm))
    last = min(band.shape[1], round((x_mm + _BAR_MM) * px_per_mm))
    if last - first < 5 or not len(band):
        return None
    # The median over the height: a bar runs all along, a trace only crosses.
    dark: Floats = 255.0 - np.median(band[:, first:last], axis=0)
    if dark.max() < 100:
        return None
    return float((dark * (np.arange(first, last) + 0.5)).sum() / dark.sum())


def _end_marks(ink: Pixels, px_per_mm: float, layout: Layout) -> Marks:
    """(due, seen) of where the rows begin and end, by the median over the rows."""
    marks: Marks = []
    for at_start in (True, False):
        seen: list[float] = []
        due: list[float] = []
        for row in layout.rows:
            b = row[0] if at_start else row[-1]
            x = b.box.left_mm if at_start else b.box.right_mm
            end = _end_px(ink, b, x, px_per_mm, at_start)
            if end is not None:
                seen.append(end / px_per_mm)
                due.append((b.start_s if at_start else b.stop_s) * layout.speed_mm_per_s)
        if len(seen) >= 2 and np.ptp(due) < 0.01 and _even(seen):
            marks.append((due[0], float(np.median(seen))))
    return marks


def _even(values: list[float]) -> bool:
    middle = np.median(values)
    return bool(np.median(np.abs(np.array(values) - middle)) <= _STRAY_MM)


def _end_px(
    ink: Pixels, lead_box: LeadBox, x_mm: float, px_per_mm: float, at_start: bool
) -> float | None:
    """Where the line of a row begins or ends near `x_mm`, by the first or last inked column."""
    first = max(0, round((x_mm - _BAR_MM) * px_per_mm))
    last = min(ink.shape[1], round((x_mm + _BAR_MM) * px_per_mm))
    half = min(lead_box.box.height_mm / 2, 8.0)
    top = max(0, round((lead_box.baseline_mm - half) * px_per_mm))
    bottom = round((lead_box.baseline_mm + half) * px_per_mm)
    inked = np.flatnonzero((ink[top:bottom, first:last] < 128).any(axis=0))
    if len(inked) == 0 or len(inked) == last - first:
        return None
    return float(first + inked[0]) if at_start else float(first + inked[-1] + 1)
