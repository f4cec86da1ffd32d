"""Moves a line until a pen that draws it leaves the ink that is seen. Compiled: all of it.

Each round solves banded normal equations for a step of every node. Between touching places of the
pen's rim the ink jumps, so a full step often goes too far, and the next one as far back: where the
steps of a node change their sign, it goes half as far from then on. What has come to rest is left
alone, and what is still on its way (QRS, mostly) goes on.
"""

from __future__ import annotations

import numpy as np

from ecgvision.compiled import compiled

NODES_PER_PX = 2
# Rounds at most; a node is at rest when it moves by no more than this (px), and with it so many
# nodes on each side.
_ROUNDS, _RESTING_PX, _AROUND = 16, 0.2, 4
_MOST_STEP_PX = 8.0
# How much of a step is gone at least, and how that grows while steps keep their sign.
_LEAST_SHARE, _GROWTH = 0.05, 1.5
# Standard error of an end of the ink (px), and where larger misfits count less.
END_PX, ODD_PX = 0.08, 1.0
# Penalty on second differences (px per px^2): its weight, and the size from which it is let go.
SMOOTH, BEND = 3.0, 0.3


@compiled
def settle(  # type: ignore[no-untyped-def]
    y, split, stood, seen, held, way, whole, share, drop, steps, weights, width, misfit
):
    """Moves the line y (nodes,) to where it fits the ink; `misfit` becomes its `misfit_of`.

    Two nodes that one column depends on lie no more than `width` apart.
    """
    nodes = len(y)
    bands, pull = np.empty((nodes, width + 1)), np.empty(nodes)
    ends, touch = np.empty((2, nodes)), np.empty((2, nodes), np.int64)
    share_of_step, before = np.ones(nodes), np.zeros(nodes)
    moving, next_moving = np.ones(nodes, np.bool_), np.empty(nodes, np.bool_)
    for _ in range(_ROUNDS):
        next_moving[:] = False
        moved, first = False, 0
        while first < nodes:
            if not moving[first]:
                first += 1
                continue
            stop = first
            while stop < nodes and moving[stop]:
                stop += 1
            _equations(
                first, stop, y, split, stood, seen, held, way, whole, share, drop, steps, weights,
                ends, touch, bands, pull, misfit,
            )  # fmt: skip
            _solve(first, stop, bands, pull)
            for i in range(first, stop):
                step = min(max(pull[i], -_MOST_STEP_PX), _MOST_STEP_PX)
                if step * before[i] < 0:
                    share_of_step[i] = max(share_of_step[i] / 2, _LEAST_SHARE)
                else:
                    share_of_step[i] = min(share_of_step[i] * _GROWTH, 1.0)
                before[i] = step
                step *= share_of_step[i]
                y[i] += step
                if abs(step) > _RESTING_PX:
                    moved = True
                    next_moving[max(i - _AROUND, 0) : i + _AROUND + 1] = True
            first = stop
        if not moved:
            break
        moving[:] = next_moving
    misfit_of(y, split, stood, whole, share, drop, steps, weights, width, misfit)


@compiled
def _solve(first, stop, bands, pull):  # type: ignore[no-untyped-def]
    """Solves the symmetric equations of the unknowns from `first` up to `stop`, in `pull`.

    `bands[i, d]` is what the unknowns i and i + d have in common. Those outside are taken for 0.
    """
    width = bands.shape[1] - 1
    for i in range(first, stop):
        count = min(width, stop - 1 - i)
        for a in range(1, count + 1):
            part = bands[i, a] / bands[i, 0]
            if part == 0.0:
                continue
            for b in range(count - a + 1):
                bands[i + a, b] -= part * bands[i, a + b]
            pull[i + a] -= part * pull[i]
    for i in range(stop - 1, first - 1, -1):
        value = pull[i]
        for a in range(1, min(width, stop - 1 - i) + 1):
            value -= bands[i, a] * pull[i + a]
        pull[i] = value / bands[i, 0]


@compiled
def _equations(  # type: ignore[no-untyped-def]
    first, stop, y, split, stood, seen, held, way, whole, share, drop, steps, weights, ends, touch,
    bands, pull, misfit,
):  # fmt: skip
    """One round's normal equations for the nodes from `first` up to `stop`, the others held.

    Their bands go into `bands`, their right side into `pull`; those of nodes beside them are
    written as well, and mean nothing.
    """
    nodes, columns, width = len(y), len(split), bands.shape[1] - 1
    bands[first:stop] = 0.0
    # A line that no ink holds must not make the system singular.
    bands[first:stop, 0] = 1.0
    pull[first:stop] = 0.0
    # The columns that see anything of these nodes, and the nodes that those see.
    near = max(-steps[0] - whole[0], steps[-1] + whole[-1] + 1) + NODES_PER_PX
    start, end = max(first - near, 0) // NODES_PER_PX, min(stop + near, nodes) // NODES_PER_PX
    low = max(start * NODES_PER_PX + steps[0], 0)
    high = min(end * NODES_PER_PX + NODES_PER_PX + steps[-1], nodes)
    pen_ends(low, high, y, whole, share, drop, ends, touch)
    slopes = np.zeros((2, width + 1))
    for i in range(start, min(end, columns)):
        at = _see_column(
            i, nodes, split, stood, whole, share, steps, weights, ends, touch, slopes, misfit
        )
        for side in range(2):
            if seen[i, side]:
                _add_column(misfit[i, side], slopes[side], at, nodes, bands, pull)
    _hold(start, min(end, columns), y, held, way, bands, pull)
    add_bends(max(first - 2, 0), min(stop, nodes - 2), y, bands, pull, 1, 0)


@compiled
def _see_column(  # type: ignore[no-untyped-def]
    i, nodes, split, stood, whole, share, steps, weights, ends, touch, slopes, misfit
):
    """The misfit of column i, and how what it sees moves with the nodes: `slopes`, from one on.

    Returns that first node.
    """
    middle = i * NODES_PER_PX + NODES_PER_PX // 2
    low = min(max(min(max(middle + steps[0], 0), nodes - 1) + whole[0], 0), nodes - 1)
    drawn_above, drawn_below = 0.0, 0.0
    slopes[:] = 0.0
    for v in range(len(steps)):
        j = min(max(middle + steps[v], 0), nodes - 1)
        w = weights[v]
        top, bottom = ends[0, j], ends[1, j]
        drawn_above += w * (max(split[i] - top, 0.0) - max(split[i] - bottom, 0.0))
        drawn_below += w * (max(bottom - split[i], 0.0) - max(top - split[i], 0.0))
        for end in range(2):
            k = touch[end, j]
            side = 0 if ends[end, j] < split[i] else 1
            slope = -w if end == 0 else w
            first = min(max(j + whole[k], 0), nodes - 1) - low
            second = min(max(j + whole[k] + 1, 0), nodes - 1) - low
            slopes[side, first] += slope * (1 - share[k])
            slopes[side, second] += slope * share[k]
    misfit[i, 0], misfit[i, 1] = stood[i, 0] - drawn_above, stood[i, 1] - drawn_below
    return low


@compiled
def _add_column(off, own, low, nodes, bands, pull):  # type: ignore[no-untyped-def]
    """Adds to the equations one side of a column that is `off` by so much."""
    trust = 1 / (END_PX**2 * (1 + (off / ODD_PX) ** 2))
    first, count = 0, min(bands.shape[1], nodes - low)
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


@compiled
def misfit_of(  # type: ignore[no-untyped-def]
    y, split, stood, whole, share, drop, steps, weights, width, misfit
):
    """The ink seen minus the ink that a pen draws along y, above and below the split.

    Into `misfit` (columns, 2).
    """
    nodes = len(y)
    ends, touch = np.empty((2, nodes)), np.empty((2, nodes), np.int64)
    slopes = np.empty((2, width + 1))
    pen_ends(0, nodes, y, whole, share, drop, ends, touch)
    for i in range(len(split)):
        _see_column(
            i, nodes, split, stood, whole, share, steps, weights, ends, touch, slopes, misfit
        )


@compiled
def _hold(start, end, y, held, way, bands, pull):  # type: ignore[no-untyped-def]
    """Adds how much the coarse way counts in columns whose ink another row hides."""
    share = 1.0 / NODES_PER_PX
    for i in range(start, end):
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
def add_bends(first, stop, y, bands, pull, lines, line):  # type: ignore[no-untyped-def]
    """Adds the penalty on a line's second differences to one round's equations; returns it.

    Of the differences those that begin at the nodes from `first` up to `stop` are added. Node j of
    this line is the unknown `j * lines + line`.
    """
    size, cost = float(NODES_PER_PX**2), 0.0
    part = (size, -2 * size, size)
    for j in range(first, stop):
        bend = size * (y[j] - 2 * y[j + 1] + y[j + 2])
        stiff = SMOOTH / (BEND**2 + bend**2)
        cost += 0.5 * SMOOTH * np.log(1 + (bend / BEND) ** 2)
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
        cost += 0.5 * SMOOTH * np.log(1 + (bend / BEND) ** 2)
    return cost


@compiled
def pen_ends(low, high, y, whole, share, drop, ends, touch):  # type: ignore[no-untyped-def]
    """Where the pen's ink begins and ends at the nodes from `low` up to `high` into `ends`.

    That is (2, nodes). `touch`, (2, nodes), becomes the place of the rim that does it.
    """
    nodes = len(y)
    for j in range(low, high):
        ends[0, j], ends[1, j] = 1e300, -1e300
        for k in range(len(whole)):
            first = min(max(j + whole[k], 0), nodes - 1)
            second = min(max(j + whole[k] + 1, 0), nodes - 1)
            height = y[first] * (1 - share[k]) + y[second] * share[k]
            if height - drop[k] < ends[0, j]:
                ends[0, j], touch[0, j] = height - drop[k], k
            if height + drop[k] > ends[1, j]:
                ends[1, j], touch[1, j] = height + drop[k], k
