"""What the pen draws of several lines in one place, and how its pixels follow the lines.

Compiled: the inner part of `crossings`, which looks at every pixel many times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.compiled import compiled
from ecgvision.signals.fit import NODES_PER_PX, add_bends, pen_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Standard error of a pixel, and where larger misfits count less (shares of the pen's darkness).
_PIXEL, _ODD = 0.06, 0.5
# So far, in standard deviations of the blur, an end of the ink is seen.
_REACH = 3.5
_ROOT_2_PI = math.sqrt(2 * math.pi)
_HELD = 1e8


def cost_alone(seen: Floats, rest: Floats, every: int) -> Floats:
    """What the pixels cost that no line inks: (w, k), summed up from the first of each column on.

    `seen` is (h, w) from 0 to 1, `rest` what other lines ink of it; every so-many-th pixel counts.
    """
    odd = 1 + ((seen[::every] - rest[::every]) / _ODD) ** 2
    total = np.zeros((odd.shape[1], len(odd) + 1))
    np.cumsum(0.5 * every * (_ODD / _PIXEL) ** 2 * np.log(odd).T, axis=1, out=total[:, 1:])
    return total


@compiled
def equations(  # type: ignore[no-untyped-def]
    seen, rest, alone, every, y, held, sigma, whole, share, drop, steps, weights, bands, pull
):
    """One round's normal equations: their bands into `bands`, the right side into `pull`.

    Node j of line r is the unknown j * k + r. Of the pixels of a column every so-many-th counts;
    `alone` is `cost_alone` of them. Returns the cost of the lines as they are.
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
    drawn, below, here = np.empty((rows, height)), np.empty(height + 1), np.empty(rows)
    reach, near = np.empty((rows, 2), np.int64), np.empty((rows, 4))
    slope, used = np.zeros(rows * nodes), np.empty(rows * nodes, np.int64)
    is_used = np.zeros(rows * nodes, np.bool_)
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        for r in range(rows):
            reach[r] = draw_column(ends[r], middle, sigma, steps, weights, drawn[r], below)
            _bracket(ends[r], middle, sigma, steps, near[r])
        counted = 0
        low, high = _inked(reach, 0, height)
        while low < high:
            # Pixels from `counted` on that no line inks, then those that one does.
            first, stop = (low + every - 1) // every, (high + every - 1) // every
            cost += alone[i, first] - alone[i, counted]
            counted = stop
            for p in range(first * every, high, every):
                paper = 1.0 - rest[p, i]
                for r in range(rows):
                    here[r] = drawn[r, p] if reach[r, 0] <= p < reach[r, 1] else 0.0
                    paper *= 1.0 - here[r]
                off = seen[p, i] - (1.0 - paper)
                odd = 1 + (off / _ODD) ** 2
                cost += 0.5 * every * (_ODD / _PIXEL) ** 2 * np.log(odd)
                trust = every / (_PIXEL**2 * odd)
                count = _slopes(p, middle, here, rest[p, i], ends, touch, near, sigma,
                                whole, share, steps, weights, slope, used, is_used)  # fmt: skip
                _add(trust, off, slope, used, count, is_used, bands, pull)
            low, high = _inked(reach, high, height)
        cost += alone[i, alone.shape[1] - 1] - alone[i, counted]
    for r in range(rows):
        cost += add_bends(y[r], bands, pull, rows, r)
    for j in range(nodes):
        if held[j]:
            for r in range(rows):
                bands[j * rows + r, 0] += _HELD
    return cost


@compiled
def _inked(reach, start, height):  # type: ignore[no-untyped-def]
    """The next stretch of a column, from `start` on, that lines reach into without a gap."""
    low = height
    for r in range(len(reach)):
        if reach[r, 1] > max(start, reach[r, 0]):
            low = min(low, max(start, reach[r, 0]))
    high, grown = low, True
    while grown:
        grown = False
        for r in range(len(reach)):
            if reach[r, 0] <= high < reach[r, 1]:
                high, grown = reach[r, 1], True
    return low, high


@compiled
def _slopes(  # type: ignore[no-untyped-def]
    p, middle, drawn, rest, ends, touch, near, sigma, whole, share, steps, weights,
    slope, used, is_used
):  # fmt: skip
    """How one pixel of the drawing follows the nodes, into `slope`.

    Returns on how many unknowns it depends; they are the first of `used`.
    """
    rows, nodes, count = len(drawn), ends.shape[2], 0
    for r in range(rows):
        if _is_inside(p, near[r]):
            continue
        others = 1.0 - rest
        for other in range(rows):
            if other != r:
                others *= 1.0 - drawn[other]
        if others < 1e-3:
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
                for side in range(2):
                    at = min(max(j + whole[k] + side, 0), nodes - 1) * rows + r
                    slope[at] += value * (share[k] if side else 1 - share[k])
                    if not is_used[at]:
                        is_used[at], used[count] = True, at
                        count += 1
    return count


@compiled
def _add(trust, off, slope, used, count, is_used, bands, pull):  # type: ignore[no-untyped-def]
    """Adds one pixel to the equations of the unknowns it depends on; clears their `slope`."""
    for one in range(count):
        a = used[one]
        pull[a] += trust * off * slope[a]
        bands[a, 0] += trust * slope[a] ** 2
        for other in range(one):
            b = used[other]
            bands[min(a, b), abs(a - b)] += trust * slope[a] * slope[b]
    for one in range(count):
        slope[used[one]], is_used[used[one]] = 0.0, False


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
    drawn, below = np.empty(len(image)), np.empty(len(image) + 1)
    for r in range(len(y)):
        pen_ends(y[r], whole, share, drop, ends, touch)
        for i in range(image.shape[1]):
            middle = i * NODES_PER_PX + NODES_PER_PX // 2
            low, high = draw_column(ends, middle, sigma, steps, weights, drawn, below)
            for p in range(low, high):
                image[p, i] = 1 - (1 - image[p, i]) * (1 - drawn[p])


@compiled
def reach_of(ends, middle, sigma, steps, height):  # type: ignore[no-untyped-def]
    """From which pixel on a line inks a column, and the first below that."""
    top, bottom = 1e300, -1e300
    for v in range(len(steps)):
        j = min(max(middle + steps[v], 0), ends.shape[1] - 1)
        top, bottom = min(top, ends[0, j]), max(bottom, ends[1, j])
    low = int(min(max(top - _REACH * sigma, 0), height))
    return low, int(min(max(bottom + _REACH * sigma + 1, 0), height))


@compiled
def draw_column(  # type: ignore[no-untyped-def]
    ends, middle, sigma, steps, weights, drawn, below
):
    """One column of one line, from the pen's ends at its nodes, into (h,) `drawn`, from 0 to 1.

    Gives the first pixel of the line and that below its last; none but these is written. `below`
    (h + 1,) is to work with.
    """
    height, reach = len(drawn), _REACH * sigma
    first, last = reach_of(ends, middle, sigma, steps, height)
    drawn[first:last] = 0.0
    # Below an end all is inked, or paper: it is added where that begins, and summed up at last.
    below[first : last + 1] = 0.0
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
    for p in range(first, last):
        above += below[p]
        drawn[p] = min(max(drawn[p] + above, 0.0), 1.0)
    return first, last


@compiled
def _normal(z):  # type: ignore[no-untyped-def]
    """The normal distribution's share below z."""
    return 0.5 * (1 + math.erf(z * 0.7071067811865476))
