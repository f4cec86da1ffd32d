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
    stray = _STRAY * np.abs(np.arange(height) - height // 2)
    # Beyond the first and the last row there is nowhere to come from.
    here, flat = np.full((4, height + 2 * FLAT_PX), np.inf), np.zeros(height + 2 * FLAT_PX)
    steep = np.empty(height)
    for column in range(columns):
        _enter(
            before, band[column], joints[column],
            shared[column] if len(shared) else band[column, :0],
            taken[column] if len(taken) else band[column, :0],
            stray, here, steep, flat, states[column],
        )  # fmt: skip
        _level(here, flat, before, rows[column])
        _steep(here, steep, before, rows[column])
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
def _enter(  # type: ignore[no-untyped-def]
    before, band, joint, shared, taken, stray, here, steep, flat, came
):
    """Cheapest costs to be in a column at each height into `here`, by state, and from which.

    And what each place costs to climb or step there, into `steep` and `flat`. `here` and `flat`
    have `FLAT_PX` places more at either end.
    """
    height, least = len(band), before.min()
    paper = _JOINT_RISE if joint else _PAPER
    is_second, has_taken = len(shared) > 0, len(taken) > 0
    for y in range(height):
        enter, aside, up_or_down, step = _PAPER, stray[y], paper, paper
        if band[y]:
            enter, up_or_down, step = _ALONG, _RISE, _RISE
            if is_second:
                is_shared = shared[y]
                enter = _SHARED_ALONG if is_shared else _ALONG
                up_or_down = _SHARED_RISE if is_shared else _LEFT_RISE
            if has_taken and taken[y]:
                aside = _STOLEN_ALONG
        steep[y], flat[y + FLAT_PX] = up_or_down, step
        level, up = before[_FLAT, y] - least, before[_UP, y] - least
        down, lifted = before[_DOWN, y] - least, before[_LIFTED, y] - least
        best, state = level, _FLAT
        if up < best:
            best, state = up, _UP
        if down < best:
            best, state = down, _DOWN
        if lifted < best:
            best, state = lifted, _LIFTED
        begun = best + _CHANGE
        came[_FLAT, y] = state if begun < level else _FLAT
        came[_UP, y] = state if begun < up else _UP
        came[_DOWN, y] = state if begun < down else _DOWN
        at = y + FLAT_PX
        here[_FLAT, at] = min(begun, level) + (enter + aside)
        here[_UP, at] = min(begun, up) + enter
        here[_DOWN, at] = min(begun, down) + enter
        begun = best + _LIFT
        came[_LIFTED, y] = state if begun < lifted else _LIFTED
        here[_LIFTED, at] = min(begun, lifted) + (stray[y] + _LIFTED_ALONG)


@compiled
def _level(here, flat, out, rows):  # type: ignore[no-untyped-def]
    """Cheapest costs to leave a column at each height into `out`, and where it was entered.

    Here for ways that run flat or are lifted: from some rows above or below.
    """
    for y in range(out.shape[1]):
        at = y + FLAT_PX
        cost, row, lifted, lifted_row = here[_FLAT, at], y, here[_LIFTED, at], y
        # Some rows up and down, with what lies on the way.
        for step in range(1, FLAT_PX + 1):
            dear, other = here[_FLAT, at - step], here[_FLAT, at + step]
            for k in range(step):
                dear, other = dear + flat[at - k], other + flat[at + step - k]
            if dear < cost:
                cost, row = dear, y - step
            if other < cost:
                cost, row = other, y + step
            dear = here[_LIFTED, at - step] + step * _LIFTED_RISE
            other = here[_LIFTED, at + step] + step * _LIFTED_RISE
            if dear < lifted:
                lifted, lifted_row = dear, y - step
            if other < lifted:
                lifted, lifted_row = other, y + step
        out[_FLAT, y], rows[_FLAT, y] = cost, row
        out[_LIFTED, y], rows[_LIFTED, y] = lifted, lifted_row


@compiled
def _steep(here, steep, out, rows):  # type: ignore[no-untyped-def]
    """As `_level`, for ways that climb or fall: from any row below or above, both in one loop."""
    last = out.shape[1] - 1
    up_cost, up_at, down_cost, down_at = _NEVER, last, _NEVER, 0
    out[_UP, last], rows[_UP, last] = _NEVER, last
    out[_DOWN, 0], rows[_DOWN, 0] = _NEVER, 0
    for y in range(1, last + 1):
        if here[_DOWN, y - 1 + FLAT_PX] < down_cost:
            down_cost, down_at = here[_DOWN, y - 1 + FLAT_PX], y - 1
        down_cost += steep[y]
        out[_DOWN, y], rows[_DOWN, y] = down_cost, down_at
        mirrored = last - y
        if here[_UP, mirrored + 1 + FLAT_PX] <= up_cost:
            up_cost, up_at = here[_UP, mirrored + 1 + FLAT_PX], mirrored + 1
        up_cost += steep[mirrored + 1]
        out[_UP, mirrored], rows[_UP, mirrored] = up_cost, up_at
