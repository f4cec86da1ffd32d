"""Follows every row of ink from left to right, also where rows reach into each other.

Each row takes the cheapest way through the ink (dynamic programming over the columns). A way runs
flat, climbs, falls or is lifted off a gap, and pays for every change: so a limb of a QRS runs
straight on through another row's line, and a short cut from limb to limb along that line costs more
than the way over the tip. Ways are first found row by row; where two took the same ink, or left
some of it to nobody, they are found again, each knowing the others': ink that no other row explains
attracts. Two rows that exchanged their lines at a crossing are exchanged back: row by row neither
can return, as its own line is the other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.lead_ends import taken_out
from ecgvision.path import FLAT_PX, Pinned, band_of, cheapest_way
from ecgvision.print_boxes import name_boxes
from ecgvision.runs import paint, true_runs
from ecgvision.threads import side_by_side
from ecgvision.types import Box, LeadBox
from ecgvision.ways import AROUND_MM, Way, exchange_back

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# How far from its baseline a row may reach: 4 mV at the usual gain.
BAND_MM = 40.0

# What is looked at beyond the boxes.
_BEFORE_MM = 2.0
# This near to where a lead begins or ends another may go on at its own height.
_JOINT_MM = 1.2
# Ink that two ways share or none took counts from this size on; it is looked at with its
# surroundings.
_SHARED_MM2, _LEFT_MM2 = 1.0, 0.5
_BESIDE_MM = 1.0
_SWEEPS = 2
# A way that runs through so much ink in a name's place may be astray on its letters; another way is
# better that explains so much more elsewhere.
_LETTERS_MM2, _MORE_MM2 = 0.3, 0.3
# So much ink in a column that none explains: the row's own line may be there.
_BARE_MM = 0.5
# Two rows may touch; a way that runs along another row's line for longer is astray.
_ASTRAY_MM, _BETWEEN_ASTRAY = 3.0, 5


def follow_rows(
    mask: Bools, rows: Sequence[Sequence[LeadBox]], px_per_mm: float
) -> tuple[Way, ...]:
    """The way of each row through the ink of `mask`, (H, W) bool at about 6 px/mm.

    All ways run from a little before the leftmost to a little after the rightmost edge of all
    leads' boxes, so that what they follow is seen to begin and end.
    """
    begin_mm = min(b.box.left_mm for row in rows for b in row) - _BEFORE_MM
    end_mm = max(b.box.right_mm for row in rows for b in row) + _BEFORE_MM
    first = max(0, round(begin_mm * px_per_mm))
    last = min(mask.shape[1], round(end_mm * px_per_mm))
    baselines = [row[0].baseline_mm * px_per_mm for row in rows]
    half = round(BAND_MM * px_per_mm)
    joints = _joints(rows, px_per_mm, mask.shape[1])

    def alone(baseline: float) -> Way:
        band = band_of(mask, baseline, half, first, last)
        entered, left = cheapest_way(band, joints[first:last])
        top = round(baseline) - half
        return Way(first, entered + top, left + top, np.zeros(len(left), bool))

    ways = side_by_side(partial(alone, baseline) for baseline in baselines)
    everywhere = np.ones(mask.shape[1], bool)
    _sweep(mask, ways, baselines, half, joints, px_per_mm, everywhere)
    exchanged = exchange_back(ways, baselines, px_per_mm, mask.shape[1])
    if exchanged.any():
        _sweep(mask, ways, baselines, half, joints, px_per_mm, exchanged)
    _past_names(mask, ways, rows, half, joints, px_per_mm)
    _reach_ends(mask, ways, rows, px_per_mm)
    least = round(_ASTRAY_MM * px_per_mm)
    return tuple(
        replace(way, astray=_astray(index, ways, baselines, least))
        for index, way in enumerate(ways)
    )


def _sweep(
    mask: Bools,
    ways: list[Way],
    baselines: Sequence[float],
    half: int,
    joints: Bools,
    px_per_mm: float,
    moved: Bools,
) -> None:
    """Finds the ways again, in `ways`, wherever they are disputed and something `moved`."""
    for _ in range(_SWEEPS):
        looked_at, moved = moved, np.zeros(mask.shape[1], bool)
        for index, way in enumerate(ways):
            others = [other for other in ways if other is not way]
            spans = [
                (start, stop)
                for start, stop in _disputed(mask, way, others, px_per_mm)
                if looked_at[start:stop].any()
            ]
            new = _again(mask, index, ways, baselines, half, spans, joints)
            moved[way.first : way.last] |= (new.left != way.left) | (new.entered != way.entered)
            ways[index] = new
        if not moved.any():
            break


def _past_names(
    mask: Bools,
    ways: list[Way],
    rows: Sequence[Sequence[LeadBox]],
    half: int,
    joints: Bools,
    px_per_mm: float,
) -> None:
    """Takes off letters, in `ways`, those that run along a lead's name and leave their own ink.

    A way that runs through a name is found again as if its letters were another row's ink, or even
    that row's flat line; the new way is taken if it explains more ink outside of the names.
    """
    baselines = [row[0].baseline_mm * px_per_mm for row in rows]
    names = [_in_px(name, px_per_mm) for name in name_boxes(box for row in rows for box in row)]
    letters = np.zeros_like(mask)
    for down, across in names:
        letters[down, across] = mask[down, across]
    around = round(AROUND_MM * px_per_mm)
    for down, across in names:
        first = max(across.start - around, ways[0].first)
        span = (first, min(across.stop + around, ways[0].last))
        for index, way in enumerate(ways):
            touched = letters[down, across] & _covered([way], down, across)
            if np.count_nonzero(touched) >= _LETTERS_MM2 * px_per_mm**2:
                _past_letters(mask, ways, index, baselines, half, joints, px_per_mm, letters, span)


def _past_letters(
    mask: Bools,
    ways: list[Way],
    index: int,
    baselines: Sequence[float],
    half: int,
    joints: Bools,
    px_per_mm: float,
    letters: Bools,
    span: tuple[int, int],
) -> None:
    """Takes the best of a row's ways in the columns of `span`: with its letters, or past them."""
    top, columns = max(0, round(baselines[index]) - half), slice(*span)
    band = slice(top, min(top + 2 * half, len(mask)))
    rest = mask[band, columns] & ~letters[band, columns]
    rest &= ~_covered([other for i, other in enumerate(ways) if i != index], band, columns)
    own = _covered([ways[index]], band, columns)
    most = np.count_nonzero(rest & own)
    # Where ink was left over, the way has to leave the letters.
    dear, nothing = np.zeros_like(letters), np.zeros_like(letters)
    bare = np.count_nonzero(rest & ~own, axis=0) >= _BARE_MM * px_per_mm
    dear[:, columns] = letters[:, columns] & bare
    for ink, flat in ((mask, nothing), (mask, dear), (mask & ~dear, nothing)):
        new = _again(ink, index, ways, baselines, half, [span], joints, (letters, flat))
        explained = np.count_nonzero(rest & _covered([new], band, columns))
        if explained > most + _MORE_MM2 * px_per_mm**2:
            ways[index], most = new, explained


def _in_px(box: Box, px_per_mm: float) -> tuple[slice, slice]:
    """The rows and the columns of a box."""
    top, bottom, left, right = (
        max(0, round(mm * px_per_mm))
        for mm in (box.top_mm, box.bottom_mm, box.left_mm, box.right_mm)
    )
    return slice(top, bottom), slice(left, right)


def _reach_ends(
    mask: Bools, ways: list[Way], rows: Sequence[Sequence[LeadBox]], px_per_mm: float
) -> None:
    """Takes the ways, in `ways`, out to where the ink of each of their leads begins and ends."""
    whole, across = slice(0, mask.shape[0]), slice(ways[0].first, ways[0].last)
    for index, (way, row) in enumerate(zip(ways, rows, strict=True)):
        windows = [
            (round(b.box.left_mm * px_per_mm), round(b.box.right_mm * px_per_mm)) for b in row
        ]
        others = np.zeros_like(mask)
        others[:, across] = _covered([one for one in ways if one is not way], whole, across)
        entered, left = taken_out(mask, way.first, way.entered, way.left, windows, others)
        ways[index] = replace(way, entered=entered, left=left)


def _joints(rows: Sequence[Sequence[LeadBox]], px_per_mm: float, width: int) -> Bools:
    """(width,) bool: the columns where a lead begins or ends."""
    joints = np.zeros(width, bool)
    for edge in {x for row in rows for b in row for x in (b.box.left_mm, b.box.right_mm)}:
        start, stop = (round((edge + d) * px_per_mm) for d in (-_JOINT_MM, _JOINT_MM))
        joints[max(0, start) : max(0, stop)] = True
    return joints


# --- rows that meet ---------------------------------------------------------------------------


def _covered(ways: Sequence[Way], rows: slice, columns: slice) -> Bools:
    """What any of the ways explains of a part of the page; all run through the same columns."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    inside = slice(columns.start - ways[0].first, columns.stop - ways[0].first) if ways else None
    union = np.zeros(shape, bool)
    for first, last in (way.cover for way in ways):
        paint(union, first[inside] - rows.start, last[inside] - rows.start)
    return union


def _disputed(
    mask: Bools, way: Way, others: Sequence[Way], px_per_mm: float
) -> list[tuple[int, int]]:
    """The stretches of columns where the row shares its ink, or ink beside it was left over."""
    around = round(AROUND_MM * px_per_mm)
    # All that can be disputed lies no higher and no lower than the way, or begins beside it.
    low = min(max(0, int(way.top.min()) - around), mask.shape[0])
    rows = slice(low, max(low, min(mask.shape[0], int(way.bottom.max()) + around)))
    columns = slice(way.first, way.last)
    ink = mask[rows, columns]
    own = _covered([way], rows, columns) & ink
    rest = _covered(others, rows, columns) & ink
    spans = list(_stretches(own & rest, None, _SHARED_MM2 * px_per_mm**2))
    # Another row's line may lie between a way and the tip that it should have reached.
    reach = 2 * round(_BESIDE_MM * px_per_mm) + 1
    beside = cv2.dilate(own.astype(np.uint8), np.ones((reach, 3), np.uint8)) > 0
    spans += _stretches(ink & ~own & ~rest, beside, _LEFT_MM2 * px_per_mm**2)
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        begin = max(way.first, way.first + start - around)
        end = min(way.last, way.first + stop + around)
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _stretches(part: Bools, touching: Bools | None, least_px: float) -> Iterator[tuple[int, int]]:
    """First and last column of each large piece of `part`, if it touches `touching`."""
    near = part if touching is None else part & touching
    in_column = cv2.reduce(part.view(np.uint8), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    # A piece ends where a column has nothing: most stretches between such are soon left out.
    for start, stop in true_runs(in_column > 0):
        if in_column[start:stop].sum() < least_px or not near[:, start:stop].any():
            continue
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            part[:, start:stop].astype(np.uint8), connectivity=8
        )
        large = stats[:, cv2.CC_STAT_AREA] >= least_px
        for piece in np.unique(labels[near[:, start:stop]]):
            if large[piece]:
                left = start + int(stats[piece, cv2.CC_STAT_LEFT])
                yield left, left + int(stats[piece, cv2.CC_STAT_WIDTH])


def _flat_lines(
    index: int, ways: Sequence[Way], baselines: Sequence[float]
) -> Iterator[tuple[Ints, Ints]]:
    """First and last row of each other way's flat line, where it lies nearer to its own baseline.

    Where there is none the last row is above the first.
    """
    for other, way in enumerate(ways):
        if other == index:
            continue
        first, last = way.cover
        border = (baselines[other] + baselines[index]) / 2
        if baselines[other] < baselines[index]:
            last = np.minimum(last, int(np.ceil(border)) - 1)
        else:
            first = np.maximum(first, int(np.floor(border)) + 1)
        flat = way.bottom - way.top <= FLAT_PX
        yield np.where(flat, first, 1), np.where(flat, last, 0)


def _astray(index: int, ways: Sequence[Way], baselines: Sequence[float], least: int) -> Bools:
    """Where a flat way runs in ink that is another row's, at least so many columns on end.

    The spikes between two such stretches are that row's too.
    """
    way = ways[index]
    middle = (way.top + way.bottom) // 2
    within = np.zeros(len(middle), bool)
    for first, last in _flat_lines(index, ways, baselines):
        within |= (middle >= first) & (middle <= last)
    within &= way.bottom - way.top <= FLAT_PX
    whole = within.astype(np.uint8)[None, :]
    long = cv2.morphologyEx(whole, cv2.MORPH_OPEN, np.ones((1, least), np.uint8))
    reach = round(_BETWEEN_ASTRAY * least)
    padded = np.pad(long[0], reach, mode="edge")[None]
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((1, reach), np.uint8))
    result: Bools = closed[0, reach : reach + len(within)] > 0
    return result


def _again(
    mask: Bools,
    index: int,
    ways: Sequence[Way],
    baselines: Sequence[float],
    half: int,
    spans: Sequence[tuple[int, int]],
    joints: Bools,
    letters: tuple[Bools, Bools] | None = None,
) -> Way:
    """A row's way with its parts in `spans` found again, knowing the other rows' ways.

    Of `letters`, both (H, W) bool, the first are as another row's ink, the second as its flat line.
    """
    way, top = ways[index], round(baselines[index]) - half
    others = [other for other in ways if other is not way]
    flat_lines = list(_flat_lines(index, ways, baselines))
    new_entered, new_left = way.entered.copy(), way.left.copy()
    for start, stop in spans:
        inside = slice(start - way.first, stop - way.first)
        pin = Pinned(
            _in_band(way.left[inside.start - 1] - top, half) if start > way.first else None,
            _in_band(way.entered[inside.stop] - top, half) if stop < way.last else None,
        )
        shared = _covered(others, slice(top, top + 2 * half), slice(start, stop))
        taken = np.zeros_like(shared)
        for first, last in flat_lines:
            paint(taken, first[inside] - top, last[inside] - top)
        if letters is not None:
            shared |= band_of(letters[0], baselines[index], half, start, stop).T
            taken |= band_of(letters[1], baselines[index], half, start, stop).T
        band = band_of(mask, baselines[index], half, start, stop)
        entered, left = cheapest_way(
            band,
            joints[start:stop],
            pin,
            np.ascontiguousarray(shared.T),
            np.ascontiguousarray(taken.T),
        )
        new_entered[inside], new_left[inside] = entered + top, left + top
    return replace(way, entered=new_entered, left=new_left)


def _in_band(y: float, half: int) -> int:
    return int(np.clip(y, 0, 2 * half - 1))
