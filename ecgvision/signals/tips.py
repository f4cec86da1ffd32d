"""Tips that a line fitted from its coarse way did not reach, tried anew from where the ink ends.

A narrow QRS or a pacing spike goes up and down in the same columns. A line that turns back half way
there is at rest: that a little further up the ink would agree better is not seen from where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecgvision.runs import true_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.signals.edges import ColumnInk

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# A tip was missed where the ink goes on past it by more than this, in pens: what is less the fit
# knows better. Columns of one tip stand together, so many pens at most: wider ink is no spike.
_SHORT_PENS, _WIDEST_PENS = 2.0, 5.0
# What goes on so far to the other side as well, as a share, is a bar that crosses the line.
_BOTH_SIDES = 0.5


def missed_tips(ink: ColumnInk, misfit: Floats, pen_px: float) -> tuple[Ints, Floats]:
    """Columns where a tip was missed, and the heights of the pen's middle there.

    `misfit` (n, 2) is how much more ink there is above and below the line than it draws, in px.
    """
    columns: list[int] = []
    heights: list[float] = []
    for side, free in enumerate((ink.upper_seen, ink.lower_seen)):
        sign = -1.0 if side == 0 else 1.0
        end = ink.split + sign * (ink.above if side == 0 else ink.below)
        ends = np.where(ink.seen, sign * end, -np.inf)
        past, opposite = misfit[:, side], misfit[:, 1 - side]
        short = ink.seen & free & ~ink.shared & (past > _SHORT_PENS * pen_px)
        short &= opposite < _BOTH_SIDES * past
        for first, stop in true_runs(short):
            tip = _tip(ends, first, stop, pen_px)
            if tip is not None:
                columns.append(tip)
                heights.append(float(end[tip] - sign * pen_px / 2))
    return np.array(columns, np.int64), np.array(heights)


def _tip(ends: Floats, first: int, stop: int, pen_px: float) -> int | None:
    """The middle column of the tip in columns `first` to `stop`, where `ends` are largest.

    On a limb the ink goes on beside the columns; at a tip it goes back on both sides.
    """
    top = float(ends[first:stop].max())
    near = ends > top - pen_px
    while first > 0 and near[first - 1]:
        first -= 1
    while stop < len(ends) and near[stop]:
        stop += 1
    if stop - first > _WIDEST_PENS * pen_px:
        return None
    beside = round(pen_px)
    around = np.concatenate([ends[max(first - beside, 0) : first], ends[stop : stop + beside]])
    if ends[first:stop].max() > top + pen_px / 2 or (len(around) and around.max() > top - pen_px):
        return None
    # Of columns that reach as far the middle one: the pen's own width makes them many.
    reached = np.flatnonzero(ends[first:stop] > top - 1)
    return first + int(reached[len(reached) // 2])


def with_tips(y: Floats, columns: Ints, heights: Floats, per_px: int) -> Floats:
    """The line (m,), drawn to those heights in those columns of `per_px` nodes."""
    drawn = y.copy()
    for part in range(per_px):
        drawn[columns * per_px + part] = heights
    return drawn


def better_parts(
    before: tuple[Floats, Floats], after: tuple[Floats, Floats], columns: Ints, around: int
) -> Floats:
    """Of two lines (m,) with their costs by nodes (m,) the one that costs less, tip by tip.

    Within `around` nodes of a tip they are compared and exchanged; elsewhere the first one stays.
    """
    (y, cost), (other, other_cost) = before, after
    near = np.zeros(len(y), bool)
    for at in columns:
        near[max(at - around, 0) : at + around + 1] = True
    chosen = y.copy()
    for run in true_runs(near):
        part = slice(*run)
        if other_cost[part].sum() < cost[part].sum():
            chosen[part] = other[part]
    return chosen
