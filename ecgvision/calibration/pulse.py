"""The calibration pulse, 1 mV up and down beside a row: how high it is, and where it stands.

Its two levels are those of the middle of the pen's line. A vector page gives them exactly; on a
page of pixels (`pulse_ink`) they are found finer than a pixel by the grey of the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.calibration.pulse_ink import ink_pulse_in
from ecgvision.strokes import sorted_strokes
from ecgvision.types import Layout, LeadBox, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels, Points

_MOST_WIDTH_MM = 14.0
_LEAST_HEIGHT_MM = 3.0
# A pulse stands at most so far beside its row's leads, and its foot so far from their baseline.
_BESIDE_MM = 16.0
_FOOT_MM = 6.0
# A declared pulse may be found so far from its place: at 97 % of its size a page is matched that
# much off. An undeclared one reaches so far into the first lead.
_SLACK_MM = 7.5
_INTO_LEAD_MM = 0.8
# Pulses of one page are equally high, to this share or this many mm.
_UNLIKE_SHARE, _UNLIKE_MM = 0.02, 0.12
# A 1 mV pulse is from 2.5 to 40 mm high, but the highest reaches beyond the row above.
_MOST_HEIGHT_MM = 42.0
_FLAT_MM = 0.05
# A row that is joined to its pulse begins within this of where it is due.
_JOINT_MM = 0.1


@dataclass(frozen=True, slots=True)
class RowPulse:
    """One row's pulse in mm of the page: its height and the level that it stands on.

    `baseline_mm` is the nominal one of the row that it belongs to.
    """

    baseline_mm: float
    height_mm: float
    foot_mm: float


@dataclass(frozen=True, slots=True)
class Pulses:
    """The pulses of a page that agree, and their median height."""

    rows: tuple[RowPulse, ...]
    height_mm: float


def measured_pulses(page: Page, layout: Layout, ink: Pixels) -> Pulses | None:
    """The pulses beside the rows of an upright page; None without any that agree.

    They are looked for left of the rows, then right of them. `ink` is the page without its grid
    at `page.px_per_mm`, and is not used on a vector page.
    """
    rows = layout.rows
    for left_side in (True, False):
        if page.origin == "vector":
            found = _of_strokes(page, layout, left_side)
        else:
            found = _of_ink(ink, ink.shape[1] / page.known_mm[0], layout, left_side)
        agreed = _agreed(found, len(rows), declared=left_side and layout.pulse_mm is not None)
        if agreed is not None:
            return agreed
    return None


def _agreed(found: Sequence[RowPulse], rows: int, *, declared: bool) -> Pulses | None:
    """Those pulses that are as high as most; None where most rows have none like that.

    One pulse alone is believed only where the layout says that one is there, or has but one row.
    """
    if not found:
        return None
    middle = median(pulse.height_mm for pulse in found)
    slack = max(_UNLIKE_SHARE * middle, _UNLIKE_MM)
    alike = [pulse for pulse in found if abs(pulse.height_mm - middle) <= slack]
    least = 1 if declared or rows == 1 else 2
    if len(alike) < least or 2 * len(alike) <= len(found) or 2 * len(alike) < rows:
        return None
    return Pulses(tuple(alike), median(pulse.height_mm for pulse in alike))


def _window_mm(row: Sequence[LeadBox], layout: Layout, left_side: bool) -> tuple[float, float]:
    """From where to where a row's pulse may stand, in mm."""
    left, right = row[0].box.left_mm, row[-1].box.right_mm
    if not left_side:
        return right - _INTO_LEAD_MM, right + _BESIDE_MM
    if layout.pulse_mm is None:
        return left - _BESIDE_MM, left + _INTO_LEAD_MM
    first, last = layout.pulse_mm
    return min(first - _SLACK_MM, left - _BESIDE_MM), max(last + _SLACK_MM, left + _INTO_LEAD_MM)


def _foot_reach_mm(layout: Layout) -> float:
    """How far a foot may be from its row's baseline and still be nearer than the next row's."""
    levels = [row[0].baseline_mm for row in layout.rows]
    return min([_FOOT_MM, *(0.45 * (b - a) for a, b in pairwise(levels))])


# --- strokes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StrokePulse:
    """A stroke that is a pulse: its ends across, top and foot level, in mm."""

    left_mm: float
    right_mm: float
    top_mm: float
    foot_mm: float

    @property
    def height_mm(self) -> float:
        return self.foot_mm - self.top_mm


def _of_strokes(page: Page, layout: Layout, left_side: bool) -> list[RowPulse]:
    reach = _foot_reach_mm(layout)
    found = []
    for row in layout.rows:
        level = row[0].baseline_mm
        window = _window_mm(row, layout, left_side)
        pulses = [
            p
            for p in _stroke_pulses((s.points_mm for s in sorted_strokes(page).ink), window, row)
            if abs(p.foot_mm - level) <= reach
        ]
        if pulses:
            best = min(pulses, key=lambda p: abs(p.foot_mm - level))
            found.append(RowPulse(level, best.height_mm, best.foot_mm))
    return found


def _stroke_pulses(
    lines: Iterable[Points], window_mm: tuple[float, float], row: Sequence[LeadBox]
) -> list[StrokePulse]:
    """The pulses among lines, each (n, 2) in mm, that stand in the window.

    Where a machine draws pulse and row as one line, the part beside the row is looked at.
    """
    first, last = window_mm
    left, right = row[0].box.left_mm + _JOINT_MM, row[-1].box.right_mm - _JOINT_MM
    found = []
    for points in lines:
        x = points[:, 0]
        inside = (x >= first) & (x <= last)
        if not inside.all():
            inside &= (x <= left) | (x >= right)
        places = np.flatnonzero(inside)
        if len(places) >= 4:
            pulse = pulse_of(points[places[0] : places[-1] + 1])
            if pulse is not None:
                found.append(pulse)
    return found


def pulse_of(points_mm: Points) -> StrokePulse | None:
    """A line as a pulse, if it goes up, along and down again: level on top and at both feet."""
    x, y = points_mm[:, 0], points_mm[:, 1]
    width, height = float(np.ptp(x)), float(np.ptp(y))
    if not (1.0 <= width <= _MOST_WIDTH_MM and _LEAST_HEIGHT_MM <= height <= _MOST_HEIGHT_MM):
        return None
    high = y < y.min() + 0.05 * height
    level = float(np.abs(np.diff(x))[high[1:] & high[:-1]].sum())
    on_foot = max(y.max() - y[0], y.max() - y[-1]) < 0.1 * height
    # No more points between the levels than a slanted edge has: a wave has many.
    between = (y > y.min() + 0.1 * height) & (y < y.max() - 0.1 * height)
    if level < 0.25 * width or not on_foot or between.mean() > 0.3:
        return None
    return StrokePulse(
        float(x.min()), float(x.max()), float(np.median(y[high])), _foot_level(points_mm, high)
    )


def _foot_level(points_mm: Points, high: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """The level of the first foot; a lead may be joined to the second, and wander off."""
    y = points_mm[:, 1]
    first, last = np.flatnonzero(high)[[0, -1]]
    near = 0.05 * float(np.ptp(y))
    before = y[:first][np.abs(y[:first] - y[0]) < near]
    level = float(np.median(before)) if len(before) else float(y[-1])
    after = y[last + 1 :][np.abs(y[last + 1 :] - level) < _FLAT_MM]
    return (level + float(np.median(after))) / 2 if len(after) else level


# --- ink --------------------------------------------------------------------------------------


def _of_ink(ink: Pixels, px_per_mm: float, layout: Layout, left_side: bool) -> list[RowPulse]:
    reach = _foot_reach_mm(layout)
    found = []
    for row in layout.rows:
        level = row[0].baseline_mm
        window = _window_mm(row, layout, left_side)
        pulse = ink_pulse_in(ink, px_per_mm, window_mm=window, baseline_mm=level, reach_mm=reach)
        if pulse is not None:
            found.append(RowPulse(level, pulse.height_mm, pulse.foot_mm))
    return found
