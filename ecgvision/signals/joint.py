"""What the pen draws of several lines in one place, and how its pixels follow the lines.

Compiled: the inner part of `crossings`, which looks at every pixel many times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from ecgvision.compiled import compiled
from ecgvision.signals.settle import NODES_PER_PX, add_bends, bends_cost, pen_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Standard error of a pixel, and where larger misfits count less (shares of the pen's darkness).
_PIXEL, _ODD = 0.06, 0.5
# So far, in standard deviations of the blur, an end of the ink is seen.
_REACH = 3.5
_ROOT_2_PI = math.sqrt(2 * math.pi)
_HELD = 1e8
# Misfits are multiplied up to this before their logarithm is taken: it is as slow as all the rest.
_MANY = 1e200
# The normal distribution from `-_REACH` to `_REACH`, in so many steps for each standard deviation.
_TABLE_STEPS = 64
_NORMAL = ndtr(np.arange(-_REACH * _TABLE_STEPS, _REACH * _TABLE_STEPS + 1) / _TABLE_STEPS)


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
    ends, touch = np.empty((rows, 2, nodes)), np.empty((rows, 2, nodes), np.int64)
    for r in range(rows):
        pen_ends(0, nodes, y[r], whole, share, drop, ends[r], touch[r])
    pull[:] = 0.0
    bands[:] = 0.0
    bands[:, 0] = 1.0
    cost = 0.0
    drawn, below, paper = np.zeros((rows, height)), np.empty(height), np.empty(height)
    reach = np.empty((rows, 2), np.int64)
    # Of each end of the ink that a column sees: its line, two nodes and their shares.
    edges = 2 * rows * len(steps)
    line, at, part = (
        np.empty(edges, np.int64), np.empty((edges, 2), np.int64), np.empty((edges, 2)),
    )  # fmt: skip
    # The ends that each pixel is near, as a chain: the last of them, and of each the one before.
    last = np.full(height, -1, np.int64)
    chain = np.empty((edges * (2 * math.ceil(_REACH * sigma) + 2), 2), np.int64)
    value = np.empty(len(chain))
    work = np.zeros(rows * nodes), np.zeros(rows * nodes, np.bool_)
    used = np.empty(rows * nodes, np.int64), np.empty(rows * nodes)
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        for r in range(rows):
            reach[r] = draw_column(ends[r], middle, sigma, steps, weights, every, drawn[r], below)
        _see_ends(
            ends, touch, middle, whole, share, steps, weights, sigma, every,
            line, at, part, last, chain, value,
        )  # fmt: skip
        cost = _with_column(cost, i, reach, every, seen, rest, drawn, paper, alone)
        low, high = _inked(reach, 0, height)
        while low < high:
            _add_pixels(
                i, (low + every - 1) // every * every, high, every, seen, rest, drawn, paper, line,
                at, part, last, chain, value, work, used, bands, pull,
            )  # fmt: skip
            low, high = _inked(reach, high, height)
        for r in range(rows):
            drawn[r, reach[r, 0] : reach[r, 1]] = 0.0
            last[reach[r, 0] : reach[r, 1]] = -1
    for r in range(rows):
        cost += add_bends(0, nodes - 2, y[r], bands, pull, rows, r)
    for j in range(nodes):
        if held[j]:
            for r in range(rows):
                bands[j * rows + r, 0] += _HELD
    return cost


@compiled
def cost_of(  # type: ignore[no-untyped-def]
    seen, rest, alone, every, y, sigma, whole, share, drop, steps, weights
):
    """What `equations` returns, without the equations: that takes a third of the time."""
    rows, nodes = y.shape
    height, columns = seen.shape
    ends, touch = np.empty((rows, 2, nodes)), np.empty((2, nodes), np.int64)
    cost = 0.0
    for r in range(rows):
        pen_ends(0, nodes, y[r], whole, share, drop, ends[r], touch)
        cost += bends_cost(y[r])
    drawn, below, paper = np.zeros((rows, height)), np.empty(height), np.empty(height)
    reach = np.empty((rows, 2), np.int64)
    for i in range(columns):
        middle = i * NODES_PER_PX + NODES_PER_PX // 2
        for r in range(rows):
            reach[r] = draw_column(ends[r], middle, sigma, steps, weights, every, drawn[r], below)
        cost = _with_column(cost, i, reach, every, seen, rest, drawn, paper, alone)
        for r in range(rows):
            drawn[r, reach[r, 0] : reach[r, 1]] = 0.0
    return cost


@compiled
def _with_column(  # type: ignore[no-untyped-def]
    cost, i, reach, every, seen, rest, drawn, paper, alone
):
    """The cost and that of column i: of pixels that no line inks, and of those that one does.

    `paper` is filled in where one does.
    """
    counted, height = 0, seen.shape[0]
    low, high = _inked(reach, 0, height)
    while low < high:
        # Pixels from `counted` on that no line inks, then those that one does.
        first, stop = (low + every - 1) // every, (high + every - 1) // every
        cost += alone[i, first] - alone[i, counted]
        cost += _pixels_cost(i, first * every, high, every, seen, rest, drawn, paper)
        counted = stop
        low, high = _inked(reach, high, height)
    return cost + (alone[i, alone.shape[1] - 1] - alone[i, counted])


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
def _see_ends(  # type: ignore[no-untyped-def]
    ends, touch, middle, whole, share, steps, weights, sigma, every,
    line, at, part, last, chain, value,
):  # fmt: skip
    """The ends of all lines' ink that a column sees, and which of them each pixel is near.

    Into `line`, `at` and `part`; into `chain` (n, 2) the end and the link before it, of which a
    pixel's last is `last`, -1 at first; into `value` (n,) how much ink moves with the end there.
    """
    rows, nodes = ends.shape[0], ends.shape[2]
    height, reach = len(last), _REACH * sigma
    step = every / sigma
    shrinks = math.exp(-step * step)
    e, links = 0, 0
    for r in range(rows):
        for v in range(len(steps)):
            j = min(max(middle + steps[v], 0), nodes - 1)
            for end in range(2):
                k, edge = touch[r, end, j], ends[r, end, j]
                line[e] = r
                at[e, 0] = min(max(j + whole[k], 0), nodes - 1) * rows + r
                at[e, 1] = min(max(j + whole[k] + 1, 0), nodes - 1) * rows + r
                part[e, 0], part[e, 1] = 1 - share[k], share[k]
                low = math.ceil(min(max(edge - reach - 0.5, 0), height))
                high = math.floor(min(max(edge + reach + 0.5, 0), height))
                low = (low + every - 1) // every * every
                # The normal curve from pixel to pixel: each is so many times the one before.
                z = (low + 0.5 - edge) / sigma
                curve = (weights[v] if end else -weights[v]) / (sigma * _ROOT_2_PI)
                curve *= math.exp(-0.5 * z * z)
                times = math.exp(-step * (z + 0.5 * step))
                for p in range(low, high, every):
                    chain[links, 0], chain[links, 1], value[links] = e, last[p], curve
                    last[p] = links
                    links += 1
                    curve *= times
                    times *= shrinks
                e += 1


@compiled
def _pixels_cost(i, first, stop, every, seen, rest, drawn, paper):  # type: ignore[no-untyped-def]
    """What a stretch of a column's pixels costs; what is left white of it into `paper` (h,)."""
    for p in range(first, stop, every):
        paper[p] = 1.0 - rest[p, i]
    for r in range(len(drawn)):
        for p in range(first, stop, every):
            paper[p] *= 1.0 - drawn[r, p]
    misfits, cost = 1.0, 0.0
    for p in range(first, stop, every):
        misfits *= 1 + ((seen[p, i] - (1.0 - paper[p])) / _ODD) ** 2
        if misfits > _MANY:
            cost += math.log(misfits)
            misfits = 1.0
    return 0.5 * every * (_ODD / _PIXEL) ** 2 * (cost + math.log(misfits))


@compiled
def _add_pixels(  # type: ignore[no-untyped-def]
    i, first, stop, every, seen, rest, drawn, paper, line, at, part, last, chain, value, work, used,
    bands, pull,
):  # fmt: skip
    """Adds a stretch of a column's pixels to the equations.

    One function: to call others for each pixel takes several times as long. The first of `work`
    is 0 and the second False before and after.
    """
    rows, width = len(drawn), bands.shape[1]
    (slope, is_used), (nodes, slopes) = work, used
    flat = bands.reshape(-1)
    for p in range(first, stop, every):
        link = last[p]
        if link < 0:
            continue
        count, of, free = 0, -1, 0.0
        while link >= 0:
            e, curve = chain[link, 0], value[link]
            link = chain[link, 1]
            if line[e] != of:  # the ends of one line follow each other
                of, free = line[e], 1.0 - rest[p, i]
                for r in range(rows):
                    free *= 1.0 if r == of else 1.0 - drawn[r, p]
            if free < 1e-3:
                continue
            curve *= free
            for side in range(2):
                a = at[e, side]
                slope[a] += curve * part[e, side]
                if not is_used[a]:
                    is_used[a], nodes[count] = True, a
                    count += 1
        for one in range(count):
            a = nodes[one]
            slopes[one] = slope[a]
            slope[a], is_used[a] = 0.0, False
        off = seen[p, i] - (1.0 - paper[p])
        trust = every / (_PIXEL**2 * (1 + (off / _ODD) ** 2))
        for one in range(count):
            a, steep = nodes[one], trust * slopes[one]
            pull[a] += off * steep
            for two in range(one + 1):
                b = nodes[two]
                flat[min(a, b) * (width - 1) + max(a, b)] += steep * slopes[two]


@compiled
def draw(y, sigma, whole, share, drop, steps, weights, image):  # type: ignore[no-untyped-def]
    """What the pen draws of all the lines, (h, w) from 0 to 1, into `image`."""
    ends = np.empty((2, y.shape[1]))
    touch = np.empty((2, y.shape[1]), np.int64)
    drawn, below = np.empty(len(image)), np.empty(len(image))
    for r in range(len(y)):
        pen_ends(0, y.shape[1], y[r], whole, share, drop, ends, touch)
        for i in range(image.shape[1]):
            middle = i * NODES_PER_PX + NODES_PER_PX // 2
            low, high = draw_column(ends, middle, sigma, steps, weights, 1, drawn, below)
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
    ends, middle, sigma, steps, weights, every, drawn, below
):
    """One column of one line, from the pen's ends at its nodes, into (h,) `drawn`, from 0 to 1.

    Gives the first pixel of the line and that below its last; of these, every so-many-th of the
    column is right, and none but these is written. `below` (h,) is to work with.
    """
    height, reach = len(drawn), _REACH * sigma
    first, last = reach_of(ends, middle, sigma, steps, height)
    start = (first + every - 1) // every * every
    # Below an end all is inked, or paper: it is added where that begins, and summed up at last.
    for p in range(start, last, every):
        drawn[p], below[p] = 0.0, 0.0
    for v in range(len(steps)):
        j = min(max(middle + steps[v], 0), ends.shape[1] - 1)
        for end in range(2):
            sign = weights[v] if end == 0 else -weights[v]
            edge = ends[end, j]
            low = int(min(max(edge - reach, 0), height))
            high = int(min(max(edge + reach + 1, 0), height))
            for p in range((low + every - 1) // every * every, high, every):
                drawn[p] += sign * _normal((p + 0.5 - edge) / sigma)
            high = (high + every - 1) // every * every
            if high < last:
                below[high] += sign
    above = 0.0
    for p in range(start, last, every):
        above += below[p]
        drawn[p] = min(max(drawn[p] + above, 0.0), 1.0)
    return first, last


@compiled
def _normal(z):  # type: ignore[no-untyped-def]
    """The normal distribution's share below z, from a table: right to 0.00001."""
    at = min(max((z + _REACH) * _TABLE_STEPS, 0.0), len(_NORMAL) - 1.001)
    whole = int(at)
    return _NORMAL[whole] + (at - whole) * (_NORMAL[whole + 1] - _NORMAL[whole])
