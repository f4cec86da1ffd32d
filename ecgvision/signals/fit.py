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
from scipy.linalg import solveh_banded
from scipy.special import ndtr

from ecgvision.compiled import compiled
from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.pen import Pen
from ecgvision.signals.tips import better_parts, missed_tips, with_tips

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NODES_PER_PX = 2
# Rounds at most; the fit is done when no place moves by more than this (px).
_ROUNDS, _SETTLED_PX = 12, 0.01
_TOUCHES = 13  # places along the pen's rim that are tried
# Standard error of an end of the ink (px), and where larger misfits count less.
_END_PX, _ODD_PX = 0.08, 1.0
# Penalty on second differences (px per px^2): its weight, and the size from which it is let go.
_SMOOTH, _BEND = 3.0, 0.3
# The coarse way's weight where another row hides the ink, against its reach in px.
_WAY_WEIGHT, _WAY_PX = 0.05, 2.0
_MOST_STEP_PX = 8.0
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
        bands = np.empty((len(y), max(self.rim.width, 2) + 1))
        misfit = np.zeros_like(self.stood)
        for _ in range(_ROUNDS):
            pull = self._equations(y, bands, misfit)
            step = solveh_banded(bands.T, pull, lower=True, check_finite=False)
            y = y + np.clip(step, -_MOST_STEP_PX, _MOST_STEP_PX)
            if np.abs(step).max() < _SETTLED_PX:
                break
        return y, misfit

    def misfit(self, y: Floats) -> Floats:
        """(n, 2): the ink seen minus the ink drawn, above and below."""
        misfit = np.zeros_like(self.stood)
        self._equations(y, np.empty((len(y), max(self.rim.width, 2) + 1)), misfit)
        return misfit

    def costs(self, y: Floats, misfit: Floats) -> Floats:
        """(m,): what a line costs at each node, by its misfits and its bends."""
        ends = 0.5 * (_ODD_PX / _END_PX) ** 2 * np.log(1 + (misfit / _ODD_PX) ** 2)
        by_column = (ends * self.seen).sum(axis=1)
        bends = NODES_PER_PX**2 * np.diff(y, 2)
        cost = np.repeat(by_column / NODES_PER_PX, NODES_PER_PX)
        cost[1:-1] += 0.5 * _SMOOTH * np.log(1 + (bends / _BEND) ** 2)
        return cost

    def _equations(self, y: Floats, bands: Floats, misfit: Floats) -> Floats:
        pull: Floats = _equations(
            y, self.ink.split, self.stood, self.seen, self.held, self.ink.way,
            *self.rim.numbers, bands, misfit,
        )  # fmt: skip
        return pull


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


@compiled
def _equations(  # type: ignore[no-untyped-def]
    y, split, stood, seen, held, way, whole, share, drop, steps, weights, bands, misfit
):
    """One round's normal equations: their bands into `bands`; returns the right side.

    `bands[i, d]` is what the unknowns i and i + d have in common.

    `misfit` (columns, 2) becomes the ink seen minus the ink drawn, above and below the split.
    """
    nodes, columns, width = len(y), len(split), bands.shape[1] - 1
    ends, touch = np.empty((2, nodes)), np.empty((2, nodes), np.int64)
    pen_ends(y, whole, share, drop, ends, touch)
    (top, bottom), (up, down) = ends, touch
    pull = np.zeros(nodes)
    bands[:] = 0.0
    bands[:, 0] = 1.0  # a line that no ink holds must not make the system singular
    slopes = np.zeros((2, width + 1))
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        # The first node any view depends on, and so many from there on.
        low = min(max(min(max(middle + steps[0], 0), nodes - 1) + whole[0], 0), nodes - 1)
        drawn_above, drawn_below = 0.0, 0.0
        slopes[:] = 0.0
        for v in range(len(steps)):
            j = min(max(middle + steps[v], 0), nodes - 1)
            w = weights[v]
            drawn_above += w * (max(split[i] - top[j], 0.0) - max(split[i] - bottom[j], 0.0))
            drawn_below += w * (max(bottom[j] - split[i], 0.0) - max(top[j] - split[i], 0.0))
            for end in range(2):
                k = up[j] if end == 0 else down[j]
                side = 0 if (top[j] if end == 0 else bottom[j]) < split[i] else 1
                slope = -w if end == 0 else w
                first = min(max(j + whole[k], 0), nodes - 1) - low
                second = min(max(j + whole[k] + 1, 0), nodes - 1) - low
                slopes[side, first] += slope * (1 - share[k])
                slopes[side, second] += slope * share[k]
        misfit[i, 0], misfit[i, 1] = stood[i, 0] - drawn_above, stood[i, 1] - drawn_below
        for side in range(2):
            count = min(width + 1, nodes - low)
            if not seen[i, side]:
                continue
            off = misfit[i, side]
            trust = 1 / (_END_PX**2 * (1 + (off / _ODD_PX) ** 2))
            own = slopes[side]
            first = 0
            while first < count and own[first] == 0.0:
                first += 1
            while count > first and own[count - 1] == 0.0:
                count -= 1
            for a in range(first, count):
                steep = trust * own[a]
                pull[low + a] += off * steep
                row = bands[low + a]
                for b in range(count - a):
                    row[b] += steep * own[a + b]
    _hold(y, held, way, bands, pull)
    add_bends(y, bands, pull, 1, 0)
    return pull


@compiled
def _hold(y, held, way, bands, pull):  # type: ignore[no-untyped-def]
    """Adds how much the coarse way counts in columns whose ink another row hides."""
    share = 1.0 / NODES_PER_PX
    for i in range(len(held)):
        if held[i] == 0:
            continue
        mean = 0.0
        for a in range(NODES_PER_PX):
            mean += y[i * NODES_PER_PX + a] * share
        for a in range(NODES_PER_PX):
            pull[i * NODES_PER_PX + a] += held[i] * (way[i] - mean) * share
            for b in range(a, NODES_PER_PX):
                bands[i * NODES_PER_PX + a, b - a] += held[i] * share**2


@compiled
def add_bends(y, bands, pull, lines, line):  # type: ignore[no-untyped-def]
    """Adds the penalty on a line's second differences to one round's equations; returns it.

    Node j of this line is the unknown `j * lines + line`.
    """
    size, cost = float(NODES_PER_PX**2), 0.0
    part = (size, -2 * size, size)
    for j in range(len(y) - 2):
        bend = size * (y[j] - 2 * y[j + 1] + y[j + 2])
        stiff = _SMOOTH / (_BEND**2 + bend**2)
        cost += 0.5 * _SMOOTH * np.log(1 + (bend / _BEND) ** 2)
        for a in range(3):
            pull[(j + a) * lines + line] -= stiff * bend * part[a]
            for b in range(a, 3):
                bands[(j + a) * lines + line, (b - a) * lines] += stiff * part[a] * part[b]
    return cost


@compiled
def bends_cost(y):  # type: ignore[no-untyped-def]
    """What `add_bends` returns."""
    cost = 0.0
    for j in range(len(y) - 2):
        bend = float(NODES_PER_PX**2) * (y[j] - 2 * y[j + 1] + y[j + 2])
        cost += 0.5 * _SMOOTH * np.log(1 + (bend / _BEND) ** 2)
    return cost


@compiled
def pen_ends(y, whole, share, drop, ends, touch):  # type: ignore[no-untyped-def]
    """Where the pen's ink begins and ends at each node into `ends`, (2, nodes).

    `touch`, (2, nodes), becomes the place of the rim that does it.
    """
    nodes = len(y)
    for j in range(nodes):
        ends[0, j], ends[1, j] = 1e300, -1e300
        for k in range(len(whole)):
            first = min(max(j + whole[k], 0), nodes - 1)
            second = min(max(j + whole[k] + 1, 0), nodes - 1)
            height = y[first] * (1 - share[k]) + y[second] * share[k]
            if height - drop[k] < ends[0, j]:
                ends[0, j], touch[0, j] = height - drop[k], k
            if height + drop[k] > ends[1, j]:
                ends[1, j], touch[1, j] = height + drop[k], k
