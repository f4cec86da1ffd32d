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
# What is kept of a place in a byte: the state before, and a bit for each state that began here.
_STATE, _FIRST_BIT = 3, 2
# And in another: by which of `_MOVES` a flat way came there, and above that a lifted one.
_MOVES, _MOVE, _LIFTED_BITS = (0, -1, 1, -2, 2), 7, 3


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

    Compiled, as a page has some million places. The loops over a column are functions of their own,
    each with few arrays and nothing that depends on the place before: only so they become vector
    instructions. What led to each place is kept in bits.
    """
    columns, height = band.shape
    began, moved = np.empty((2, columns, height), np.uint8)
    rose, fell = np.empty((2, columns, height), np.bool_)
    # Beyond the first and the last row there is nowhere to come from.
    costs = np.full((2, 4, height + 2 * FLAT_PX), np.inf)
    inner = slice(FLAT_PX, FLAT_PX + height)
    costs[0, :, inner] = _NEVER
    costs[0, _FLAT, inner] = start
    stray = _STRAY * np.abs(np.arange(height) - height // 2)
    enter, aside = np.empty(height), np.empty(height)
    steep, spare = np.empty(height), np.empty(height)
    step, nothing = np.zeros(height + 2 * FLAT_PX), band[0, :0]
    for column in range(columns):
        here, after = costs[column % 2], costs[1 - column % 2]
        flat, up, down, lifted = here[0, inner], here[1, inner], here[2, inner], here[3, inner]
        _prices(
            band[column], shared[column] if len(shared) else nothing,
            taken[column] if len(taken) else nothing, stray, joints[column],
            enter, aside, steep, step[inner],
        )  # fmt: skip
        _begin(flat, up, down, lifted, _least(flat, up, down, lifted, spare), began[column])
        _enter(flat, up, down, lifted, enter, aside, stray)
        _level(here[_FLAT], step, after[_FLAT, inner], moved[column])
        _lift(here[_LIFTED], after[_LIFTED, inner], moved[column])
        _steep(up, down, steep, after[_UP, inner], after[_DOWN, inner])
        _steep_began(
            up, down, after[_UP, inner], after[_DOWN, inner], rose[column], fell[column]
        )  # fmt: skip
    return _walked_back(costs[columns % 2][:, inner], stop, began, moved, rose, fell)


@compiled
def _walked_back(before, stop, began, moved, rose, fell):  # type: ignore[no-untyped-def]
    """Where the way entered and left each column, from the cheapest end on back."""
    columns, height = began.shape
    state, y = 0, 0
    for s in range(4):
        for k in range(height):
            if before[s, k] + stop[k] < before[state, y] + stop[y]:
                state, y = s, k
    entered, left = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for column in range(columns - 1, -1, -1):
        left[column] = y
        if state == _FLAT:
            y += _MOVES[moved[column, y] & _MOVE]
        elif state == _LIFTED:
            y += _MOVES[moved[column, y] >> _LIFTED_BITS]
        elif state == _UP and y < height - 1:
            while not rose[column, y]:
                y += 1
            y += 1
        elif state == _DOWN and y > 0:
            while not fell[column, y]:
                y -= 1
            y -= 1
        entered[column] = y
        if began[column, y] >> (_FIRST_BIT + state) & 1:
            state = began[column, y] & _STATE
    return entered, left


@compiled
def _prices(  # type: ignore[no-untyped-def]
    band, shared, taken, stray, joint, enter, aside, steep, step
):
    """What it costs to enter a column at each height, flat (`aside`) or otherwise (`enter`).

    And to climb or fall through each place there (`steep`), or to step through it (`step`).
    """
    paper = _JOINT_RISE if joint else _PAPER
    for y in range(len(band)):
        step[y] = _RISE if band[y] else paper
    if len(shared):
        for y in range(len(band)):
            ink, rise = _SHARED_ALONG if shared[y] else _ALONG, _LEFT_RISE
            rise = _SHARED_RISE if shared[y] else rise
            enter[y], steep[y] = ink if band[y] else _PAPER, rise if band[y] else paper
    else:
        for y in range(len(band)):
            enter[y], steep[y] = _ALONG if band[y] else _PAPER, step[y]
    if len(taken):
        for y in range(len(band)):
            aside[y] = enter[y] + (_STOLEN_ALONG if taken[y] and band[y] else stray[y])
    else:
        for y in range(len(band)):
            aside[y] = enter[y] + stray[y]


@compiled
def _least(one, two, three, four, spare):  # type: ignore[no-untyped-def]
    """The least of four arrays: halves are laid upon each other until little is left."""
    count = len(one)
    for y in range(count):
        least = one[y]
        least = two[y] if two[y] < least else least
        least = three[y] if three[y] < least else least
        spare[y] = four[y] if four[y] < least else least
    while count > 16:
        half = (count + 1) // 2
        for y in range(count // 2):
            spare[y] = spare[y + half] if spare[y + half] < spare[y] else spare[y]
        count = half
    least = spare[0]
    for y in range(1, count):
        least = min(least, spare[y])
    return least


@compiled
def _begin(flat, up, down, lifted, least, began):  # type: ignore[no-untyped-def]
    """Brings the costs down by `least` and, where another state may begin there, to its price."""
    for y in range(len(flat)):
        level, climbs = flat[y] - least, up[y] - least
        falls, off = down[y] - least, lifted[y] - least
        best, state = level, _FLAT
        best, state = (climbs, _UP) if climbs < best else (best, state)
        best, state = (falls, _DOWN) if falls < best else (best, state)
        best, state = (off, _LIFTED) if off < best else (best, state)
        change, lift = best + _CHANGE, best + _LIFT
        began[y] = (
            state
            | (1 << _FIRST_BIT + _FLAT if change < level else 0)
            | (1 << _FIRST_BIT + _UP if change < climbs else 0)
            | (1 << _FIRST_BIT + _DOWN if change < falls else 0)
            | (1 << _FIRST_BIT + _LIFTED if lift < off else 0)
        )
        flat[y], up[y] = change if change < level else level, change if change < climbs else climbs
        down[y], lifted[y] = change if change < falls else falls, lift if lift < off else off


@compiled
def _enter(flat, up, down, lifted, enter, aside, stray):  # type: ignore[no-untyped-def]
    for y in range(len(flat)):
        flat[y] += aside[y]
    for y in range(len(flat)):
        up[y] += enter[y]
        down[y] += enter[y]
    for y in range(len(flat)):
        lifted[y] += stray[y] + _LIFTED_ALONG


@compiled
def _level(here, step, out, moved):  # type: ignore[no-untyped-def]
    """Cheapest costs to leave a column flat at each height into `out`, and from where in `_MOVES`.

    From up to two rows above or below, with what lies on the way. `here` and `step` have `FLAT_PX`
    places more at either end.
    """
    above, at, below = here[1:], here[2:], here[3:]
    one_up, on, one_down, two_down = step[1:], step[2:], step[3:], step[4:]
    for y in range(len(out)):
        cost, move = at[y], 0
        dear = above[y] + on[y]
        cost, move = (dear, 1) if dear < cost else (cost, move)
        dear = below[y] + one_down[y]
        cost, move = (dear, 2) if dear < cost else (cost, move)
        dear = here[y] + on[y] + one_up[y]
        cost, move = (dear, 3) if dear < cost else (cost, move)
        dear = here[y + 4] + two_down[y] + one_down[y]
        cost, move = (dear, 4) if dear < cost else (cost, move)
        out[y], moved[y] = cost, move


@compiled
def _lift(here, out, moved):  # type: ignore[no-untyped-def]
    """As `_level`, for ways that are lifted: how far they go costs the same anywhere."""
    above, at, below, far_below = here[1:], here[2:], here[3:], here[4:]
    for y in range(len(out)):
        cost, move = at[y], 0
        dear = above[y] + _LIFTED_RISE
        cost, move = (dear, 1) if dear < cost else (cost, move)
        dear = below[y] + _LIFTED_RISE
        cost, move = (dear, 2) if dear < cost else (cost, move)
        dear = here[y] + 2 * _LIFTED_RISE
        cost, move = (dear, 3) if dear < cost else (cost, move)
        dear = far_below[y] + 2 * _LIFTED_RISE
        cost, move = (dear, 4) if dear < cost else (cost, move)
        out[y] = cost
        moved[y] |= move << _LIFTED_BITS


@compiled
def _steep(up, down, steep, out_up, out_down):  # type: ignore[no-untyped-def]
    """As `_level`, for ways that climb or fall: from any row below or above.

    Each place waits for the one before it, so both go in one loop, and nothing else does.
    """
    last = len(up) - 1
    climb, fall = _NEVER, _NEVER
    out_up[last], out_down[0] = _NEVER, _NEVER
    for y in range(1, last + 1):
        fall = (down[y - 1] if down[y - 1] < fall else fall) + steep[y]
        out_down[y] = fall
        below = last - y + 1
        climb = (up[below] if up[below] < climb else climb) + steep[below]
        out_up[below - 1] = climb


@compiled
def _steep_began(up, down, out_up, out_down, rose, fell):  # type: ignore[no-untyped-def]
    """Whether the way that climbs or falls to each height began next to it, or further off."""
    for y in range(len(up) - 1):
        rose[y] = up[y + 1] <= out_up[y + 1]
        fell[y + 1] = down[y] < out_down[y]
