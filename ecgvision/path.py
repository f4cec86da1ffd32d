"""The cheapest ways through a mask of ink: dynamic programming over its columns.

A way runs flat, climbs, falls or is lifted off a gap. What each column and each change costs is
below; `follow` decides which ink is whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Costs = NDArray[np.float32]
    Depths = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Costs, in units of one change between flat, climbing and falling. Paper is dear, so that only a
# real gap is crossed; ink costs next to nothing up and down, as spikes are high. Flat parts pay for
# their distance from the baseline, spikes do not.
_PAPER, _ALONG, _RISE = 8.0, 0.01, 0.003
_STRAY = 0.004
_CHANGE = 1.0
# Where leads meet, one ends and the next begins at its own height: up and down costs little there.
_JOINT_RISE = 0.1
# In the second round: ink that another row explains, and ink that none does. To run flat along
# another row's own flat line is dearer than paper: two rows may cross, but not be one.
_SHARED_ALONG, _SHARED_RISE, _LEFT_RISE = 0.3, 0.004, -0.004
_STOLEN_ALONG = 6.0
# To lift the pen costs more than the changes of any QRS, each column of a gap then less than paper.
_LIFT, _LIFTED_ALONG, _LIFTED_RISE = 12.0, 0.5, 0.05
# A flat way goes up or down by no more than this in one column (px).
FLAT_PX = 2
_NEVER = np.float32(1e6)
_FLAT, _UP, _DOWN, _LIFTED = 0, 1, 2, 3
# What it costs to begin to go so, whatever the way did before.
_BEGIN = np.array([_CHANGE, _CHANGE, _CHANGE, _LIFT], np.float32)[:, None, None]


@dataclass(frozen=True, slots=True)
class Pinned:
    """Where a way comes from and goes to, in rows of its band; None where that is open."""

    start: int | None = None
    stop: int | None = None


def bands_of(
    mask: Bools, baselines: Sequence[float], half: int, first: int, last: int
) -> NDArray[np.bool_]:
    """(columns, rows, 2 * half) bool: the mask around each baseline, paper beyond the page."""
    padded = np.pad(mask[:, first:last], ((2 * half, 2 * half), (0, 0)))
    tops = [int(np.clip(round(b) + half, 0, mask.shape[0] + 2 * half)) for b in baselines]
    stack = np.stack([padded[top : top + 2 * half].T for top in tops], axis=1)
    return np.ascontiguousarray(stack)


def cheapest_ways(
    bands: Bools,
    joints: Bools,
    pinned: Sequence[Pinned] | None = None,
    shared: Bools | None = None,
    taken: Bools | None = None,
    lengths: Sequence[int] | None = None,
) -> list[tuple[Ints, Ints]]:
    """For each band where its cheapest way enters and leaves each column, both (columns,).

    `bands` is (columns, count, height) bool, True for ink, each band's baseline in its middle;
    `joints` (columns, count) tells the columns where leads meet. `shared` is ink that other rows
    explain, `taken` that of their own flat lines. A band may be shorter than the others: then
    `lengths` has its columns, and what follows costs nothing.
    """
    pinned = pinned or [Pinned()] * bands.shape[1]
    columns, count, height = bands.shape
    stray = (_STRAY * np.abs(np.arange(height) - height // 2)).astype(np.float32)
    enter, steep, flat = _costs(bands, joints, shared)
    aside = np.broadcast_to(stray, bands.shape)
    if taken is not None:
        aside = np.where(taken & bands, np.float32(_STOLEN_ALONG), aside)
    aside = np.array(aside)
    for band, length in enumerate(lengths or ()):
        enter[length:, band], aside[length:, band] = 0, 0
    level = np.arange(height)
    before = np.full((4, count, height), _NEVER, np.float32)
    before[_FLAT] = 20 * stray
    for band, pin in enumerate(pinned):
        if pin.start is not None:
            before[_FLAT, band] = _PAPER * np.abs(level - pin.start)
    reached = np.empty((columns + 1, 4, count, height), np.float32)
    reached[0] = before
    for column in range(columns):
        here = np.minimum(before, before.min(axis=0) + _BEGIN)
        here[:_LIFTED] += enter[column]
        here[_FLAT] += aside[column]
        here[_LIFTED] += stray + np.float32(_LIFTED_ALONG)
        before = _within(here, steep[column], flat[column], reached[column + 1])
        before -= before.min(axis=(0, 2), keepdims=True)
    last = reached[-1].astype(np.float64)
    for band, pin in enumerate(pinned):
        if pin.stop is not None:
            last[:, band] += _PAPER * np.abs(level - pin.stop)
    return [
        _walk_back(
            reached[:, :, band],
            enter[:, band],
            aside[:, band],
            steep[:, band],
            flat[:, band],
            last[:, band],
        )
        for band in range(count)
    ]


def _costs(bands: Bools, joints: Bools, shared: Bools | None) -> tuple[Costs, Depths, Depths]:
    """Cost of entering each place, and summed from the top that of going down steeply and flat."""
    enter = np.where(bands, np.float32(_ALONG), np.float32(_PAPER))
    # Sums over a column of paper and ink: in single precision the ink's share would drown.
    paper = np.where(joints, _JOINT_RISE, _PAPER)[:, :, None]
    rise = np.where(bands, _RISE, paper)
    if shared is None:
        depth: Depths = np.cumsum(rise, axis=2)
        return enter, depth, depth
    both = shared & bands
    enter[both] = _SHARED_ALONG
    steep = np.where(bands, _LEFT_RISE, paper)
    steep[both] = _SHARED_RISE
    return enter, np.cumsum(steep, axis=2), np.cumsum(rise, axis=2)


def _within(here: Costs, steep: Depths, flat: Depths, out: Costs) -> Costs:
    """Cheapest cost to leave a column at each height; `here` is that of entering it, by state."""
    for state in (_FLAT, _LIFTED):
        out[state] = here[state]
        for step in range(1, FLAT_PX + 1):
            dear = flat[:, step:] - flat[:, :-step] if state == _FLAT else step * _LIFTED_RISE
            down, up = out[state][:, step:], out[state][:, :-step]
            np.minimum(down, here[state][:, :-step] + dear, out=down)
            np.minimum(up, here[state][:, step:] + dear, out=up)
    out[_UP][:, -1] = _NEVER
    upward = np.minimum.accumulate((here[_UP] + steep)[:, ::-1], axis=1)[:, ::-1]
    out[_UP][:, :-1] = upward[:, 1:] - steep[:, :-1]
    out[_DOWN][:, 0] = _NEVER
    downward = np.minimum.accumulate(here[_DOWN] - steep, axis=1)
    out[_DOWN][:, 1:] = downward[:, :-1] + steep[:, 1:]
    return out


def _walk_back(
    reached: Costs, enter: Costs, aside: Costs, steep: Depths, flat: Depths, last: Depths
) -> tuple[Ints, Ints]:
    """The way itself, from where it ends back to where it came from."""
    columns, height = enter.shape
    stray = (_STRAY * np.abs(np.arange(height) - height // 2)).astype(np.float32)
    entered, left = np.empty(columns, np.int64), np.empty(columns, np.int64)
    state, y = (int(k) for k in np.unravel_index(np.argmin(last), last.shape))
    begin = [float(cost) for cost in _BEGIN.ravel()]
    for column in range(columns - 1, -1, -1):
        left[column] = y
        low, high = max(0, y - FLAT_PX), min(height, y + FLAT_PX + 1)
        if state == _UP:
            low, high = y + 1, height
        elif state == _DOWN:
            low, high = 0, y
        came = reached[column, :, low:high]
        begun = came.min(axis=0) + begin[state]
        cost = np.minimum(came[state], begun)
        if state == _LIFTED:
            cost = cost + stray[low:high] + _LIFTED_RISE * np.abs(np.arange(low - y, high - y))
        else:
            cost = cost + enter[column, low:high]
        if state == _FLAT:
            depth = flat[column]
            cost = cost + aside[column, low:high] + np.abs(depth[low:high] - depth[y])
        elif state == _UP:
            cost = cost + steep[column, low:high]
        elif state == _DOWN:
            cost = cost - steep[column, low:high]
        at = int(cost.argmin())
        y = low + at
        entered[column] = y
        if came[state, at] > begun[at]:
            state = int(came[:, at].argmin())
    return entered, left
