"""Lines that took each other's way: pieces to exchange between them, and how often they turn.

Two lines that meet twice can have exchanged what lies between, and the ink hardly says so: it is
the same strokes in another order. What tells is how the strokes join. Right lines run straight on
through each other, wrong ones turn back where they meet, so of two explanations of the same ink the
one with fewer turns is the likelier.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.compiled import compiled
from ecgvision.runs import true_runs
from ecgvision.signals.settle import NODES_PER_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Lines that stay together for longer than so many pens part twice: where that begins and ends.
_LONG_PENS = 3.0
# Meetings this close (nodes) are one. An exchange may add so many turns: the fit can smooth them.
_SAME_NODES, _MORE_TURNS = 2, 2


@compiled
def turns(y, least):  # type: ignore[no-untyped-def]
    """How often lines (k, m) turn up or down again, by more than `least`, all together."""
    total = 0
    for r in range(y.shape[0]):
        low = high = y[r, 0]
        way = 0
        for j in range(1, y.shape[1]):
            high, low = max(high, y[r, j]), min(low, y[r, j])
            if way >= 0 and high - y[r, j] > least:
                total += way
                way, low = -1, y[r, j]
            elif way <= 0 and y[r, j] - low > least:
                total -= way
                way, high = 1, y[r, j]
    return total


def exchanges(y: Floats, pen_px: float, margin: int) -> Iterator[Floats]:
    """Lines (k, m) with what lies between two meetings of a pair of them exchanged, one by one.

    Not those that turn much more often. Within `margin` nodes of either end nothing is exchanged.
    """
    most = turns(y, pen_px) + _MORE_TURNS
    for a, b in combinations(range(len(y)), 2):
        for start, stop in combinations(_meetings(y[a], y[b], pen_px, margin), 2):
            lines = y.copy()
            lines[a, start:stop], lines[b, start:stop] = y[b, start:stop], y[a, start:stop]
            if turns(lines, pen_px) <= most:
                yield lines


def _meetings(one: Floats, other: Floats, pen_px: float, margin: int) -> list[int]:
    """The nodes where two lines (m,) are less than a pen apart: of each such part the nearest."""
    found: set[int] = set()
    for line, beside in ((one, other), (other, one)):
        distance = _distances(line, beside, int(np.ceil(pen_px * NODES_PER_PX)))
        for first, stop in true_runs(distance < pen_px):
            if stop - first > _LONG_PENS * pen_px * NODES_PER_PX:
                inside = round(pen_px)
                found.update((first + inside, stop - 1 - inside))
            else:
                found.add(first + int(np.argmin(distance[first:stop])))
    kept: list[int] = []
    for node in sorted(found):
        inside_ends = margin <= node < len(one) - margin
        if inside_ends and (not kept or node - kept[-1] > _SAME_NODES):
            kept.append(node)
    return kept


@compiled
def _distances(line, other, reach):  # type: ignore[no-untyped-def]
    """(m,): how far (px) each node is from the other line, looking `reach` nodes to each side."""
    nodes, step = len(line), 1.0 / NODES_PER_PX
    nearest = np.empty(nodes)
    for j in range(nodes):
        best = 1e300
        for first in range(max(j - reach, 0), min(j + reach, nodes - 1)):
            x, y = (first - j) * step, other[first] - line[j]
            rise = other[first + 1] - other[first]
            along = -(x * step + y * rise) / (step * step + rise * rise)
            along = min(max(along, 0.0), 1.0)
            best = min(best, (x + along * step) ** 2 + (y + along * rise) ** 2)
        nearest[j] = np.sqrt(best)
    return nearest
