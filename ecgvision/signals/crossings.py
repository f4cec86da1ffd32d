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
from ecgvision.signals.joint import cost_alone, draw, equations
from ecgvision.signals.pairs import nodes_of
from ecgvision.signals.pen import Pen
from ecgvision.signals.spikes import best_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

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
class _View:
    """A place blurred by `blur_px` up and down: (h, w) `seen` and `rest`, and their `cost_alone`.

    Of its pixels every so-many-th counts: blurred ones say nearly what their neighbours say.
    """

    blur_px: float
    rounds: int
    every: int
    seen: Floats
    rest: Floats
    alone: Floats


@dataclass(frozen=True)
class _Place:
    """A part of the page where rows meet: columns `first` to `stop` of the inks, rows of pixels.

    `seen` is (h, w) from 0 to 1. `moving` are the rows whose lines meet here, `rest` (h, w) the ink
    that the other lines draw, `start` (k, m) the moving rows' lines as they are, in px from
    `top`, and `cost` what they cost. `views` are the place as it is looked at in turn.
    """

    first: int
    stop: int
    top: int
    moving: tuple[int, ...]
    seen: Floats
    rest: Floats
    start: Floats
    views: tuple[_View, ...]
    cost: float = np.inf

    def explained(self, cost: float) -> bool:
        """Whether lines that cost this leave nothing to look for."""
        return cost <= _EXPLAINED * float(np.count_nonzero(self.seen > _INK))


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
    tried: dict[int, list[_Place]] = {}
    for _ in range(_ROUNDS):
        costs = [place.cost for place in places]
        for at in np.argsort(costs):
            place = places[at]
            models = _models(place, places)
            # From the same places comes the same result.
            if models and not _are_same([place, *models], tried.get(at, [])):
                places[at] = _like_others(place, models, rim, pen, px_per_mm)
                tried[at] = [place, *models]
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
    best = place.start
    least = _Equations.of(best, rim).cost(place.views[-1], best, rim, pen)
    y_px, cost = _fitted_together(place, best, rim, pen)
    if cost < least:
        best, least = y_px, cost
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


def _models(place: _Place, places: Sequence[_Place]) -> list[_Place]:
    """The places of the same rows that are explained better, if this one is not explained."""
    if place.explained(place.cost):
        return []
    return [
        other
        for other in places
        if other is not place and other.moving == place.moving and other.cost <= place.cost
    ]


def _are_same(some: Sequence[_Place], others: Sequence[_Place]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _like_others(
    place: _Place, models: Sequence[_Place], rim: Rim, pen: Pen, px_per_mm: float
) -> _Place:
    """The place with lines like those of `models`, where that is better."""
    columns = place.stop - place.first
    others = []
    for other in models:
        for shift in range(-_SHIFTS_PX, _SHIFTS_PX + 1):
            at = np.clip(np.arange(columns) + shift, 0, other.stop - other.first - 1)
            shape = _columns(other.start)[:, at]
            ends = _columns(place.start)[:, [0, -1]] - shape[:, [0, -1]]
            others.append(shape + np.linspace(ends[:, 0], ends[:, 1], columns, axis=1))
    best, least = place.start, place.cost
    for guess in _guesses(place, pen, px_per_mm, others)[:_TRANSFERRED]:
        y_px, cost = _fitted_together(place, guess, rim, pen)
        if cost < least:
            best, least = y_px, cost
    return replace(place, start=best, cost=least) if least < place.cost else place


def _guesses(
    place: _Place, pen: Pen, px_per_mm: float, others: Sequence[Floats] = ()
) -> list[Floats]:
    """Lines (k, m) from guesses which ink is whose."""
    columns = _columns(place.start)
    found = best_shapes(place.seen, place.rest, columns, pen, px_per_mm, others)
    guesses = []
    for shapes in found:
        lines = nodes_of(shapes)
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
        views = _views(seen, rest)
        places.append(_Place(int(first), int(stop), top, moving, seen, rest, start, views))
    return places


def _views(seen: Floats, rest: Floats) -> tuple[_View, ...]:
    """The pictures from the most blurred one to that which is not."""
    views = []
    for blur_px, rounds in _BLURS_PX:
        every = max(1, int(blur_px))
        soft, still = (
            gaussian_filter1d(image, blur_px, axis=0) if blur_px else image
            for image in (seen, rest)
        )
        alone = cost_alone(soft, still, every)
        views.append(_View(blur_px, rounds, every, soft, still, alone))
    return tuple(views)


def _rest(lines: Sequence[Floats], shape: tuple[int, int], pen: Pen) -> Floats:
    """(h, w) from 0 to 1: what the pen draws of the lines that stay as they are."""
    rest = np.zeros(shape)
    if lines:
        draw(np.stack(lines), pen.sharp_px, *rim_of(pen).numbers, rest)
    return rest


@dataclass(frozen=True)
class _Equations:
    """The equations of k lines of m nodes, of which the ends are `held`; made anew each time."""

    held: Bools
    bands: Floats
    pull: Floats

    @classmethod
    def of(cls, lines: Floats, rim: Rim) -> _Equations:
        rows, nodes = lines.shape
        held = np.zeros(nodes, bool)
        held[: rim.width], held[-rim.width :] = True, True
        bands = np.empty((rows * nodes, rows * max(rim.width + 1, 3)))
        return cls(held, bands, np.empty(rows * nodes))

    def cost(self, view: _View, y: Floats, rim: Rim, pen: Pen) -> float:
        """What the lines cost in a view; sets the equations up for the next step."""
        sigma = float(np.hypot(pen.sharp_px, view.blur_px))
        cost: float = equations(
            view.seen, view.rest, view.alone, view.every, y, self.held, sigma,
            *rim.numbers, self.bands, self.pull,
        )  # fmt: skip
        return cost

    def step(self) -> Floats:
        """(k, m): where to the lines are to be moved."""
        rows = len(self.pull) // len(self.held)
        step = solveh_banded(self.bands.T, self.pull, lower=True, check_finite=False)
        result: Floats = step.reshape(-1, rows).T
        return result


def _fitted_together(place: _Place, start: Floats, rim: Rim, pen: Pen) -> tuple[Floats, float]:
    """(k, m): the lines fitted from `start` on, and what they cost."""
    work, y = _Equations.of(start, rim), start
    for view in place.views:
        for _ in range(view.rounds):
            work.cost(view, y, rim, pen)
            step = work.step()
            y = y + np.clip(step, -_MOST_STEP_PX, _MOST_STEP_PX)
            if np.abs(step).max() < _SETTLED_PX:
                break
    return y, work.cost(place.views[-1], y, rim, pen)
