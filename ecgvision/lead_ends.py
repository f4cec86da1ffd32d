"""Takes ways out to where their leads' ink begins and ends.

A lead may begin or end within a QRS. For a way it is then cheaper to be lifted on to where the
stroke is level than to climb to its end; but ink that hangs together with it is the lead's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.runs import any_between, lower_ends, upper_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def taken_out(
    mask: Bools,
    first: int,
    entered: Ints,
    left: Ints,
    windows: Sequence[tuple[int, int]],
    others: Bools,
) -> tuple[Ints, Ints]:
    """Where a way enters and leaves each column, with its ends in `windows` on their ink.

    `entered` and `left` are (n,), rows of the mask (H, W), from column `first` on; `windows` are
    the first column and the one after the last of each lead. `others`, (H, W), is what other rows
    explain: where only that goes on, the lead ends.
    """
    entered, left = entered.copy(), left.copy()
    top, bottom = np.minimum(entered, left), np.maximum(entered, left)
    on_ink = any_between(mask, first + np.arange(len(left)), top - 1, bottom + 2)
    for start, stop in windows:
        low, high = max(start - first, 0), min(stop - first, len(left))
        seen = np.flatnonzero(on_ink[low:high])
        if not len(seen):
            continue
        for at, end, step in ((low + seen[0], low, -1), (low + seen[-1], high - 1, 1)):
            t, b = _touching(mask, first + at, int(top[at]), int(bottom[at]))
            for column in range(int(at) + step, end + step, step):
                upper, lower = _touching(mask, first + column, t, b)
                if lower < upper or others[upper : lower + 1, first + column].all():
                    break
                falls = (upper + lower) * step > (t + b) * step
                entered[column], left[column] = (upper, lower) if falls else (lower, upper)
                t, b = upper, lower
    return entered, left


def _touching(mask: Bools, column: int, top: int, bottom: int) -> tuple[int, int]:
    """The longest stretch of a column's ink that touches the rows from `top` to `bottom`.

    (1, 0) where there is none.
    """
    rows = np.flatnonzero(mask[max(0, top - 1) : bottom + 2, column]) + max(0, top - 1)
    if not len(rows):
        return 1, 0
    columns = np.full(len(rows), column)
    uppers, lowers = upper_ends(mask, rows, columns), lower_ends(mask, rows, columns)
    longest = int(np.argmax(lowers - uppers))
    return int(uppers[longest]), int(lowers[longest])
