"""Places where rows meet: what is seen there, and the fit of all their lines together to it.

Gauss-Newton on every pixel of the place, first on both pictures blurred, so that a tip that was cut
short is pulled to where the ink ends. The smoothness is that of `fit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d

from ecgvision.runs import true_runs
from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.exchanges import turns
from ecgvision.signals.fit import Line, Rim, rim_of
from ecgvision.signals.joint import cost_alone, cost_of, draw, equations
from ecgvision.signals.pen import Pen
from ecgvision.signals.settle import NODES_PER_PX

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
# Each turn of a line costs as much as some nine pixels that are all wrong. Misfits are not
# independent from pixel to pixel: without this, odd turns that mend a few of them would win.
_TURN = 500.0
# A pixel this dark is ink.
_INK = 0.5


@dataclass(frozen=True)
class View:
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
class Place:
    """A part of the page where rows meet: columns `first` to `stop` of the inks, rows of pixels.

    `seen` is (h, w) from 0 to 1. `moving` are the rows whose lines meet here, `rest` (h, w) the ink
    that the other lines draw, `start` (k, m) the moving rows' lines as they are, in px from
    `top`, and `cost` what they cost. `views` are the place as it is looked at in turn, `pen` is
    the page's, seen by its `rim`, and `inked` how many pixels are ink.
    """

    first: int
    stop: int
    top: int
    moving: tuple[int, ...]
    seen: Floats
    rest: Floats
    start: Floats
    pen: Pen
    rim: Rim = field(repr=False)
    views: tuple[View, ...] = field(repr=False)
    inked: int
    cost: float = np.inf

    @property
    def cost_per_ink(self) -> float:
        """What the lines cost for each pixel of ink."""
        return self.cost / max(self.inked, 1)

    @property
    def explained(self) -> bool:
        """Whether the lines leave nothing to look for."""
        return self.cost_per_ink <= _EXPLAINED

    def as_it_is(self) -> Place:
        """The place with the cost of its lines as they are."""
        return replace(self, cost=self._cost(self.views[-1], self.start))

    def tried(self, lines: Floats) -> Place:
        """The place with the lines fitted from `lines` (k, m) on, if those cost less."""
        work, y = _Equations.of(self), lines
        for view in self.views:
            for _ in range(view.rounds):
                step = work.step(view, y)
                y = y + np.clip(step, -_MOST_STEP_PX, _MOST_STEP_PX)
                if np.abs(step).max() < _SETTLED_PX:
                    break
        cost = self._cost(self.views[-1], y)
        return replace(self, start=y, cost=cost) if cost < self.cost else self

    def after_a_step(self, lines: Floats) -> tuple[float, Floats]:
        """What lines (k, m) cost after one step of the fit, and that they are then."""
        view = self.views[-1]
        step = _Equations.of(self).step(view, lines)
        y = lines + np.clip(step, -_MOST_STEP_PX, _MOST_STEP_PX)
        return self._cost(view, y), y

    def glance(self, lines: Floats) -> float:
        """What lines (k, m) cost in the most blurred view: enough to compare their places."""
        return self._cost(self.views[0], lines)

    def _cost(self, view: View, lines: Floats) -> float:
        y = np.ascontiguousarray(lines)
        sigma = float(np.hypot(self.pen.sharp_px, view.blur_px))
        ink: float = cost_of(
            view.seen, view.rest, view.alone, view.every, y, sigma, *self.rim.numbers
        )
        bent: int = turns(y, self.pen.width_px)
        return ink + _TURN * bent


def places_of(
    dark: NDArray[np.float32],
    inks: Sequence[ColumnInk],
    lines: Sequence[Line],
    pen: Pen,
    px_per_mm: float,
) -> list[Place]:
    """Where the lines of some rows meet; the others' ink there is taken as drawn."""
    hidden = np.stack([ink.seen & ink.shared for ink in inks])
    around = round(_AROUND_MM * px_per_mm)
    meet = np.convolve(hidden.any(axis=0), np.ones(2 * around + 1), "same") > 0.5
    places, rim = [], rim_of(pen)
    for first, stop in true_runs(meet):
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
        part = dark[top:bottom, column : column + stop - first]
        seen = np.minimum(part / pen.darkness, 1.0).astype(np.float64)
        still = [p - top for r, p in enumerate(parts) if r not in moving and np.isfinite(p).all()]
        start = np.stack([parts[row] for row in moving]) - top
        rest = _rest(still, seen.shape, pen)
        places.append(
            Place(
                first, stop, top, moving, seen, rest, start, pen, rim,
                _views(seen, rest), int(np.count_nonzero(seen > _INK)),
            )
        )  # fmt: skip
    return places


def _views(seen: Floats, rest: Floats) -> tuple[View, ...]:
    """The pictures from the most blurred one to that which is not."""
    views = []
    for blur_px, rounds in _BLURS_PX:
        every = max(1, int(blur_px))
        soft, still = (
            gaussian_filter1d(image, blur_px, axis=0) if blur_px else image
            for image in (seen, rest)
        )
        alone = cost_alone(soft, still, every)
        # Compiled loops go down the columns.
        columns = np.asfortranarray(soft), np.asfortranarray(still)
        views.append(View(blur_px, rounds, every, *columns, alone))
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

    pen: Pen
    rim: Rim
    held: Bools
    bands: Floats
    pull: Floats

    @classmethod
    def of(cls, place: Place) -> _Equations:
        (rows, nodes), rim = place.start.shape, place.rim
        held = np.zeros(nodes, bool)
        held[: rim.width], held[-rim.width :] = True, True
        bands = np.empty((rows * nodes, rows * (rim.width + 1)))
        return cls(place.pen, rim, held, bands, np.empty(rows * nodes))

    def step(self, view: View, lines: Floats) -> Floats:
        """(k, m): where to the lines (k, m) are to be moved, as seen in a view."""
        rows, y = len(lines), np.ascontiguousarray(lines)
        sigma = float(np.hypot(self.pen.sharp_px, view.blur_px))
        equations(
            view.seen, view.rest, view.alone, view.every, y, self.held, sigma,
            *self.rim.numbers, self.bands, self.pull,
        )  # fmt: skip
        step = solveh_banded(
            self.bands.T, self.pull, overwrite_ab=True, lower=True, check_finite=False
        )
        result: Floats = step.reshape(-1, rows).T
        return result
