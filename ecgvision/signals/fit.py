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
from scipy.sparse import csr_array, diags_array
from scipy.special import ndtr

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.pen import Pen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NODES_PER_PX = 2
_ROUNDS = 12
_TOUCHES = 13  # places along the pen's rim that are tried
# Standard error of an end of the ink (px), and where larger misfits count less.
_END_PX, _ODD_PX = 0.08, 1.0
# Penalty on second differences (px per px^2): its weight, and the size from which it is let go.
_SMOOTH, _BEND = 3.0, 0.3
# The coarse way's weight where another row hides the ink, against its reach in px.
_WAY_WEIGHT, _WAY_PX = 0.05, 2.0
_MOST_STEP_PX = 8.0


@dataclass(frozen=True)
class Line:
    """The fitted line: `x_px` and `y_px` are (m,), `misfit_px` (n,) per column of the ink."""

    x_px: Floats
    y_px: Floats
    misfit_px: Floats


@dataclass(frozen=True)
class _Geometry:
    """What does not change from round to round.

    Node j of the line touches the rim's place k at `first[j, k]` and the node after it, by
    `share[k]`; `drop[k]` is the rim's height there. Column i sees the nodes `views[i]`, weighted
    by `weights`.
    """

    first: Ints
    second: Ints
    share: Floats
    drop: Floats
    views: Ints
    weights: Floats


def fitted_line(ink: ColumnInk, pen: Pen) -> Line:
    """The line of one row. Where a row has no ink, the line runs straight on."""
    columns = len(ink.columns)
    x = (np.arange(columns * NODES_PER_PX) + 0.5) / NODES_PER_PX
    known = np.isfinite(ink.guess)
    if not known.any():
        nothing = np.full(columns, np.nan)
        return Line(x + ink.columns[0], np.full(len(x), np.nan), nothing)
    y = np.interp(x, np.flatnonzero(known) + 0.5, ink.guess[known])
    geometry = _geometry(columns, pen)
    bends = diags_array(
        [1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(len(x) - 2, len(x)), dtype=np.float64
    ).tocsr()
    bends = bends * float(NODES_PER_PX**2)
    means = csr_array(
        (
            np.full(len(x), 1.0 / NODES_PER_PX),
            (np.arange(len(x)) // NODES_PER_PX, np.arange(len(x))),
        ),
        shape=(columns, len(x)),
    )
    hidden = ink.seen & ink.shared & ~(ink.upper_seen & ink.lower_seen)
    held = np.where(hidden, _WAY_WEIGHT / (ink.way_reach / 2 + _WAY_PX) ** 2, 0.0)
    misfit = np.zeros(2 * columns)
    for _ in range(_ROUNDS):
        misfit, slopes = _compared(y, ink, geometry)
        trust = np.concatenate([ink.upper_seen, ink.lower_seen]) / _END_PX**2
        trust = trust / (1 + (misfit / _ODD_PX) ** 2)
        bend = bends @ y
        stiff = _SMOOTH / (_BEND**2 + bend**2)
        normal = slopes.T @ (slopes * trust[:, None]) + bends.T @ (bends * stiff[:, None])
        normal = normal + means.T @ (means * held[:, None])
        pull = slopes.T @ (trust * misfit) - bends.T @ (stiff * bend)
        pull += means.T @ (held * (ink.way - means @ y))
        y = y + np.clip(_solved(normal, pull), -_MOST_STEP_PX, _MOST_STEP_PX)
    upper, lower = misfit[:columns], misfit[columns:]
    off = np.maximum(np.abs(upper) * ink.upper_seen, np.abs(lower) * ink.lower_seen)
    return Line(x + ink.columns[0], y, np.where(ink.seen, off, np.nan))


def _geometry(columns: int, pen: Pen) -> _Geometry:
    nodes = columns * NODES_PER_PX
    radius = pen.width_px / 2
    angle = np.linspace(-np.pi / 2, np.pi / 2, _TOUCHES)
    place = radius * np.sin(angle) * NODES_PER_PX
    whole = np.floor(place).astype(np.int64)
    node = np.arange(nodes)[:, None]
    half = 0.5 + 2 * pen.blur_px
    steps = np.arange(int(np.floor(-half * NODES_PER_PX)), int(np.ceil(half * NODES_PER_PX)))
    offset = (steps + 0.5) / NODES_PER_PX
    # A pixel's width seen through the blur.
    weights = ndtr((offset + 0.5) / pen.blur_px) - ndtr((offset - 0.5) / pen.blur_px)
    centre = np.arange(columns)[:, None] * NODES_PER_PX + NODES_PER_PX // 2
    return _Geometry(
        first=np.clip(node + whole, 0, nodes - 1),
        second=np.clip(node + whole + 1, 0, nodes - 1),
        share=place - whole,
        drop=radius * np.cos(angle),
        views=np.clip(centre + steps, 0, nodes - 1),
        weights=weights / weights.sum(),
    )


def _compared(y: Floats, ink: ColumnInk, at: _Geometry) -> tuple[Floats, csr_array]:
    """Ink seen minus ink drawn, above then below the splits, and how the latter follows y."""
    rim = y[at.first] * (1 - at.share) + y[at.second] * at.share
    node = np.arange(len(y))
    up = np.argmin(rim - at.drop, axis=1)
    down = np.argmax(rim + at.drop, axis=1)
    top = (rim[node, up] - at.drop[up])[at.views]
    bottom = (rim[node, down] + at.drop[down])[at.views]
    split = ink.split[:, None]
    above = np.maximum(split - top, 0) - np.maximum(split - bottom, 0)
    below = np.maximum(bottom - split, 0) - np.maximum(top - split, 0)
    misfit = np.concatenate([ink.above - above @ at.weights, ink.below - below @ at.weights])
    columns = len(ink.split)
    high, low = top < split, bottom < split
    slopes_top = np.concatenate([-(high * at.weights), -(~high * at.weights)])
    slopes_bottom = np.concatenate([low * at.weights, ~low * at.weights])
    views = np.concatenate([at.views, at.views])
    row = np.broadcast_to(np.arange(2 * columns)[:, None], views.shape).ravel()
    values, where = [], []
    for slope, touch in ((slopes_top, up), (slopes_bottom, down)):
        part = at.share[touch][views]
        values += [(slope * (1 - part)).ravel(), (slope * part).ravel()]
        where += [at.first[node, touch][views].ravel(), at.second[node, touch][views].ravel()]
    slopes = csr_array(
        (np.concatenate(values), (np.tile(row, 4), np.concatenate(where))),
        shape=(2 * columns, len(y)),
    )
    return misfit, slopes


def _solved(normal: csr_array, pull: Floats) -> Floats:
    """The solution of a symmetric banded system."""
    entries = normal.tocoo()
    row, column = entries.coords
    width = int((column - row).max())
    bands = np.zeros((width + 1, len(pull)))
    upper = column >= row
    bands[width + row[upper] - column[upper], column[upper]] = entries.data[upper]
    # A line that no ink holds must not make the system singular.
    bands[width] += 1.0
    result: Floats = solveh_banded(bands, pull, check_finite=False)
    return result
