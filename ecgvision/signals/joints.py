"""Where a row's line is which lead's: one lead may be drawn over the end of the lead before it.

A line is one curve for all of a row. Where a lead ends at another height than the next one begins,
the line changes over somewhere near their joint, and what it shows there is of neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.fit import Line
from ecgvision.types import LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# A line changes over within this of a joint, leads that stand further apart do not meet, and what
# rises less there is a lead that goes on (mm).
_AROUND_MM, _APART_MM, _LEAP_MM = 0.4, 0.4, 1.0


def own_parts_mm(
    row: Sequence[LeadBox], ink: ColumnInk, line: Line, px_per_mm: float, explained_mm: float
) -> list[tuple[float, float]]:
    """From where to where the line of a row may be read as each of its leads, in page mm.

    Infinite where nothing else is near. A column that the line misses by more than `explained_mm`
    is not explained by it.
    """
    parts = [[-np.inf, np.inf] for _ in row]
    for (at, before), (next_at, after) in pairwise(sorted(
        enumerate(row), key=lambda one: one[1].box.left_mm
    )):  # fmt: skip
        ends = sorted((before.box.right_mm, after.box.left_mm))
        if after.box.left_mm - before.box.right_mm > _APART_MM:
            continue
        found = _change(
            ink, line, (ends[0] - _AROUND_MM, ends[1] + _AROUND_MM), px_per_mm, explained_mm
        )
        if found is not None:
            parts[at][1], parts[next_at][0] = found
    return [(start, stop) for start, stop in parts]


def _change(
    ink: ColumnInk,
    line: Line,
    zone_mm: tuple[float, float],
    px_per_mm: float,
    explained_mm: float,
) -> tuple[float, float] | None:
    """From where to where a line changes over within `zone_mm`, if it does."""
    columns = (ink.columns + 0.5) / px_per_mm
    near = np.flatnonzero((columns >= zone_mm[0]) & (columns <= zone_mm[1]))
    if len(near) < 3:
        return None
    x_mm, y_mm = columns[near], np.interp(columns[near], line.x_px / px_per_mm, line.y_px)
    y_mm = y_mm / px_per_mm
    if not np.ptp(y_mm) > _LEAP_MM:  # nor where there is no line
        return None
    missed = np.nan_to_num(line.misfit_px[near], nan=np.inf) > explained_mm * px_per_mm
    if missed.any():
        column_mm = 0.5 / px_per_mm
        first, last = np.flatnonzero(missed)[[0, -1]]
        return float(x_mm[first]) - column_mm, float(x_mm[last]) + column_mm
    if abs(y_mm[-1] - y_mm[0]) <= _LEAP_MM:
        return None
    leap = int(np.argmax(np.abs(np.diff(y_mm))))
    middle = float(x_mm[leap] + x_mm[leap + 1]) / 2
    return middle, middle
