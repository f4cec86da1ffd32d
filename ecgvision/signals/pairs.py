"""Which shapes of two rows' lines together explain a place's pixels best, of all pairs of shapes.

A shape inks few of a place's pixels. So it is kept as a list of them, and pairs are compared with
the page only where both ink: that is hundreds of times quicker than whole pictures. Compiled: a
place has some ten thousand pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.compiled import compiled
from ecgvision.signals.fit import rim_of
from ecgvision.signals.joint import draw_column, reach_of
from ecgvision.signals.pen import Pen
from ecgvision.signals.settle import NODES_PER_PX, pen_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Heights are looked at so coarsely (px), more is not needed to tell shapes apart.
_COARSE_PX = 3
# What a guess costs that is not the line as it was, in pixels.
_GUESS = 3.0
# More rounds over all pairs than this change nothing; so many of each pair's best are kept.
_ROUNDS, _KEPT = 3, 9
# Rows further apart than this hardly reach each other: what they share is settled row by row.
_FURTHEST = 2


@dataclass(frozen=True)
class Inked:
    """Which blocks of pixels each of k shapes inks, from 0 to 1.

    Block b is inked by the shapes `shape[first[b] : first[b + 1]]`, each by its `ink`. Blocks are
    `_COARSE_PX` high, counted down each column in turn.
    """

    shapes: int
    first: Ints
    shape: Ints
    ink: Floats

    def paper(self, shape: int) -> Floats:
        """What one of the shapes leaves white of each block."""
        left = np.ones(len(self.first) - 1)
        own = self.shape == shape
        left[np.repeat(np.arange(len(left)), np.diff(self.first))[own]] -= self.ink[own]
        return left


def nodes_of(shapes: Floats) -> Floats:
    """(k, m): lines (k, n), known in the middle of each column, at the nodes of the fit."""
    n = shapes.shape[1]
    x = np.clip((np.arange(n * NODES_PER_PX) + 0.5) / NODES_PER_PX - 0.5, 0, n - 1)
    left = np.floor(x).astype(np.int64)
    right, share = np.minimum(left + 1, n - 1), x - left
    result: Floats = shapes[:, left] + share * (shapes[:, right] - shapes[:, left])
    return result


def inked(shapes: Floats, height: int, pen: Pen) -> Inked:
    """The shapes (k, n), as the pen draws them on columns of `height` pixels."""
    lists = _lists(nodes_of(shapes), height, pen.sharp_px, *rim_of(pen).numbers)
    return Inked(len(shapes), *lists)


def coarse(image: Floats) -> Floats:
    """An image (h, n) by the blocks of `Inked`."""
    high = len(image) // _COARSE_PX * _COARSE_PX
    blocks = image[:high].reshape(-1, _COARSE_PX, image.shape[1]).mean(axis=1)
    result: Floats = blocks.T.ravel()
    return result


def best_pairs(
    rows: Sequence[Inked], seen: Floats, rest: Floats
) -> tuple[list[int], list[tuple[float, list[int]]]]:
    """The shape of each row, and others by how much worse they are; each row's first is its line.

    `seen` and `rest` are the paper of the page and that of the lines that stay, by blocks.
    """
    chosen = [0] * len(rows)
    left = [row.paper(0) for row in rows]
    # A pair's misfits change only with what the other rows leave.
    known: dict[tuple[int, ...], Floats] = {}
    near = [(a, b) for a, b in combinations(range(len(rows)), 2) if b - a <= _FURTHEST]
    for _ in range(_ROUNDS):
        before, worse = list(chosen), []
        for a, b in near:
            others = [row for row in range(len(rows)) if row not in (a, b)]
            key = (a, b, *(chosen[row] for row in others))
            if key not in known:
                still = np.prod([rest, *(left[row] for row in others)], axis=0)
                known[key] = misfits(rows[a], rows[b], still, seen)
                known[key][1:] += _GUESS
                known[key][:, 1:] += _GUESS
            off = known[key]
            order = np.argpartition(off, min(_KEPT, off.size) - 1, axis=None)[:_KEPT]
            order = order[np.argsort(off.flat[order], kind="stable")]
            first = np.unravel_index(int(order[0]), off.shape)
            if off[first] < off[chosen[a], chosen[b]]:
                chosen[a], chosen[b] = int(first[0]), int(first[1])
                left[a], left[b] = rows[a].paper(chosen[a]), rows[b].paper(chosen[b])
            for one, two in zip(*np.unravel_index(order, off.shape), strict=True):
                pick = list(chosen)
                pick[a], pick[b] = int(one), int(two)
                worse.append((float(off[one, two] - off[first]), pick))
        if chosen == before:
            break
    return chosen, worse


def misfits(one: Inked, other: Inked, still: Floats, seen: Floats) -> Floats:
    """(a, b): the squares of the page's paper less what each two shapes leave of `still`, in px.

    Where pens overlap, what they leave is the product: (1 - ink of one) (1 - ink of other).
    """
    alone = float(np.sum((still - seen) ** 2))
    more = [_more(row.shapes, row.first, row.shape, row.ink, still, seen) for row in (one, other)]
    both = np.zeros((one.shapes, other.shapes))
    _add_both(one.first, one.shape, one.ink, other.first, other.shape, other.ink, still, seen, both)
    result: Floats = _COARSE_PX * (alone + more[0][:, None] + more[1] + both)
    return result


@compiled
def _more(shapes, first, shape, ink, still, seen):  # type: ignore[no-untyped-def]
    """(k,): by how much each shape by itself changes the squares."""
    more = np.zeros(shapes)
    for b in range(len(first) - 1):
        bare = (still[b] - seen[b]) ** 2
        for at in range(first[b], first[b + 1]):
            more[shape[at]] += (still[b] * (1 - ink[at]) - seen[b]) ** 2 - bare
    return more


@compiled
def _add_both(  # type: ignore[no-untyped-def]
    first, shape, ink, first_2, shape_2, ink_2, still, seen, both
):
    """Adds to (a, b) `both` what two shapes change that each by itself does not.

    That is (still p q - seen)^2 - (still p - seen)^2 - (still q - seen)^2 + (still - seen)^2, where
    p and q are the paper the shapes leave.
    """
    # Of one block the ink of all second shapes: many at a time are quicker than those that ink it.
    two = np.zeros(both.shape[1])
    for b in range(len(first) - 1):
        if first[b] == first[b + 1] or first_2[b] == first_2[b + 1]:
            continue
        two[:] = 0.0
        for at in range(first_2[b], first_2[b + 1]):
            two[shape_2[at]] = ink_2[at]
        square, product = still[b] ** 2, 2 * still[b] * seen[b]
        for at in range(first[b], first[b + 1]):
            one, row = ink[at], both[shape[at]]
            linear, quadratic = one * (2 * square * (2 - one) - product), one * (2 - one) * square
            for s in range(len(two)):
                row[s] += two[s] * (linear - two[s] * quadratic)


@compiled
def _lists(  # type: ignore[no-untyped-def]
    nodes, height, sigma, whole, share, drop, steps, weights
):
    """The lists of `Inked` of lines (k, m)."""
    shapes, m = nodes.shape
    columns, blocks = m // NODES_PER_PX, height // _COARSE_PX
    ends, touch = np.empty((shapes, 2, m)), np.empty((2, m), np.int64)
    size = 0
    for s in range(shapes):
        pen_ends(0, m, nodes[s], whole, share, drop, ends[s], touch)
        for i in range(columns):
            middle = i * NODES_PER_PX + NODES_PER_PX // 2
            low, high = reach_of(ends[s], middle, sigma, steps, height)
            size += max(0, (high - 1) // _COARSE_PX - low // _COARSE_PX + 1)
    first = np.zeros(columns * blocks + 1, np.int64)
    shape, ink = np.empty(size, np.int64), np.empty(size)
    drawn, below = np.empty(height), np.empty(height)
    counts = np.empty(blocks, np.int64)
    shape_of, ink_of = np.empty((blocks, shapes), np.int64), np.empty((blocks, shapes))
    filled = 0
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        counts[:] = 0
        for s in range(shapes):
            low, high = draw_column(ends[s], middle, sigma, steps, weights, 1, drawn, below)
            for b in range(low // _COARSE_PX, min((high - 1) // _COARSE_PX + 1, blocks)):
                total = 0.0
                for p in range(max(low, b * _COARSE_PX), min(high, (b + 1) * _COARSE_PX)):
                    total += drawn[p]
                shape_of[b, counts[b]], ink_of[b, counts[b]] = s, total / _COARSE_PX
                counts[b] += 1
        for b in range(blocks):
            for c in range(counts[b]):
                shape[filled], ink[filled] = shape_of[b, c], ink_of[b, c]
                filled += 1
            first[i * blocks + b + 1] = filled
    return first, shape[:filled], ink[:filled]
