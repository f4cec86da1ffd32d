"""The cheapest ways through a mask of ink: dynamic programming over its columns.

A way runs flat, climbs, falls or is lifted off a gap. What each column and each change costs is
below; `follow` decides which ink is whose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
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
_NEVER = 1e6
_FLAT, _UP, _DOWN, _LIFTED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Pinned:
    """Where a way comes from and goes to, in rows of its band; None where that is open."""

    start: int | None = None
    stop: int | None = None


def band_of(mask: Bools, baseline: float, half: int, first: int, last: int) -> NDArray[np.bool_]:
    """(columns, 2 * half) bool: the mask around a baseline, paper beyond the page."""
    band = np.zeros((last - first, 2 * half), bool)
    top = round(baseline) - half
    low, high = max(0, top), min(mask.shape[0], top + 2 * half)
    if low < high:
        band[:, low - top : high - top] = mask[low:high, first:last].T
    return band


def cheapest_way(
    band: Bools,
    joints: Bools,
    pinned: Pinned | None = None,
    shared: Bools | None = None,
    taken: Bools | None = None,
) -> tuple[Ints, Ints]:
    """Where the cheapest way through a band enters and leaves each column, both (columns,).

    `band` is (columns, height) bool, True for ink, its baseline in its middle; `joints` (columns,)
    tells the columns where leads meet. `shared` is ink that other rows explain, `taken` that of
    their own flat lines, both like `band`.
    """
    pinned = pinned or Pinned()
    level = np.arange(band.shape[1])
    start, stop = 20 * _STRAY * np.abs(level - band.shape[1] // 2), np.zeros(band.shape[1])
    if pinned.start is not None:
        start = _PAPER * np.abs(level - pinned.start)
    if pinned.stop is not None:
        stop = _PAPER * np.abs(level - pinned.stop)
    nothing = np.zeros((0, 0), bool)
    entered, left = _search(
        band,
        joints,
        nothing if shared is None else shared,
        nothing if taken is None else taken,
        start,
        stop,
    )
    return entered, left


@compiled
def _search(band, joints, shared, taken, start, stop):  # type: ignore[no-untyped-def]
    """The cheapest way, from `start` to `stop`, the costs to be at each height at the ends.

    Compiled, as a page has some million places. For each place and state it is kept at which
    height its column was entered, and in which state the column before was left.
    """
    columns, height = band.shape
    rows = np.empty((columns, 4, height), np.int16)
    states = np.empty((columns, 4, height), np.int8)
    before = np.full((4, height), _NEVER)
    before[_FLAT] = start
    here = np.empty((4, height))
    enter, aside, steep, flat = np.empty((4, height))
    for column in range(columns):
        _costs(band, joints, shared, taken, column, enter, aside, steep, flat)
        least = before.min()
        _enter(before - least, enter, aside, here, states[column])
        _leave(here, steep, flat, before, rows[column])
    state, y = 0, 0
    for s in range(4):
        for k in range(height):
            if before[s, k] + stop[k] < before[state, y] + stop[y]:
                state, y = s, k
    entered, left = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for column in range(columns - 1, -1, -1):
        left[column] = y
        y = rows[column, state, y]
        entered[column] = y
        state = states[column, state, y]
    return entered, left


@compiled
def _enter(before, enter, aside, here, came):  # type: ignore[no-untyped-def]
    """Cheapest costs to be in a column at each height into `here`, by state, and from which."""
    height = len(enter)
    best = before[0].copy()
    first = np.zeros(height, np.int8)
    for state in range(1, 4):
        for y in range(height):
            if before[state, y] < best[y]:
                best[y], first[y] = before[state, y], state
    for state in range(4):
        begin = _LIFT if state == _LIFTED else _CHANGE
        for y in range(height):
            begun = best[y] + begin
            changes = begun < before[state, y]
            here[state, y] = begun if changes else before[state, y]
            came[state, y] = first[y] if changes else state
    for y in range(height):
        here[_FLAT, y] += enter[y] + aside[y]
        here[_UP, y] += enter[y]
        here[_DOWN, y] += enter[y]
        here[_LIFTED, y] += _STRAY * abs(y - height // 2) + _LIFTED_ALONG


@compiled
def _costs(  # type: ignore[no-untyped-def]
    band, joints, shared, taken, column, enter, aside, steep, flat
):
    """What each place of a column costs: to enter it, to be flat there too, to climb or step."""
    height = band.shape[1]
    paper = _JOINT_RISE if joints[column] else _PAPER
    for y in range(height):
        aside[y] = _STRAY * abs(y - height // 2)
        if not band[column, y]:
            enter[y], steep[y], flat[y] = _PAPER, paper, paper
            continue
        enter[y], steep[y], flat[y] = _ALONG, _RISE, _RISE
        if len(shared):
            steep[y] = _LEFT_RISE
            if shared[column, y]:
                enter[y], steep[y] = _SHARED_ALONG, _SHARED_RISE
        if len(taken) and taken[column, y]:
            aside[y] = _STOLEN_ALONG


@compiled
def _leave(here, steep, flat, out, rows):  # type: ignore[no-untyped-def]
    """Cheapest costs to leave a column at each height into `out`, and where it was entered."""
    _level(here, flat, out, rows)
    _steep(here, steep, out, rows)


@compiled
def _level(here, flat, out, rows):  # type: ignore[no-untyped-def]
    """`_leave` for ways that run flat or are lifted: from some rows above or below."""
    height = here.shape[1]
    for y in range(height):
        out[_FLAT, y], rows[_FLAT, y] = here[_FLAT, y], y
        out[_LIFTED, y], rows[_LIFTED, y] = here[_LIFTED, y], y
    # Some rows up and down, with what lies on the way.
    for step in range(1, FLAT_PX + 1):
        lifted = step * _LIFTED_RISE
        for y in range(step, height):
            dear = here[_FLAT, y - step]
            for k in range(step):
                dear += flat[y - k]
            if dear < out[_FLAT, y]:
                out[_FLAT, y], rows[_FLAT, y] = dear, y - step
            if here[_LIFTED, y - step] + lifted < out[_LIFTED, y]:
                out[_LIFTED, y] = here[_LIFTED, y - step] + lifted
                rows[_LIFTED, y] = y - step
        for y in range(height - step):
            dear = here[_FLAT, y + step]
            for k in range(step):
                dear += flat[y + step - k]
            if dear < out[_FLAT, y]:
                out[_FLAT, y], rows[_FLAT, y] = dear, y + step
            if here[_LIFTED, y + step] + lifted < out[_LIFTED, y]:
                out[_LIFTED, y] = here[_LIFTED, y + step] + lifted
                rows[_LIFTED, y] = y + step


@compiled
def _steep(here, steep, out, rows):  # type: ignore[no-untyped-def]
    """`_leave` for ways that climb or fall: from any row below or above."""
    height = here.shape[1]
    cost, at = _NEVER, height - 1
    out[_UP, height - 1], rows[_UP, height - 1] = _NEVER, height - 1
    for y in range(height - 2, -1, -1):
        if here[_UP, y + 1] <= cost:
            cost, at = here[_UP, y + 1], y + 1
        cost += steep[y + 1]
        out[_UP, y], rows[_UP, y] = cost, at
    cost, at = _NEVER, 0
    out[_DOWN, 0], rows[_DOWN, 0] = _NEVER, 0
    for y in range(1, height):
        if here[_DOWN, y - 1] < cost:
            cost, at = here[_DOWN, y - 1], y - 1
        cost += steep[y]
        out[_DOWN, y], rows[_DOWN, y] = cost, at
