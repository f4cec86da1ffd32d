"""Finds the line whose drawing with a round pen gives the ink seen on the page.

A round pen of radius r drawn along y(x) inks each column from T(x) = min over u of
y(x + u) - sqrt(r^2 - u^2) to B(x) = max over u of y(x + u) + sqrt(r^2 - u^2), |u| <= r: the line
dilated by a disc. Pixels see T and B averaged over their width and the blur. The line is fitted by
Gauss-Newton on how much ink lies above and below a place in each column, with a penalty on its
second differences whose weight falls where they are large (a QRS is left alone). Only the places
that the pen touches an end from enter its derivative, so the equations are banded and quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.pen import Pen
from ecgvision.signals.settle import BEND, END_PX, NODES_PER_PX, ODD_PX, SMOOTH, misfit_of, settle
from ecgvision.signals.tips import better_parts, missed_tips, with_tips

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_TOUCHES = 13  # places along the pen's rim that are tried
# The coarse way's weight where another row hides the ink, against its reach in px.
_WAY_WEIGHT, _WAY_PX = 0.05, 2.0
# A tip that was missed is looked at with so much of the line on each side, in pens.
_TIP_PENS = 4.0


@dataclass(frozen=True)
class Line:
    """The fitted line: `x_px` and `y_px` are (m,), `misfit_px` (n,) per column of the ink."""

    x_px: Floats
    y_px: Floats
    misfit_px: Floats


@dataclass(frozen=True)
class Rim:
    """Where the pen touches the line and what a column sees of it, in nodes.

    The rim's place k lies between the nodes `whole[k]` and the next, by `share[k]`, at the height
    `drop[k]`. A column sees the nodes `steps` from its middle one, weighted by `weights`.
    """

    whole: Ints
    share: Floats
    drop: Floats
    steps: Ints
    weights: Floats

    @property
    def width(self) -> int:
        """How many nodes apart two that one column depends on may lie."""
        return int(np.ptp(self.whole) + 1 + np.ptp(self.steps))

    @property
    def numbers(self) -> tuple[Ints, Floats, Floats, Ints, Floats]:
        """What compiled functions take: `whole`, `share`, `drop`, `steps`, `weights`."""
        return self.whole, self.share, self.drop, self.steps, self.weights


def fitted_line(ink: ColumnInk, pen: Pen) -> Line:
    """The line of one row. Where a row has no ink, the line runs straight on."""
    columns = len(ink.columns)
    x = (np.arange(columns * NODES_PER_PX) + 0.5) / NODES_PER_PX
    known = np.isfinite(ink.guess)
    if not known.any():
        nothing = np.full(columns, np.nan)
        return Line(x + ink.columns[0], np.full(len(x), np.nan), nothing)
    y = np.interp(x, np.flatnonzero(known) + 0.5, ink.guess[known])
    fit = _Fit.of(ink, pen)
    y, misfit = fit.settled(y)
    short, heights = missed_tips(ink, misfit, pen.width_px)
    if len(short):
        other, other_misfit = fit.settled(with_tips(y, short, heights, NODES_PER_PX))
        around = round(_TIP_PENS * pen.width_px * NODES_PER_PX)
        costs = fit.costs(y, misfit), fit.costs(other, other_misfit)
        tips = short * NODES_PER_PX
        y = better_parts((y, costs[0]), (other, costs[1]), tips, around)
        misfit = fit.misfit(y)
    off = (np.abs(misfit) * fit.seen).max(axis=1)
    return Line(x + ink.columns[0], y, np.where(ink.seen, off, np.nan))


@dataclass(frozen=True)
class _Fit:
    """What a row's line is fitted to: the ink above and below `split` in each column.

    `stood` and `seen` are (n, 2), `held` (n,) is the weight of the coarse way where other rows hide
    the ink.
    """

    ink: ColumnInk
    rim: Rim
    stood: Floats
    seen: Bools
    held: Floats

    @classmethod
    def of(cls, ink: ColumnInk, pen: Pen) -> _Fit:
        hidden = ink.seen & ink.shared & ~(ink.upper_seen & ink.lower_seen)
        held = np.where(hidden, _WAY_WEIGHT / (ink.way_reach / 2 + _WAY_PX) ** 2, 0.0)
        seen = np.stack([ink.upper_seen, ink.lower_seen], axis=1)
        return cls(ink, rim_of(pen), np.stack([ink.above, ink.below], axis=1), seen, held)

    def settled(self, y: Floats) -> tuple[Floats, Floats]:
        """The line (m,) fitted from `y` on, and its misfit (n, 2), above and below."""
        fitted, misfit = y.copy(), np.zeros_like(self.stood)
        settle(
            fitted, self.ink.split, self.stood, self.seen, self.held, self.ink.way,
            *self.rim.numbers, self.rim.width, misfit,
        )  # fmt: skip
        return fitted, misfit

    def misfit(self, y: Floats) -> Floats:
        """(n, 2): the ink seen minus the ink drawn, above and below."""
        misfit = np.zeros_like(self.stood)
        misfit_of(y, self.ink.split, self.stood, *self.rim.numbers, self.rim.width, misfit)
        return misfit

    def costs(self, y: Floats, misfit: Floats) -> Floats:
        """(m,): what a line costs at each node, by its misfits and its bends."""
        ends = 0.5 * (ODD_PX / END_PX) ** 2 * np.log(1 + (misfit / ODD_PX) ** 2)
        by_column = (ends * self.seen).sum(axis=1)
        bends = NODES_PER_PX**2 * np.diff(y, 2)
        cost = np.repeat(by_column / NODES_PER_PX, NODES_PER_PX)
        cost[1:-1] += 0.5 * SMOOTH * np.log(1 + (bends / BEND) ** 2)
        return cost


def rim_of(pen: Pen) -> Rim:
    radius = pen.width_px / 2
    angle = np.linspace(-np.pi / 2, np.pi / 2, _TOUCHES)
    place = radius * np.sin(angle) * NODES_PER_PX
    whole = np.floor(place).astype(np.int64)
    half = 0.5 + 2 * pen.blur_px
    steps = np.arange(int(np.floor(-half * NODES_PER_PX)), int(np.ceil(half * NODES_PER_PX)))
    offset = (steps + 0.5) / NODES_PER_PX
    # A pixel's width seen through the blur.
    weights = ndtr((offset + 0.5) / pen.blur_px) - ndtr((offset - 0.5) / pen.blur_px)
    return Rim(whole, place - whole, radius * np.cos(angle), steps, weights / weights.sum())
