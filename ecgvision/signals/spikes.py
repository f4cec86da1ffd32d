"""Guesses of the lines where rows meet: spikes to where ink ends, tried together, row by row pair.

The fit of `crossings` finds the best line near the one it begins with. Where two rows' spikes run
through each other that is not enough: which ink is whose must be guessed first. Every row gets
a choice of shapes; for each pair of rows all pairs of shapes are compared with the ink at once (how
much ink two shapes cover together is a product of matrices), and the best pair is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Where a spike may leave and meet the line, left and right of its tip, in mm.
_FEET_MM = ((0.3, 0.3), (0.6, 0.6), (1.1, 1.1), (0.3, 0.8), (0.8, 0.3))
# A tip is at least so wide, in pens, and its ink so deep; so many of each kind are tried.
_TIP_PENS, _DEEP_PENS, _MOST_TIPS = 0.4, 2.0, 10
# Upright ink wider than this, in pens, is that of two strokes.
_TWO_PENS = 1.25
# Of all shapes of a row those are kept whose ink less so many times their paper is most.
_PAPER, _MOST_SHAPES = 3.0, 60
# Heights are looked at so coarsely (px), more is not needed to tell shapes apart.
_COARSE_PX = 3
# What a guess costs that is not the line as it was, in pixels.
_GUESS = 3.0
# More rounds over all pairs than this change nothing; so many guesses are given.
_ROUNDS, _ALTERNATIVES = 3, 3


def best_shapes(
    ink: Bools,
    rest: Bools,
    lines: Floats,
    pen_px: float,
    px_per_mm: float,
    others: Sequence[Floats] = (),
) -> list[Floats]:
    """Guesses of k lines that explain the ink well, each (k, n), by columns, the best one first.

    `ink` is (h, n) bool, `rest` the part that other lines explain; `lines` (k, n) are the heights
    as known so far. `others` are further guesses for all lines, each (k, n).
    """
    tips = list(_tips(ink, pen_px))
    weight = np.where(ink, np.float32(1), np.float32(-_PAPER))[::_COARSE_PX].ravel()
    choices, masks = [], []
    for row, line in enumerate(lines):
        shapes = [line, *(other[row] for other in others), *_spikes(line, tips, px_per_mm)]
        drawn = np.stack([_drawn(shape, ink.shape, pen_px) for shape in shapes])
        best = np.argsort(-(drawn @ weight), kind="stable")[:_MOST_SHAPES]
        kept = np.concatenate([[0], best[best > 0]])
        choices.append([shapes[index] for index in kept])
        masks.append(drawn[kept])
    taken = rest[::_COARSE_PX].ravel() > 0
    chosen, worse = _chosen(masks, weight, taken)
    picks = [chosen]
    for _, pick in sorted(worse):
        if pick not in picks:
            picks.append(pick)
    return [
        np.stack([choices[row][shape] for row, shape in enumerate(pick)])
        for pick in picks[:_ALTERNATIVES]
    ]


def _chosen(
    masks: Sequence[NDArray[np.float32]], weight: NDArray[np.float32], taken: Bools
) -> tuple[list[int], list[tuple[float, list[int]]]]:
    """The shape of each row, and others by how much worse they are."""
    chosen = [0] * len(masks)
    for _ in range(_ROUNDS):
        before, worse = list(chosen), []
        for a, b in combinations(range(len(masks)), 2):
            covered = [masks[r][chosen[r]] > 0 for r in range(len(masks)) if r not in (a, b)]
            gain = _gain(masks[a], masks[b], weight * ~np.logical_or.reduce([taken, *covered]))
            gain[1:] -= _GUESS
            gain[:, 1:] -= _GUESS
            order = np.argsort(-gain, axis=None)[: 3 * _ALTERNATIVES]
            first = np.unravel_index(int(order[0]), gain.shape)
            if gain[first] > gain[chosen[a], chosen[b]]:
                chosen[a], chosen[b] = int(first[0]), int(first[1])
            for one, two in zip(*np.unravel_index(order, gain.shape), strict=True):
                pick = list(chosen)
                pick[a], pick[b] = int(one), int(two)
                worse.append((float(gain[first] - gain[one, two]), pick))
        if chosen == before:
            break
    return chosen, worse


def _gain(
    first: NDArray[np.float32], second: NDArray[np.float32], weight: NDArray[np.float32]
) -> Floats:
    """(a, b): the weight of all that each two shapes cover."""
    both = (first * weight) @ second.T
    total = (first @ weight)[:, None] + (second @ weight)[None, :] - both
    result: Floats = total.astype(np.float64)
    return result


def _drawn(line: Floats, shape: tuple[int, ...], pen_px: float) -> NDArray[np.float32]:
    """The line drawn with the pen on every `_COARSE_PX`-th row of pixels, 0 or 1, flat."""
    image = np.zeros((-(-shape[0] // _COARSE_PX), shape[1]), np.float32)
    points = np.stack([np.arange(len(line)), (line - 0.5) / _COARSE_PX], axis=1)
    # Steep lines: the pen's width counts across, where pixels are not coarse.
    cv2.polylines(image, [np.round(points).astype(np.int32)], False, 1.0, max(1, round(pen_px)))
    return image.ravel()


def _tips(ink: Bools, pen_px: float) -> Iterator[tuple[float, float]]:
    """(column, row) where a pen may have turned: tops and bottoms of ink and of paper within it.

    And where upright ink becomes wider than a pen: there a second stroke begins beside a first.
    """
    beside = np.ones((1, int(np.ceil(_TWO_PENS * pen_px))), np.uint8)
    wide = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, beside) > 0
    for seen, outer, aside in (
        (ink, pen_px / 2, (0.0,)),
        (~ink, -pen_px / 2, (0.0,)),
        (wide, 0.0, (-pen_px / 2, pen_px / 2)),
    ):
        for flipped in (False, True):
            image = seen[::-1] if flipped else seen
            for column, row in _tops(image, pen_px)[:_MOST_TIPS]:
                level = row + outer
                for off in aside:
                    yield column + off, (len(ink) - level if flipped else level)


def _tops(image: Bools, pen_px: float) -> list[tuple[float, int]]:
    """(column, row) where a pen's width of the image begins below paper, the deepest first.

    A stretch on the first row or at the sides goes on outside.
    """
    reach = max(1, round(pen_px / 2))
    begins = image.copy()
    begins[:reach] = False
    begins[reach:] &= ~image[:-reach]
    found: list[tuple[int, tuple[float, int]]] = []
    for row in np.flatnonzero(begins.sum(axis=1) >= _TIP_PENS * pen_px):
        here = np.flatnonzero(np.diff(np.concatenate([[0], begins[row], [0]]).astype(np.int8)))
        for first, stop in zip(here[0::2], here[1::2], strict=True):
            if first == 0 or stop == image.shape[1] or stop - first < _TIP_PENS * pen_px:
                continue
            below = np.flatnonzero(~image[row:, (first + stop - 1) // 2])
            depth = int(below[0]) if len(below) else len(image) - int(row)
            column = float(first + stop) / 2 - 0.5
            known = any(abs(x - column) < 2 and row - y <= reach for _, (x, y) in found)
            if depth > _DEEP_PENS * pen_px and not known:
                found.append((depth, (column, int(row))))
    return [place for _, place in sorted(found, reverse=True)]


def _spikes(
    line: Floats, tips: Sequence[tuple[float, float]], px_per_mm: float
) -> Iterator[Floats]:
    """The line with a spike to each of the tips, of several widths, and without any."""
    x = np.arange(len(line))
    plain = np.interp(x, [0, len(line) - 1], line[[0, -1]])
    yield plain
    for column, level in tips:
        for left_mm, right_mm in _FEET_MM:
            left, right = column - left_mm * px_per_mm, column + right_mm * px_per_mm
            for base in (line, plain):
                ends = np.interp([left, right], x, base)
                inside = (x > left) & (x < right)
                spike = np.interp(x, [left, column, right], [ends[0], level, ends[1]])
                yield np.where(inside, spike, base)
