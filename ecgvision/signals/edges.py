"""What each column of pixels says of a row's line: where its ink begins and ends, sub-pixel.

The ink of a round pen in one column is one upright stretch. Its two ends are measured by how much
ink lies above and below a place within it, which blur and grey edges do not change. Where rows
share a stretch only its upper end belongs to the upper row, its lower end to the lower one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from ecgvision.print_boxes import NAME_OFF_MM
from ecgvision.runs import ink_between, stretches
from ecgvision.types import Box
from ecgvision.ways import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# A pixel this dark, as a share of the pen's darkness, is ink.
INK_SHARE = 0.4
# Where a lead's name is printed, ink reaches no further than this past a flat way (mm); more is a
# letter that touches. Elsewhere it is a spike, whose tip the coarse way cuts short.
_PAST_FLAT_MM = 0.6
# Ways within so many columns of a climb count as a spike.
_SPIKE_COLUMNS = 4


@dataclass(frozen=True)
class ColumnInk:
    """One row's ink, column by column: all arrays are (n,), in pixels of the page.

    `edge_thickness` is the ink that stands around the way also where it is too little to be seen.

    `split` is a place within the ink, `above` and `below` how much ink lies over and under it, in
    pixels of full darkness. `upper_seen` and `lower_seen` tell whether that end of the ink is the
    row's own and free, `shared` whether other rows have ink in the same stretch, `seen` whether
    there is any. `way` is where the row's way runs, `guess` a first guess of the line.
    """

    columns: Ints
    split: Floats
    above: Floats
    below: Floats
    upper_seen: Bools
    lower_seen: Bools
    shared: Bools
    seen: Bools
    way: Floats
    way_reach: Floats
    guess: Floats
    edge_thickness: Floats

    @property
    def thickness(self) -> Floats:
        """How much ink stands in each column."""
        return self.above + self.below


@dataclass(frozen=True)
class _Stretch:
    """A row's stretch of ink in each column: from `top` to `bottom`, its way from `high` to `low`.

    `tip` and `foot` are how far the way reaches in the columns around.
    """

    seen: Bools
    high: Ints
    low: Ints
    top: Ints
    bottom: Ints
    tip: Ints
    foot: Ints


def column_ink(
    dark: NDArray[np.float32],
    ways: Sequence[Way],
    bars: Bools,
    factor: int,
    px_per_mm: float,
    pen_px: float,
    blur_px: float,
    darkness: float,
    names: Sequence[Box] = (),
) -> tuple[ColumnInk, ...]:
    """Each row's ink by columns.

    `dark` is (H, W) from 0 (paper) to 1 (black), `ways` are the rows' ways on a mask `factor`
    times as coarse; `bars`, on that mask, is where bars between columns hide all else. `pen_px` and
    `blur_px` are the pen's width and the blur's standard deviation, `darkness` that of the pen's
    ink. `names` are where lead names are printed, in mm.
    """
    first = ways[0].first * factor
    columns = np.arange(first, min(ways[0].last * factor, dark.shape[1]))
    index = (columns - first) // factor
    around = 2 * round(0.6 * pen_px + factor) + 1
    barred = np.flatnonzero(bars.any(axis=0))
    found = [
        _stretch(dark, INK_SHARE * darkness, way, (bars, barred), columns, index, factor, around)
        for way in ways
    ]
    tail = int(np.ceil(2 * blur_px + 1))
    letters = _letters(names, columns, px_per_mm)
    return tuple(
        _row_ink(row, found, columns, letters, (dark, darkness), factor, px_per_mm, pen_px, tail)
        for row in range(len(ways))
    )


def _letters(names: Sequence[Box], columns: Ints, px_per_mm: float) -> list[tuple[slice, Box]]:
    """For each name the columns it is printed in, and its box in pixels."""
    x = (columns + 0.5) / px_per_mm
    due = [name.grown(0.0, NAME_OFF_MM) for name in names]
    return [
        (
            slice(np.searchsorted(x, name.left_mm), np.searchsorted(x, name.right_mm, "right")),
            Box(
                *(v * px_per_mm for v in (name.left_mm, name.top_mm, name.right_mm, name.bottom_mm))
            ),
        )
        for name in due
    ]


def _stretch(
    dark: NDArray[np.float32],
    least: float,
    way: Way,
    bars: tuple[Bools, Ints],
    columns: Ints,
    index: Ints,
    factor: int,
    around: int,
) -> _Stretch:
    """The ink a way runs through in each column, if there is any within a pixel of it.

    Nothing is seen where the way is astray, or where its ink meets `bars`, which come with the
    columns of the mask that hold some.
    """
    tops = np.clip(way.top[index] * factor, 0, len(dark) - 1)
    bottoms = np.clip((way.bottom[index] + 1) * factor - 1, 0, len(dark) - 1)
    seen, high, low, top, bottom = stretches(dark, least, columns, tops, bottoms)
    unknown = way.astray[index]
    mask, barred = bars
    for at in np.flatnonzero(np.isin(index + way.first, barred)):
        upper, lower = min(top[at], tops[at]), max(bottom[at], bottoms[at])
        unknown[at] |= mask[upper // factor : lower // factor + 1, index[at] + way.first].any()
    return _Stretch(
        seen & ~unknown,
        np.where(unknown, tops, high),
        np.where(unknown, bottoms, low),
        np.where(unknown, tops, top),
        np.where(unknown, bottoms, bottom),
        minimum_filter1d(tops, around),
        maximum_filter1d(bottoms, around),
    )


def _row_ink(
    row: int,
    found: Sequence[_Stretch],
    columns: Ints,
    letters: Sequence[tuple[slice, Box]],
    page: tuple[NDArray[np.float32], float],
    factor: int,
    px_per_mm: float,
    pen_px: float,
    tail: int,
) -> ColumnInk:
    own, (dark, full) = found[row], page
    height = dark.shape[0]
    # A way may jump over paper, which is no climb. A spike climbs at least as far as it is cut.
    climbs = np.where(own.seen, own.low - own.high, 0)
    climbed = maximum_filter1d(climbs, 2 * _SPIKE_COLUMNS * factor + 1)
    climbed[climbed < 3 * factor + pen_px] = 0
    past = _PAST_FLAT_MM * px_per_mm + pen_px / 2
    upper, lower = own.seen.copy(), own.seen.copy()
    for at, name in letters:
        # What reaches through and beyond the letters is a spike.
        tops, bottoms, spike = own.top[at], own.bottom[at], climbed[at]
        upwards, downwards = own.tip[at] - tops, bottoms - own.foot[at]
        letter = (tops >= name.top_mm) & (tops < name.bottom_mm)
        upper[at] &= ~(letter & (upwards > past) & (upwards > spike))
        letter = (bottoms <= name.bottom_mm) & (bottoms > name.top_mm)
        lower[at] &= ~(letter & (downwards > past) & (downwards > spike))
    shared = np.zeros(len(columns), bool)
    for other in (s for i, s in enumerate(found) if i != row):
        # The other row has ink between the ends of this row's.
        meets = own.seen & other.seen & (other.low >= own.top) & (other.high <= own.bottom)
        shared |= meets
        upper &= ~(meets & (other.tip < own.tip - factor))
        lower &= ~(meets & (other.foot > own.foot + factor))
    middle = np.where(upper & lower, own.top + own.bottom + 1, own.high + own.low + 1) // 2
    split = np.clip(np.where(own.seen, middle, 1), 1, height - 1)
    above = ink_between(dark, full, columns, own.top - tail, split)
    below = ink_between(dark, full, columns, split, own.bottom + 1 + tail)
    way = (own.high + own.low + 1) / 2
    within = np.clip(
        way,
        own.top + pen_px / 2,
        np.maximum(own.top + pen_px / 2, own.bottom + 1 - pen_px / 2),
    )
    # Where a line begins, its first columns hold little ink: look at the height where it goes on.
    level = _next_known(split, own.seen)
    reach = int(np.ceil(pen_px)) + tail
    around = ink_between(dark, full, columns, level - reach, level + reach)
    centre = np.where(shared, within, split + (below - above) / 2)
    return ColumnInk(
        columns=columns,
        split=split.astype(np.float64),
        above=above,
        below=below,
        upper_seen=upper,
        lower_seen=lower,
        shared=shared,
        seen=own.seen,
        way=way,
        way_reach=(own.low - own.high + 1) / 2,
        guess=np.where(own.seen, centre, np.nan),
        edge_thickness=np.where(own.seen, above + below, around),
    )


def _next_known(values: Ints, known: Bools) -> Ints:
    """The values, where unknown that of the next known column (or the last one)."""
    index = np.where(known, np.arange(len(values)), len(values) - 1)
    following = np.minimum.accumulate(index[::-1])[::-1]
    result: Ints = values[following]
    return result
