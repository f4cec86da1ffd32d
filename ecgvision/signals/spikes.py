"""Guesses of the lines where rows meet: spikes to where ink ends, tried together, row by row pair.

The fit of `crossings` finds the best line near the one it begins with. Where two rows' spikes run
through each other that is not enough: which ink is whose must be guessed first. Every row gets
a choice of shapes; for each pair of rows all pairs of shapes are compared with the ink, and the
best pair is kept (`pairs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.runs import true_runs
from ecgvision.signals.pairs import best_pairs, coarse, inked
from ecgvision.signals.pen import Pen

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
_INK, _PAPER, _MOST_SHAPES = 0.5, 3.0, 30
# So many guesses are given.
_ALTERNATIVES = 3


def best_shapes(
    seen: Floats,
    rest: Floats,
    lines: Floats,
    pen: Pen,
    px_per_mm: float,
) -> list[Floats]:
    """Guesses of k lines that explain the ink well, each (k, n), by columns, the best one first.

    `seen` is (h, n) from 0 to 1, `rest` the part that other lines draw; `lines` (k, n) are the
    heights as known so far.
    """
    ink, pen_px = seen > _INK, pen.width_px
    tips = np.array(list(_tips(ink, pen_px))).reshape(-1, 2)
    weight = np.where(ink, 1.0, -_PAPER)
    choices = []
    for line in lines:
        shapes = [line]
        for made in (_spikes(line, tips, px_per_mm), _double_spikes(line, tips, px_per_mm)):
            best = np.argsort(-_covered(weight, made, pen_px), kind="stable")[:_MOST_SHAPES]
            shapes += list(made[best])
        choices.append(np.stack(shapes))
    drawn = [inked(shapes, len(seen), pen) for shapes in choices]
    chosen, worse = best_pairs(drawn, 1 - coarse(seen), 1 - coarse(rest))
    picks = [chosen]
    for _, pick in sorted(worse):
        if pick not in picks:
            picks.append(pick)
    return [
        np.stack([choices[row][shape] for row, shape in enumerate(pick)])
        for pick in picks[:_ALTERNATIVES]
    ]


def _covered(weight: Floats, shapes: Floats, pen_px: float) -> Floats:
    """(k,): the weight (h, n) of all pixels that each of the shapes (k, n) about covers."""
    total = np.zeros((len(weight) + 1, weight.shape[1]))
    np.cumsum(weight, axis=0, out=total[1:])
    between = (shapes[:, 1:] + shapes[:, :-1]) / 2
    sides = np.concatenate([shapes[:, :1], between, shapes[:, -1:]], axis=1)
    top = np.minimum(sides[:, 1:], sides[:, :-1]) - pen_px / 2
    bottom = np.maximum(sides[:, 1:], sides[:, :-1]) + pen_px / 2
    rows = [np.clip(np.round(ends), 0, len(weight)).astype(np.int64) for ends in (top, bottom)]
    columns = np.arange(weight.shape[1])
    result: Floats = (total[rows[1], columns] - total[rows[0], columns]).sum(axis=1)
    return result


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
        for first, stop in true_runs(begins[row]):
            if first == 0 or stop == image.shape[1] or stop - first < _TIP_PENS * pen_px:
                continue
            below = np.flatnonzero(~image[row:, (first + stop - 1) // 2])
            depth = int(below[0]) if len(below) else len(image) - int(row)
            column = float(first + stop) / 2 - 0.5
            known = any(abs(x - column) < 2 and row - y <= reach for _, (x, y) in found)
            if depth > _DEEP_PENS * pen_px and not known:
                found.append((depth, (column, int(row))))
    return [place for _, place in sorted(found, reverse=True)]


def _spikes(line: Floats, tips: Floats, px_per_mm: float) -> Floats:
    """(k, n): the line with a spike to each of the tips, of several widths, and without any."""
    x = np.arange(len(line))
    plain = np.interp(x, [0, len(line) - 1], line[[0, -1]])
    found = [plain[None]]
    for left_mm, right_mm in _FEET_MM:
        for base in (line, plain):
            left, right = tips[:, 0] - left_mm * px_per_mm, tips[:, 0] + right_mm * px_per_mm
            knots = np.stack([left, tips[:, 0], right], axis=1)
            feet = (np.interp(left, x, base), np.interp(right, x, base))
            found.append(_bent(base, knots, np.stack([feet[0], tips[:, 1], feet[1]], axis=1)))
    return np.concatenate(found)


def _double_spikes(line: Floats, tips: Floats, px_per_mm: float) -> Floats:
    """(k, n): the line with a spike up and one down right after each other, in either order."""
    x = np.arange(len(line))
    plain = np.interp(x, [0, len(line) - 1], line[[0, -1]])
    least, most = (d * px_per_mm for d in _BETWEEN_TIPS_MM)
    apart = tips[None, :, 0] - tips[:, None, 0]
    high = tips[:, 1] - np.interp(tips[:, 0], x, plain)
    one, other = np.nonzero((apart >= least) & (apart <= most) & (high[:, None] * high < 0))
    foot = _DOUBLE_FOOT_MM * px_per_mm
    first, second = tips[one], tips[other]
    left, right = first[:, 0] - foot, second[:, 0] + foot
    knots = np.stack([left, first[:, 0], second[:, 0], right], axis=1)
    feet = (np.interp(left, x, plain), np.interp(right, x, plain))
    return _bent(plain, knots, np.stack([feet[0], first[:, 1], second[:, 1], feet[1]], axis=1))


def _bent(base: Floats, knots: Floats, heights: Floats) -> Floats:
    """(k, n): the line `base` with a part that runs straight from knot to knot, both (k, m)."""
    x = np.arange(len(base))
    shapes = np.repeat(base[None], len(knots), axis=0)
    for at in range(knots.shape[1] - 1):
        (start, stop), (low, high) = knots[:, at : at + 2].T, heights[:, at : at + 2].T
        share = (x - start[:, None]) / (stop - start)[:, None]
        straight = low[:, None] + share * (high - low)[:, None]
        shapes = np.where((share >= 0) & (share < 1), straight, shapes)
    return shapes
