"""Rows, columns and calibration pulse of a page of pixels, from its ink alone.

Columns show by upright bars, by gaps that all rows share, or by the distance of lead names, where
a scan comes with text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.calibration.pulse_ink import ink_pulse_in
from ecgvision.evidence import Evidence
from ecgvision.grid import ink_of_page
from ecgvision.ink_rows import Row
from ecgvision.runs import true_runs
from ecgvision.survey.arrangement import (
    COLUMN_SLACK_MM,
    LEAST_LEAD_MM,
    LEAST_PITCH_MM,
    Arrangement,
    NotFoundError,
    Pulse,
    on_feet,
    printed_names,
    split,
    stroke_ends,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Bools = NDArray[np.bool_]

_LEAST_ROW_MM = 100.0
# A ruled line is no higher than this.
_RULE_MM = 1.2
# A row's pulse ends within this of the row's left end, and stands so near to its baseline.
_PULSE_WITHIN_MM = 25.0
_FOOT_REACH_MM = 3.0
# Ink begins this much before the first point that is drawn.
_HALF_PEN_MM = 0.15
# The gap between columns is from this to that wide.
_LEAST_GAP_MM, _MOST_GAP_MM = 0.3, 8.0


def ink_arrangement(evidence: Evidence) -> Arrangement:
    """Rows and columns from the ink alone."""
    rows = trace_rows(evidence)
    if len(rows) < 3:
        raise NotFoundError(f"rows of traces: {len(rows)} found where at least 3 are due")
    pitches = [b.baseline_mm - a.baseline_mm for a, b in pairwise(rows)]
    if max(pitches) > 1.7 * median(pitches) or min(pitches) < 0.55 * median(pitches):
        levels = ", ".join(f"{row.baseline_mm:.0f}" for row in rows)
        raise NotFoundError(f"rows at about equal distances: found at {levels} mm")
    pulse = ink_pulse(evidence, rows)
    left = pulse.begins_mm if pulse else median(row.left_mm for row in rows)
    right = median(row.right_mm for row in rows)
    strokes = stroke_ends(evidence.page)
    if strokes is not None:  # one stroke may run through several leads, but its ends are exact
        left, right, pulse = strokes
    columns = _ink_columns(evidence, rows, left, right)
    if columns is None:
        raise NotFoundError(
            "where the columns begin: no ends of strokes, upright bars, gaps that all rows share "
            "or lead names tell"
        )
    return Arrangement(
        baselines_mm=on_feet([row.baseline_mm for row in rows], pulse),
        strips=len(rows) - columns.rows,
        starts_mm=columns.starts_mm,
        column_mm=median(b - a for a, b in zip(columns.starts_mm, columns.ends_mm, strict=True)),
        strip_mm=None,
        pulse=pulse,
        separators=columns.source == _BY_BARS,
        columns_from=columns.source,
    )


def trace_rows(evidence: Evidence) -> list[Row]:
    """The rows that hold traces: long pieces of ink. Print is many short ones, a rule is flat."""
    scale = evidence.mask_px_per_mm
    bridge = np.ones((1, round(0.7 * scale) | 1), np.uint8)
    closed = cv2.morphologyEx(evidence.mask.astype(np.uint8), cv2.MORPH_CLOSE, bridge)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    long = stats[:, cv2.CC_STAT_WIDTH] >= LEAST_LEAD_MM * scale
    long &= stats[:, cv2.CC_STAT_HEIGHT] >= _RULE_MM * scale
    long[0] = False
    traces = long[labels]
    rows = []
    for row in evidence.rows:
        top, bottom = (max(0, round((row.baseline_mm + d) * scale)) for d in (-2.0, 2.0))
        left, right = round(row.left_mm * scale), round(row.right_mm * scale)
        share = traces[top:bottom, left:right].any(axis=0).mean()
        if share >= 0.6:
            rows.append(replace(row, right_mm=_last_ink_mm(traces, row, scale)))
    return [row for row in rows if row.right_mm - row.left_mm >= _LEAST_ROW_MM]


def _last_ink_mm(traces: Bools, row: Row, px_per_mm: float) -> float:
    """Where the row's ink ends: a trace that ends on a T wave goes on beyond its baseline."""
    top, bottom = (round((row.baseline_mm + d) * px_per_mm) for d in (-6.0, 6.0))
    inked = np.flatnonzero(traces[max(0, top) : bottom].any(axis=0)) / px_per_mm
    end = row.right_mm
    for x in inked[inked > end - 1.0]:
        if x > end + 1.0:
            break
        end = max(end, float(x))
    return end


def ink_pulse(evidence: Evidence, rows: Sequence[Row]) -> Pulse | None:
    """The calibration pulse that stands before most of the rows, or None."""
    ink = ink_of_page(evidence.page) if rows else None
    seen = [pulse for row in rows if ink is not None and (pulse := _row_pulse(evidence, row, ink))]
    if not seen or 2 * len(seen) < len(rows):
        return None
    return Pulse(
        median(p.left_mm for p in seen),
        median(p.right_mm for p in seen),
        median(p.height_mm for p in seen),
        median(p.begins_mm for p in seen),
    )


def _row_pulse(evidence: Evidence, row: Row, ink: Pixels) -> Pulse | None:
    """The pulse at the left end of one row, and where the row's trace begins after it."""
    found = ink_pulse_in(
        ink,
        ink.shape[1] / evidence.page.known_mm[0],
        window_mm=(row.left_mm - 1.0, row.left_mm + _PULSE_WITHIN_MM),
        baseline_mm=row.baseline_mm,
        reach_mm=_FOOT_REACH_MM,
    )
    if found is None:
        return None
    foot_mm = found.rise_mm - found.left_mm
    if found.right_mm - found.fall_mm > foot_mm + _HALF_PEN_MM + COLUMN_SLACK_MM / 2:
        # The trace goes on from the pulse's second foot, as long as the first one.
        right = begins = found.fall_mm + foot_mm
    else:
        right = found.right_mm
        begins = _next_ink_mm(evidence, row, right)
    return Pulse(found.left_mm, right, found.height_mm, begins)


def _next_ink_mm(evidence: Evidence, row: Row, right_mm: float) -> float:
    """Where the first line after a pulse that stands alone begins."""
    scale = evidence.mask_px_per_mm
    top, bottom = (max(0, round((row.baseline_mm + d) * scale)) for d in (-4.0, 2.0))
    first = round(right_mm * scale) + 1
    inked = evidence.mask[top:bottom, first : first + round(_PULSE_WITHIN_MM * scale)].any(axis=0)
    return (first + int(inked.argmax())) / scale + _HALF_PEN_MM if inked.any() else right_mm


@dataclass(frozen=True, slots=True)
class Columns:
    """Where columns begin and end, in mm, in how many of the rows, and what told it."""

    starts_mm: tuple[float, ...]
    ends_mm: tuple[float, ...]
    rows: int
    source: str


_BY_BARS, _BY_GAPS, _BY_NAMES = "upright bars", "gaps that all rows share", "the printed lead names"


def _ink_columns(
    evidence: Evidence, rows: Sequence[Row], left: float, right: float
) -> Columns | None:
    """The columns of the rows from `left` to `right`, or None where nothing tells them."""
    for found in (
        _columns_of_bars(evidence, rows, left, right),
        _columns_of_gaps(evidence, rows, left, right),
        _columns_of_names(evidence, rows, left, right),
    ):
        if found is not None and _even(found):
            return found
    if len(rows) == 12:
        return Columns((left,), (right,), 12, "twelve rows")
    return None


def _even(columns: Columns) -> bool:
    """Whether all columns are about equally wide."""
    pitches = [b - a for a, b in pairwise((*columns.starts_mm, columns.ends_mm[-1]))]
    slack = 2 * COLUMN_SLACK_MM
    return min(pitches) >= LEAST_LEAD_MM and max(pitches) - min(pitches) <= slack


def _columns_of_bars(
    evidence: Evidence, rows: Sequence[Row], left: float, right: float
) -> Columns | None:
    bars = [x for x in evidence.bars_mm if left + LEAST_LEAD_MM < x < right - LEAST_LEAD_MM]
    if not bars:
        return None
    reach = [_bar_reach(evidence, x) for x in bars]
    top, bottom = max(r[0] for r in reach), min(r[1] for r in reach)
    crossed = [top - 2.0 <= row.baseline_mm <= bottom + 2.0 for row in rows]
    if not all(crossed[: sum(crossed)]):  # a rhythm strip above the leads is beyond this guess
        return None
    return Columns((left, *bars), (*bars, right), sum(crossed), _BY_BARS)


def _bar_reach(evidence: Evidence, x_mm: float) -> tuple[float, float]:
    """Upper and lower end of an upright bar in mm."""
    scale = evidence.mask_px_per_mm
    at = int(x_mm * scale)
    ink = evidence.mask[:, max(0, at - 1) : at + 2].any(axis=1)
    start, stop = max(true_runs(np.asarray(ink)), key=lambda run: run[1] - run[0])
    return start / scale, stop / scale


def _columns_of_gaps(
    evidence: Evidence, rows: Sequence[Row], left: float, right: float
) -> Columns | None:
    """Columns from where no row has ink; rhythm strips, which have none of the gaps, are last."""
    scale = evidence.mask_px_per_mm
    reach = 0.3 * median(b.baseline_mm - a.baseline_mm for a, b in pairwise(rows))
    bare = []
    for row in rows:
        top, bottom = (round((row.baseline_mm + d) * scale) for d in (-reach, reach))
        bare.append(~evidence.mask[max(0, top) : bottom].any(axis=0))
    for count in range(len(rows), 1, -1):
        shared = np.logical_and.reduce(bare[:count]).astype(np.int8)
        edges = np.flatnonzero(np.diff(shared)) + 1
        gaps = [(a / scale, b / scale) for a, b in pairwise(edges.tolist()) if shared[a]]
        inside = [
            (a, b)
            for a, b in gaps
            if left + LEAST_LEAD_MM < a
            and b < right - LEAST_LEAD_MM
            and _LEAST_GAP_MM <= b - a <= _MOST_GAP_MM
        ]
        if inside:
            ends, starts = zip(*inside, strict=True)
            found = Columns((left, *starts), (*ends, right), count, _BY_GAPS)
            if _even(found):
                return found
    return None


def _columns_of_names(
    evidence: Evidence, rows: Sequence[Row], left: float, right: float
) -> Columns | None:
    """Columns at the distance of the printed lead names, if they fill the rows."""
    boxes = [box for _, box in printed_names(evidence.page) if box.left_mm > left - 3.0]
    groups = split((box.left_mm for box in boxes), LEAST_LEAD_MM)
    levels = split((box.top_mm for box in boxes), LEAST_PITCH_MM)
    if len(groups) < 2 or len(levels) > len(rows):
        return None
    pitch = (groups[-1][0] - groups[0][0]) / (len(groups) - 1)
    starts = tuple(left + k * pitch for k in range(len(groups)))
    if abs(starts[-1] + pitch - right) > COLUMN_SLACK_MM:
        return None
    # Rows with a name in every column hold the twelve leads.
    return Columns(starts, (*starts[1:], right), min(len(g) for g in groups), _BY_NAMES)
