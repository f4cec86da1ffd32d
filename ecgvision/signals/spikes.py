"""Guesses of the lines where rows meet: spikes to where ink ends, tried together, row by row pair.

The fit of `crossings` finds the best line near the one it begins with. Where two rows' spikes run
through each other that is not enough: which ink is whose must be guessed first. Every row gets
a choice of shapes; for each pair of rows all pairs of shapes are compared with the ink at once (how
much ink two shapes cover together is a product of matrices), and the best pair is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Where a spike may leave and meet the line, left and right of its tip, in mm.
_FEET_MM = ((0.3, 0.3), (0.6, 0.6), (1.1, 1.1), (0.3, 0.8), (0.8, 0.3))
# Two tips of one QRS stand so far apart, and it begins and ends so far beside them.
_BETWEEN_TIPS_MM, _DOUBLE_FOOT_MM = (0.2, 1.6), 0.5
# A tip is at least so wide, in pens, and its ink so deep; so many of each kind are tried.
_TIP_PENS, _DEEP_PENS, _MOST_TIPS = 0.4, 2.0, 10
# Upright ink wider than this, in pens, is that of two strokes.
_TWO_PENS = 1.25
# A pixel this dark is ink. Of all shapes of a kind those are looked at well whose ink less so many
# times their paper is most.
_INK, _PAPER, _MOST_SHAPES = 0.5, 3.0, 40
# Heights are looked at so coarsely (px), more is not needed to tell shapes apart.
_COARSE_PX = 3
# What a guess costs that is not the line as it was, in pixels.
_GUESS = 3.0
# More rounds over all pairs than this change nothing; so many guesses are given.
_ROUNDS, _ALTERNATIVES = 3, 3


def best_shapes(
    seen: Floats,
    rest: Floats,
    lines: Floats,
    pen_px: float,
    px_per_mm: float,
    render: Callable[[Floats], Floats],
    others: Sequence[Floats] = (),
) -> list[Floats]:
    """Guesses of k lines that explain the ink well, each (k, n), by columns, the best one first.

    `seen` is (h, n) from 0 to 1, `rest` the part that other lines draw; `lines` (k, n) are the
    heights as known so far. `render` draws one line (n,) as the pen does, (h, n) from 0 to 1.
    `others` are further guesses for all lines, each (k, n).
    """
    ink = seen > _INK
    tips = list(_tips(ink, pen_px))
    weight = np.where(ink, np.float32(1), np.float32(-_PAPER))[::_COARSE_PX].ravel()
    choices, clear = [], []
    for row, line in enumerate(lines):
        given = [line, *(other[row] for other in others)]
        shapes = list(given)
        for made in (_spikes(line, tips, px_per_mm), _double_spikes(line, tips, px_per_mm)):
            found = list(made)
            rough = [float(_drawn(shape, ink.shape, pen_px) @ weight) for shape in found]
            best = np.argsort(-np.array(rough), kind="stable")[:_MOST_SHAPES]
            shapes += [found[index] for index in best]
        choices.append(shapes)
        clear.append(np.stack([1 - _coarse(render(shape)) for shape in shapes]))
    chosen, worse = _chosen(clear, 1 - _coarse(seen), 1 - _coarse(rest))
    picks = [chosen]
    for _, pick in sorted(worse):
        if pick not in picks:
            picks.append(pick)
    return [
        np.stack([choices[row][shape] for row, shape in enumerate(pick)])
        for pick in picks[:_ALTERNATIVES]
    ]


def _coarse(image: Floats) -> NDArray[np.float32]:
    """Every `_COARSE_PX` rows of pixels as one, flat."""
    high = len(image) // _COARSE_PX * _COARSE_PX
    blocks = image[:high].reshape(-1, _COARSE_PX, image.shape[1]).mean(axis=1)
    return blocks.astype(np.float32).ravel()


def _chosen(
    clear: Sequence[NDArray[np.float32]], seen: NDArray[np.float32], rest: NDArray[np.float32]
) -> tuple[list[int], list[tuple[float, list[int]]]]:
    """The shape of each row, and others by how much worse they are.

    All are what paper is left: of each row's shapes, of the page, of the lines that stay.
    """
    chosen = [0] * len(clear)
    for _ in range(_ROUNDS):
        before, worse = list(chosen), []
        for a, b in combinations(range(len(clear)), 2):
            still = rest.copy()
            for row in range(len(clear)):
                if row not in (a, b):
                    still *= clear[row][chosen[row]]
            off = _misfit(clear[a], clear[b], still, seen)
            off[1:] += _GUESS
            off[:, 1:] += _GUESS
            order = np.argsort(off, axis=None)[: 3 * _ALTERNATIVES]
            first = np.unravel_index(int(order[0]), off.shape)
            if off[first] < off[chosen[a], chosen[b]]:
                chosen[a], chosen[b] = int(first[0]), int(first[1])
            for one, two in zip(*np.unravel_index(order, off.shape), strict=True):
                pick = list(chosen)
                pick[a], pick[b] = int(one), int(two)
                worse.append((float(off[one, two] - off[first]), pick))
        if chosen == before:
            break
    return chosen, worse


def _misfit(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    still: NDArray[np.float32],
    seen: NDArray[np.float32],
) -> Floats:
    """(a, b): the squares of the page's paper less what each two shapes leave of `still`, in px.

    Where pens overlap, what they leave is the product: (1 - ink of one) (1 - ink of other).
    """
    squares = (first * still) ** 2 @ (second**2).T
    both = (first * (still * seen)) @ second.T
    result: Floats = _COARSE_PX * (squares - 2 * both + float(seen @ seen)).astype(np.float64)
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


def _double_spikes(
    line: Floats, tips: Sequence[tuple[float, float]], px_per_mm: float
) -> Iterator[Floats]:
    """The line with a spike up and one down right after each other, in either order."""
    x = np.arange(len(line))
    ends = line[[0, -1]]
    plain = np.interp(x, [0, len(line) - 1], ends)
    least, most = (d * px_per_mm for d in _BETWEEN_TIPS_MM)
    foot = _DOUBLE_FOOT_MM * px_per_mm
    for (first, one), (second, other) in permutations(tips, 2):
        if not least <= second - first <= most:
            continue
        sides = (one - np.interp(first, x, plain)) * (other - np.interp(second, x, plain))
        if sides >= 0:
            continue
        left, right = first - foot, second + foot
        feet = np.interp([left, right], x, plain)
        inside = (x > left) & (x < right)
        spike = np.interp(x, [left, first, second, right], [feet[0], one, other, feet[1]])
        yield np.where(inside, spike, plain)
