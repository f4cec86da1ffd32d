"""Walks up and down columns of ink: where the stretch around a place ends, how much lies between.

Mostly compiled, as they ask for a few places in each column, and sums over whole pages would cost
more than all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecgvision.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def true_runs(mask: Bools) -> list[tuple[int, int]]:
    """From where to before where each run of True in `mask`, (n,), goes.

    >>> true_runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[0::2], edges[1::2], strict=True))


def upper_ends(ink: Bools, rows: Ints, columns: Ints) -> Ints:
    """The topmost pixel of the ink that each place (row, column) stands in; paper: the row itself.

    >>> ink = np.array([[0, 1], [1, 1], [1, 0]], bool)
    >>> upper_ends(ink, np.array([2, 2]), np.array([0, 1])).tolist()
    [1, 2]
    """
    found: Ints = _ends(ink, rows, columns, -1)
    return found


def lower_ends(ink: Bools, rows: Ints, columns: Ints) -> Ints:
    """The lowest pixel of the ink that each place stands in; paper: the row itself."""
    found: Ints = _ends(ink, rows, columns, 1)
    return found


def stretches(
    dark: NDArray[np.float32], least: float, columns: Ints, tops: Ints, bottoms: Ints
) -> tuple[Bools, Ints, Ints, Ints, Ints]:
    """The ink from `tops` to `bottoms` in each column, all (n,): seen, high, low, top, bottom.

    Ink is darker than `least`. `high` and `low` are the first and last ink from a pixel above
    `tops` to a pixel below `bottoms`; `top` and `bottom` the ends of the ink those stand in. Where
    there is none, `seen` is False, and they are `tops` and `bottoms`.
    """
    seen, places = _stretches(dark, np.float32(least), columns, tops, bottoms)
    high, low, top, bottom = places
    return seen, high, low, top, bottom


def ink_between(
    dark: NDArray[np.float32], full: float, columns: Ints, first: Ints, stop: Ints
) -> Floats:
    """How much ink stands from `first` to before `stop` in each column, in pixels of `full`."""
    found: Floats = _ink_between(dark, full, columns, first, stop)
    return found


def any_between(ink: Bools, columns: Ints, first: Ints, stop: Ints) -> Bools:
    """Whether there is ink from `first` to before `stop` in each column.

    >>> ink = np.array([[0, 1], [1, 0]], bool)
    >>> any_between(ink, np.arange(2), np.array([-1, 0]), np.array([1, 9])).tolist()
    [False, True]
    """
    found: Bools = _any_between(ink, columns, first, stop)
    return found


def paint(image: Bools, first: Ints, last: Ints) -> None:
    """Makes column i of `image`, (H, n), True from row `first[i]` to `last[i]`, where it has them.

    >>> image = np.zeros((3, 2), bool)
    >>> paint(image, np.array([-1, 2]), np.array([0, 9]))
    >>> image.astype(int).tolist()
    [[1, 0], [0, 0], [0, 1]]
    """
    _paint(image, first, last)


@compiled
def _paint(image, first, last):  # type: ignore[no-untyped-def]
    for x in range(image.shape[1]):
        for y in range(max(first[x], 0), min(last[x] + 1, image.shape[0])):
            image[y, x] = True


@compiled
def _any_between(ink, columns, first, stop):  # type: ignore[no-untyped-def]
    found = np.zeros(len(columns), np.bool_)
    for i in range(len(columns)):
        for y in range(max(first[i], 0), min(stop[i], ink.shape[0])):
            if ink[y, columns[i]]:
                found[i] = True
                break
    return found


@compiled
def _ends(ink, rows, columns, step):  # type: ignore[no-untyped-def]
    height = ink.shape[0]
    found = rows.copy()
    for i in range(len(rows)):
        x, y = columns[i], rows[i]
        if not ink[y, x]:
            continue
        while 0 <= y + step < height and ink[y + step, x]:
            y += step
        found[i] = y
    return found


@compiled
def _stretches(dark, least, columns, tops, bottoms):  # type: ignore[no-untyped-def]
    height, count = dark.shape[0], len(columns)
    seen = np.zeros(count, np.bool_)
    places = np.empty((4, count), np.int64)
    for i in range(count):
        x = columns[i]
        places[0, i], places[1, i], places[2, i], places[3, i] = (
            tops[i], bottoms[i], tops[i], bottoms[i],
        )  # fmt: skip
        first, last = max(tops[i] - 1, 0), min(bottoms[i] + 1, height - 1)
        while first <= last and dark[first, x] <= least:
            first += 1
        if first > last:
            continue
        while dark[last, x] <= least:
            last -= 1
        seen[i], places[0, i], places[1, i] = True, first, last
        while first > 0 and dark[first - 1, x] > least:
            first -= 1
        while last < height - 1 and dark[last + 1, x] > least:
            last += 1
        places[2, i], places[3, i] = first, last
    return seen, places


@compiled
def _ink_between(dark, full, columns, first, stop):  # type: ignore[no-untyped-def]
    height = dark.shape[0]
    found = np.zeros(len(columns))
    for i in range(len(columns)):
        for y in range(max(first[i], 0), min(stop[i], height)):
            found[i] += min(dark[y, columns[i]] / full, 1.0)
    return found
