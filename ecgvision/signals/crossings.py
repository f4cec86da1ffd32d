"""Lines that run into each other, fitted together to the pixels they share.

Where the rows' QRS overlap, a column's ink no longer says whose ends it has. There the lines of all
rows that meet are moved until the picture a pen draws of them is the picture seen: Gauss-Newton on
every pixel of the place, first on both pictures blurred, so that a tip that was cut short is pulled
to where the ink ends. The smoothness is that of `fit`. A result that explains the pixels worse than
the lines it began with is not taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.fit import NODES_PER_PX, Line, Rim, rim_of
from ecgvision.signals.joint import draw, equations
from ecgvision.signals.pen import Pen
from ecgvision.signals.spikes import best_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# What is looked at around the columns where rows hide each other, and above and below their ink.
_AROUND_MM, _ABOVE_MM = 1.0, 1.0
# A wider place is no crossing: two rows run along each other there.
_WIDEST_MM = 12.0
# Both pictures are blurred so much, in turn (px), each with so many rounds at most.
_BLURS_PX, _SETTLED_PX = ((4.0, 3), (2.0, 3), (0.0, 6)), 0.02
_MOST_STEP_PX = 4.0
# What costs no more than this for each pixel of ink is explained as well as it would be by lines
# that are right.
_EXPLAINED = 1.6
# Guesses are made again from what the last ones gave while that costs this much less.
_ROUNDS, _BETTER = 2, 0.8
# A pixel this dark is ink.
_INK = 0.5
# Beats of other places are tried moved by so much, and so many of them fitted.
_SHIFTS_PX, _TRANSFERRED = 4, 2


@dataclass(frozen=True)
class _Place:
    """A part of the page where rows meet: columns `first` to `stop` of the inks, rows of pixels.

    `seen` is (h, w) from 0 to 1. `moving` are the rows whose lines meet here, `rest` (h, w) the ink
    that the other lines draw, `start` (k, m) the moving rows' lines as they are, in px from
    `top`, and `cost` what they cost.
    """

    first: int
    stop: int
    top: int
    moving: tuple[int, ...]
    seen: Floats
    rest: Floats
    start: Floats
    cost: float = np.inf

    def explained(self, cost: float) -> bool:
        """Whether lines that cost this leave nothing to look for."""
        return cost <= _EXPLAINED * float(np.count_nonzero(self.seen > _INK))

    def blurred(self, blur_px: float) -> tuple[Floats, Floats]:
        """`seen` and `rest`, blurred up and down."""
        if blur_px == 0:
            return self.seen, self.rest
        seen, rest = (gaussian_filter1d(image, blur_px, axis=0) for image in (self.seen, self.rest))
        return seen, rest


def fitted_crossings(
    dark: NDArray[np.float32],
    inks: Sequence[ColumnInk],
    lines: Sequence[Line],
    pen: Pen,
    px_per_mm: float,
) -> list[Line]:
    """The lines, fitted again where they meet. `dark` is (H, W) from 0 to 1."""
    fitted = list(lines)
    rim = rim_of(pen)
    places = [
        _explained(p, rim, pen, px_per_mm) for p in _places(dark, inks, lines, pen, px_per_mm)
    ]
    # The beats repeat: what explains one place may explain another, the best explained one first.
    for _ in range(_ROUNDS):
        costs = [place.cost for place in places]
        for at in np.argsort(costs):
            places[at] = _like_others(places[at], places, rim, pen, px_per_mm)
        if [place.cost for place in places] == costs:
            break
    for place in places:
        nodes = slice(place.first * NODES_PER_PX, place.stop * NODES_PER_PX)
        for row, part in zip(place.moving, place.start, strict=True):
            changed = fitted[row].y_px.copy()
            changed[nodes] = part + place.top
            fitted[row] = replace(fitted[row], y_px=changed)
    return fitted


def _explained(place: _Place, rim: Rim, pen: Pen, px_per_mm: float) -> _Place:
    """The place with its lines fitted, from as they are and from guesses."""
    best, least = _fitted_together(place, place.start, rim, pen)
    for _ in range(_ROUNDS):
        if place.explained(least):
            break
        before = least
        for guess in _guesses(replace(place, start=best), pen, px_per_mm):
            y_px, cost = _fitted_together(place, guess, rim, pen)
            if cost < least:
                best, least = y_px, cost
            if place.explained(least):
                break
        if least > _BETTER * before:
            break
    return replace(place, start=best, cost=least)


def _like_others(
    place: _Place, places: Sequence[_Place], rim: Rim, pen: Pen, px_per_mm: float
) -> _Place:
    """The place with lines like those of other places of the same rows, where that is better."""
    if place.explained(place.cost):
        return place
    columns = place.stop - place.first
    others = []
    for other in places:
        if other is place or other.moving != place.moving or other.cost > place.cost:
            continue
        for shift in range(-_SHIFTS_PX, _SHIFTS_PX + 1):
            at = np.clip(np.arange(columns) + shift, 0, other.stop - other.first - 1)
            shape = _columns(other.start)[:, at]
            ends = _columns(place.start)[:, [0, -1]] - shape[:, [0, -1]]
            others.append(shape + np.linspace(ends[:, 0], ends[:, 1], columns, axis=1))
    if not others:
        return place
    best, least = place.start, place.cost
    for guess in _guesses(place, pen, px_per_mm, others)[:_TRANSFERRED]:
        y_px, cost = _fitted_together(place, guess, rim, pen)
        if cost < least:
            best, least = y_px, cost
    return replace(place, start=best, cost=least)


def _guesses(
    place: _Place, pen: Pen, px_per_mm: float, others: Sequence[Floats] = ()
) -> list[Floats]:
    """Lines (k, m) from guesses which ink is whose."""
    columns = _columns(place.start)
    x = (np.arange(place.start.shape[1]) + 0.5) / NODES_PER_PX
    at = np.arange(columns.shape[1]) + 0.5

    def render(shape: Floats) -> Floats:
        return _rest([np.interp(x, at, shape)], place.seen.shape, pen)

    found = best_shapes(place.seen, place.rest, columns, pen.width_px, px_per_mm, render, others)
    guesses = []
    for shapes in found:
        lines = np.stack([np.interp(x, at, shape) for shape in shapes])
        # What was not changed keeps its nodes.
        same = (shapes == columns).all(axis=1)
        if not same.all():
            guesses.append(np.where(same[:, None], place.start, lines))
    return guesses


def _columns(nodes: Floats) -> Floats:
    """(k, n): lines (k, m) in the middle of each column."""
    k, m = nodes.shape
    result: Floats = nodes.reshape(k, m // NODES_PER_PX, NODES_PER_PX).mean(axis=2)
    return result


def _places(
    dark: NDArray[np.float32],
    inks: Sequence[ColumnInk],
    lines: Sequence[Line],
    pen: Pen,
    px_per_mm: float,
) -> list[_Place]:
    """Where the lines of some rows meet; the others' ink there is taken as drawn."""
    hidden = np.stack([ink.seen & ink.shared for ink in inks])
    around = round(_AROUND_MM * px_per_mm)
    meet = np.convolve(hidden.any(axis=0), np.ones(2 * around + 1), "same") > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], meet.astype(np.int8), [0]])))
    places = []
    for first, stop in zip(edges[0::2], edges[1::2], strict=True):
        moving = tuple(int(r) for r in np.flatnonzero(hidden[:, first:stop].any(axis=1)))
        nodes = slice(first * NODES_PER_PX, stop * NODES_PER_PX)
        parts = [line.y_px[nodes] for line in lines]
        known = all(np.isfinite(parts[row]).all() for row in moving)
        if len(moving) < 2 or not known or stop - first > _WIDEST_MM * px_per_mm:
            continue
        margin = round(_ABOVE_MM * px_per_mm)
        top = max(0, int(min(parts[row].min() for row in moving)) - margin)
        bottom = min(len(dark), int(max(parts[row].max() for row in moving)) + margin)
        column = int(inks[0].columns[first])
        part = dark[top:bottom, column : column + int(stop - first)]
        seen = np.minimum(part / pen.darkness, 1.0).astype(np.float64)
        still = [p - top for r, p in enumerate(parts) if r not in moving and np.isfinite(p).all()]
        start = np.stack([parts[row] for row in moving]) - top
        rest = _rest(still, seen.shape, pen)
        places.append(_Place(int(first), int(stop), top, moving, seen, rest, start))
    return places


def _rest(lines: Sequence[Floats], shape: tuple[int, int], pen: Pen) -> Floats:
    """(h, w) from 0 to 1: what the pen draws of the lines that stay as they are."""
    rest = np.zeros(shape)
    if lines:
        draw(np.stack(lines), _sharp_px(pen), *_numbers(rim_of(pen)), rest)
    return rest


def _sharp_px(pen: Pen) -> float:
    return float(np.hypot(pen.blur_px, 12**-0.5))


def _numbers(rim: Rim) -> tuple[Ints, Floats, Floats, Ints, Floats]:
    return rim.whole, rim.share, rim.drop, rim.steps, rim.weights


def _fitted_together(place: _Place, start: Floats, rim: Rim, pen: Pen) -> tuple[Floats, float]:
    """(k, m): the lines fitted from `start` on, and what they cost.

    Where that explains the pixels no better than `place.start`, they are that.
    """
    rows, nodes = place.start.shape
    held = np.zeros(nodes, bool)
    held[: rim.width], held[-rim.width :] = True, True
    bands = np.empty((rows * nodes, rows * max(rim.width + 1, 3)))
    pull = np.empty(rows * nodes)

    def cost_of(y: Floats, blur_px: float = 0.0) -> float:
        seen, rest = place.blurred(blur_px)
        sigma = float(np.hypot(_sharp_px(pen), blur_px))
        # Blurred pixels say nearly what their neighbours say.
        every = max(1, int(blur_px))
        cost: float = equations(seen, rest, every, y, held, sigma, *_numbers(rim), bands, pull)
        return cost

    y = start.copy()
    for blur_px, rounds in _BLURS_PX:
        for _ in range(rounds):
            cost_of(y, blur_px)
            step = (
                solveh_banded(bands.T, pull, lower=True, check_finite=False).reshape(nodes, rows).T
            )
            y = y + np.clip(step, -_MOST_STEP_PX, _MOST_STEP_PX)
            if np.abs(step).max() < _SETTLED_PX:
                break
    cost, before = cost_of(y), cost_of(place.start)
    return (y, cost) if cost < before else (place.start, before)
