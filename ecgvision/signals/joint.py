"""What the pen draws of several lines in one place, and how its pixels follow the lines.

Compiled: the inner part of `crossings`, which looks at every pixel many times.
"""

from __future__ import annotations

import math

import numpy as np

from ecgvision.compiled import compiled
from ecgvision.signals.fit import NODES_PER_PX, add_bends, pen_ends

# Standard error of a pixel, and where larger misfits count less (shares of the pen's darkness).
_PIXEL, _ODD = 0.06, 0.5
# So far, in standard deviations of the blur, an end of the ink is seen.
_REACH = 3.5
_ROOT_2_PI = math.sqrt(2 * math.pi)
_HELD = 1e8


@compiled
def equations(  # type: ignore[no-untyped-def]
    seen, rest, every, y, held, sigma, whole, share, drop, steps, weights, bands, pull
):
    """One round's normal equations: their bands into `bands`, the right side into `pull`.

    Node j of line r is the unknown j * k + r. Of the pixels of a column every so-many-th counts.
    Returns the cost of the lines as they are.
    """
    rows, nodes = y.shape
    height, columns = seen.shape
    ends = np.empty((rows, 2, nodes))
    touch = np.empty((rows, 2, nodes), np.int64)
    for r in range(rows):
        pen_ends(y[r], whole, share, drop, ends[r], touch[r])
    pull[:] = 0.0
    bands[:] = 0.0
    bands[:, 0] = 1.0
    cost = 0.0
    drawn, near = np.empty((rows, height)), np.empty((rows, 4))
    slope = np.zeros(rows * nodes)
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        # The unknowns that this column depends on.
        low = min(max(middle + steps[0] + whole[0], 0), nodes - 1) * rows
        high = (min(max(middle + steps[-1] + whole[-1] + 1, 0), nodes - 1) + 1) * rows
        for r in range(rows):
            _draw_column(ends[r], middle, sigma, steps, weights, drawn[r])
            _bracket(ends[r], middle, sigma, steps, near[r])
        for p in range(0, height, every):
            paper = 1.0 - rest[p, i]
            for r in range(rows):
                paper *= 1.0 - drawn[r, p]
            off = seen[p, i] - (1.0 - paper)
            if off == 0.0 and paper == 1.0:
                continue
            odd = 1 + (off / _ODD) ** 2
            cost += 0.5 * every * (_ODD / _PIXEL) ** 2 * np.log(odd)
            trust = every / (_PIXEL**2 * odd)
            if _slopes(p, middle, drawn[:, p], rest[p, i], ends, touch, near, sigma,
                       whole, share, steps, weights, slope):  # fmt: skip
                _add(low, high, trust, off, slope, bands, pull)
    for r in range(rows):
        cost += add_bends(y[r], bands, pull, rows, r)
    for j in range(nodes):
        if held[j]:
            for r in range(rows):
                bands[j * rows + r, 0] += _HELD
    return cost


@compiled
def _slopes(  # type: ignore[no-untyped-def]
    p, middle, drawn, rest, ends, touch, near, sigma, whole, share, steps, weights, slope
):
    """How one pixel of the drawing follows the nodes, into `slope`; whether it does at all."""
    rows, nodes, touched = len(drawn), ends.shape[2], False
    for r in range(rows):
        others = 1.0 - rest
        for other in range(rows):
            if other != r:
                others *= 1.0 - drawn[other]
        if others < 1e-3 or _is_inside(p, near[r]):
            continue
        for v in range(len(steps)):
            j = min(max(middle + steps[v], 0), nodes - 1)
            for end in range(2):
                z = (p + 0.5 - ends[r, end, j]) / sigma
                if abs(z) > _REACH:
                    continue
                value = weights[v] * others * math.exp(-0.5 * z * z) / (sigma * _ROOT_2_PI)
                if end == 0:
                    value = -value
                k = touch[r, end, j]
                a = min(max(j + whole[k], 0), nodes - 1)
                b = min(max(j + whole[k] + 1, 0), nodes - 1)
                slope[a * rows + r] += value * (1 - share[k])
                slope[b * rows + r] += value * share[k]
                touched = True
    return touched


@compiled
def _add(low, high, trust, off, slope, bands, pull):  # type: ignore[no-untyped-def]
    """Adds one pixel to the equations of the unknowns from `low` to `high`; clears `slope`."""
    for a in range(low, high):
        if slope[a] == 0.0:
            continue
        pull[a] += trust * off * slope[a]
        share_a = trust * slope[a]
        for b in range(a, high):
            bands[a, b - a] += share_a * slope[b]
    slope[low:high] = 0.0


@compiled
def _bracket(ends, middle, sigma, steps, near):  # type: ignore[no-untyped-def]
    """Between which rows a column's ink begins, and between which it ends, into `near`, (4,)."""
    near[0], near[1], near[2], near[3] = 1e300, -1e300, 1e300, -1e300
    for v in range(len(steps)):
        j = min(max(middle + steps[v], 0), ends.shape[1] - 1)
        for end in range(2):
            near[2 * end] = min(near[2 * end], ends[end, j] - _REACH * sigma)
            near[2 * end + 1] = max(near[2 * end + 1], ends[end, j] + _REACH * sigma)


@compiled
def _is_inside(p, near):  # type: ignore[no-untyped-def]
    """Whether a pixel lies near neither end."""
    y = p + 0.5
    return not (near[0] <= y <= near[1] or near[2] <= y <= near[3])


@compiled
def draw(y, sigma, whole, share, drop, steps, weights, image):  # type: ignore[no-untyped-def]
    """What the pen draws of all the lines, (h, w) from 0 to 1, into `image`."""
    ends = np.empty((2, y.shape[1]))
    touch = np.empty((2, y.shape[1]), np.int64)
    drawn = np.empty(len(image))
    for r in range(len(y)):
        pen_ends(y[r], whole, share, drop, ends, touch)
        for i in range(image.shape[1]):
            _draw_column(ends, i * NODES_PER_PX + NODES_PER_PX // 2, sigma, steps, weights, drawn)
            for p in range(len(image)):
                image[p, i] = 1 - (1 - image[p, i]) * (1 - drawn[p])


@compiled
def _draw_column(ends, middle, sigma, steps, weights, drawn):  # type: ignore[no-untyped-def]
    """One column of one line, from the pen's ends at its nodes, (h,) from 0 to 1."""
    height, reach = len(drawn), _REACH * sigma
    drawn[:] = 0.0
    # Below an end all is inked, or paper: it is added where that begins, and summed up at last.
    below = np.zeros(height + 1)
    for v in range(len(steps)):
        j = min(max(middle + steps[v], 0), ends.shape[1] - 1)
        for end in range(2):
            sign = weights[v] if end == 0 else -weights[v]
            edge = ends[end, j]
            low = int(min(max(edge - reach, 0), height))
            high = int(min(max(edge + reach + 1, 0), height))
            for p in range(low, high):
                drawn[p] += sign * _normal((p + 0.5 - edge) / sigma)
            below[high] += sign
    above = 0.0
    for p in range(height):
        above += below[p]
        drawn[p] = min(max(drawn[p] + above, 0.0), 1.0)


@compiled
def _normal(z):  # type: ignore[no-untyped-def]
    """The normal distribution's share below z."""
    return 0.5 * (1 + math.erf(z * 0.7071067811865476))
