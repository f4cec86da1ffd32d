"""Ways of rows through the ink, and what two rows took of each other given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from ecgvision.path import FLAT_PX
from ecgvision.runs import true_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

AROUND_MM = 4.0
"""What is looked at again with its surroundings."""

# A row that runs below the next one for longer, mostly flat, has taken its line: waves are shorter.
_EXCHANGED_MM, _MOSTLY_FLAT = 4.0, 0.5
# So is one that runs below it by most of the rows' distance, where between QRS and T some is flat.
_BY_A_ROW, _SOME_FLAT = 0.7, 0.15


@dataclass(frozen=True)
class Way:
    """A row's way through the ink: where it enters and leaves each column, from `first` on.

    Both are (n,) int64, rows of the mask. `astray` is (n,) bool: there the way runs along the next
    row's line for want of its own, which is not printed.
    """

    first: int
    entered: Ints
    left: Ints
    astray: Bools

    @cached_property
    def top(self) -> Ints:
        return np.minimum(self.entered, self.left)

    @cached_property
    def bottom(self) -> Ints:
        return np.maximum(self.entered, self.left)

    @cached_property
    def cover(self) -> tuple[Ints, Ints]:
        """First and last row of what it explains: what it runs through, and a pixel around."""
        return minimum_filter1d(self.top, 3) - 1, maximum_filter1d(self.bottom, 3) + 1

    @property
    def last(self) -> int:
        """The column after the last one."""
        return self.first + len(self.left)


def exchange_back(
    ways: list[Way], baselines: Sequence[float], px_per_mm: float, width: int
) -> Bools:
    """Exchanges back, in `ways`, what rows that lie one below the other took of each other.

    (width,) bool: the columns around where that began and ended.
    """
    around, changed = round(AROUND_MM * px_per_mm), np.zeros(width, bool)
    order = sorted(range(len(ways)), key=baselines.__getitem__)
    for one, other in pairwise(order):
        upper, lower = ways[one], ways[other]
        below = upper.top + upper.bottom > lower.top + lower.bottom
        flat = (upper.bottom - upper.top <= FLAT_PX) & (lower.bottom - lower.top <= FLAT_PX)
        down = (upper.top + upper.bottom - lower.top - lower.bottom) / 2
        by_a_row = _BY_A_ROW * (baselines[other] - baselines[one])
        swapped = np.zeros(len(below), bool)
        for start, stop in true_runs(below):
            long = stop - start >= _EXCHANGED_MM * px_per_mm
            far = long and float(np.median(down[start:stop])) >= by_a_row
            if long and flat[start:stop].mean() >= (_SOME_FLAT if far else _MOSTLY_FLAT):
                swapped[start:stop] = True
                for end in (start, stop):
                    at = end + upper.first
                    changed[max(0, at - around) : at + around] = True
        if swapped.any():
            ways[one] = _mixed(swapped, lower, upper)
            ways[other] = _mixed(swapped, upper, lower)
    return changed


def _mixed(first: Bools, one: Way, other: Way) -> Way:
    """`one` where `first`, else `other`."""
    return replace(
        other,
        entered=np.where(first, one.entered, other.entered),
        left=np.where(first, one.left, other.left),
    )
