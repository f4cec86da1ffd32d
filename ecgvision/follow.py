"""Follows every row of ink from left to right, also where rows reach into each other.

Each row takes the cheapest way through the ink (dynamic programming over the columns). A way runs
flat, climbs, falls or is lifted off a gap, and pays for every change: so a limb of a QRS runs
straight on through another row's line, and a short cut from limb to limb along that line costs more
than the way over the tip. Ways are first found row by row; where two took the same ink, or left
some of it to nobody, they are found again, each knowing the others': ink that no other row explains
attracts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.path import FLAT_PX, Pinned, bands_of, cheapest_ways
from ecgvision.types import LeadBox

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
_SHARED_MM2, _LEFT_MM2, _AROUND_MM = 1.0, 0.5, 4.0
_BESIDE_MM = 1.0
_SWEEPS = 2
# Two rows may touch; a way that runs along another row's line for longer is astray.
_ASTRAY_MM, _BETWEEN_ASTRAY = 3.0, 5


@dataclass(frozen=True, slots=True)
class Way:
    """A row's way through the ink: where it enters and leaves each column, from `first` on.

    Both are (n,) int64, rows of the mask. `astray` is (n,) bool: there the way runs along the next
    row's line for want of its own, which is not printed.
    """

    first: int
    entered: Ints
    left: Ints
    astray: Bools

    @property
    def top(self) -> Ints:
        return np.minimum(self.entered, self.left)

    @property
    def bottom(self) -> Ints:
        return np.maximum(self.entered, self.left)

    @property
    def last(self) -> int:
        """The column after the last one."""
        return self.first + len(self.left)


def follow_rows(
    mask: Bools, rows: Sequence[Sequence[LeadBox]], px_per_mm: float
) -> tuple[Way, ...]:
    """The way of each row through the ink of `mask`, (H, W) bool at about 6 px/mm.

    All ways run from a little before the leftmost to a little after the rightmost edge of all
    leads' boxes, so that what they follow is seen to begin and end.
    """
    left = min(b.box.left_mm for row in rows for b in row) - _BEFORE_MM
    right = max(b.box.right_mm for row in rows for b in row) + _BEFORE_MM
    first = max(0, round(left * px_per_mm))
    last = min(mask.shape[1], round(right * px_per_mm))
    baselines = [row[0].baseline_mm * px_per_mm for row in rows]
    half = round(BAND_MM * px_per_mm)
    bands = bands_of(mask, baselines, half, first, last)
    joints = _joints(rows, px_per_mm, mask.shape[1])
    everywhere = np.repeat(joints[first:last, None], len(rows), axis=1)
    tops = [round(baseline) - half for baseline in baselines]
    ways = [
        Way(first, entered + top, left + top, np.zeros(len(left), bool))
        for (entered, left), top in zip(cheapest_ways(bands, everywhere), tops, strict=True)
    ]
    covers = [_cover(way, mask) for way in ways]
    moved = np.ones(mask.shape[1], bool)
    for _ in range(_SWEEPS):
        looked_at, moved = moved, np.zeros(mask.shape[1], bool)
        for index, baseline in enumerate(baselines):
            way = ways[index]
            rest = [c for i, c in enumerate(covers) if i != index]
            others = _any(rest) if rest else np.zeros_like(mask)
            spans = [
                (start, stop)
                for start, stop in _disputed(mask, covers[index], others, way, px_per_mm)
                if looked_at[start:stop].any()
            ]
            if not spans:
                continue
            masks = (mask, others, _taken(index, ways, covers, baselines))
            new = _again(masks, way, baseline, half, spans, joints)
            differs = (new.left != way.left) | (new.entered != way.entered)
            if differs.any():
                moved[way.first : way.last] |= differs
                ways[index], covers[index] = new, _cover(new, mask)
        if not moved.any():
            break
    least = round(_ASTRAY_MM * px_per_mm)
    return tuple(
        replace(way, astray=_astray(way, _taken(index, ways, covers, baselines), least))
        for index, way in enumerate(ways)
    )


def _joints(rows: Sequence[Sequence[LeadBox]], px_per_mm: float, width: int) -> Bools:
    """(width,) bool: the columns where a lead begins or ends."""
    joints = np.zeros(width, bool)
    for edge in {x for row in rows for b in row for x in (b.box.left_mm, b.box.right_mm)}:
        start, stop = (round((edge + d) * px_per_mm) for d in (-_JOINT_MM, _JOINT_MM))
        joints[max(0, start) : max(0, stop)] = True
    return joints


# --- rows that meet ---------------------------------------------------------------------------


def _cover(way: Way, mask: Bools) -> Bools:
    """The ink a way explains: what it runs through, and a pixel around."""
    height, columns = mask.shape[0], np.arange(len(way.left))
    edges = np.zeros((height + 1, len(columns)), np.int8)
    edges[np.clip(way.top, 0, height - 1), columns] += 1
    edges[np.clip(way.bottom, 0, height - 1) + 1, columns] -= 1
    cover = np.zeros(mask.shape, np.uint8)
    cover[:, way.first : way.last] = np.cumsum(edges[:-1], axis=0, dtype=np.int8)
    result: Bools = (cv2.dilate(cover, np.ones((3, 3), np.uint8)) > 0) & mask
    return result


def _any(covers: Sequence[Bools]) -> Bools:
    union = covers[0].copy()
    for cover in covers[1:]:
        union |= cover
    return union


def _disputed(
    mask: Bools, own: Bools, others: Bools, way: Way, px_per_mm: float
) -> list[tuple[int, int]]:
    """The stretches of columns where the row shares its ink, or ink beside it was left over."""
    around = round(_AROUND_MM * px_per_mm)
    # All that can be disputed lies no higher and no lower than the way, or begins beside it.
    rows = slice(max(0, int(way.top.min()) - around), int(way.bottom.max()) + around)
    ink, own, others = mask[rows], own[rows], others[rows]
    spans = list(_stretches(own & others, None, _SHARED_MM2 * px_per_mm**2))
    # Another row's line may lie between a way and the tip that it should have reached.
    reach = 2 * round(_BESIDE_MM * px_per_mm) + 1
    beside = cv2.dilate(own.astype(np.uint8), np.ones((reach, 3), np.uint8)) > 0
    spans += _stretches(ink & ~own & ~others, beside, _LEFT_MM2 * px_per_mm**2)
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        begin, end = max(way.first, start - around), min(way.last, stop + around)
        if begin >= end:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _stretches(part: Bools, touching: Bools | None, least_px: float) -> Iterator[tuple[int, int]]:
    """First and last column of each large piece of `part`, if it touches `touching`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        part.astype(np.uint8), connectivity=8
    )
    large = stats[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False
    if touching is not None and large.any():
        near = np.zeros(count, bool)
        near[np.unique(labels[part & touching])] = True
        large &= near
    for left, width in stats[large][:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH]]:
        yield int(left), int(left + width)


def _taken(
    index: int, ways: Sequence[Way], covers: Sequence[Bools], baselines: Sequence[float]
) -> Bools:
    """The ink of the other rows' flat lines, where it lies nearer to their baselines."""
    taken: Bools = np.zeros_like(covers[0])
    level = np.arange(len(taken))
    own = np.abs(level - baselines[index])
    for other, (way, cover) in enumerate(zip(ways, covers, strict=True)):
        if other == index:
            continue
        flat = way.bottom - way.top <= FLAT_PX
        nearer = np.abs(level - baselines[other]) < own
        part = taken[:, way.first : way.last]
        part |= cover[:, way.first : way.last] & flat & nearer[:, None]
    return taken


def _astray(way: Way, taken: Bools, least: int) -> Bools:
    """Where a flat way runs in ink that is another row's, at least so many columns on end.

    The spikes between two such stretches are that row's too.
    """
    columns = np.arange(way.first, way.last)
    middle = np.clip((way.top + way.bottom) // 2, 0, len(taken) - 1)
    within = taken[middle, columns] & (way.bottom - way.top <= FLAT_PX)
    whole = within.astype(np.uint8)[None, :]
    long = cv2.morphologyEx(whole, cv2.MORPH_OPEN, np.ones((1, least), np.uint8))
    reach = round(_BETWEEN_ASTRAY * least)
    padded = np.pad(long[0], reach, mode="edge")[None]
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((1, reach), np.uint8))
    result: Bools = closed[0, reach : reach + len(within)] > 0
    return result


def _again(
    masks: tuple[Bools, Bools, Bools],
    way: Way,
    baseline: float,
    half: int,
    spans: Sequence[tuple[int, int]],
    joints: Bools,
) -> Way:
    """The way with its parts in `spans` found again.

    `masks` are all ink, the ink that the other rows explain, and that of their flat lines.
    """
    top = round(baseline) - half
    lengths = [stop - start for start, stop in spans]
    ink, shared, taken = (
        _side_by_side([bands_of(mask, [baseline], half, *span) for span in spans]) for mask in masks
    )
    meets = _side_by_side([joints[start:stop, None] for start, stop in spans])
    pins = [
        Pinned(
            _in_band(way.left[start - way.first - 1] - top, half) if start > way.first else None,
            _in_band(way.entered[stop - way.first] - top, half) if stop < way.last else None,
        )
        for start, stop in spans
    ]
    found = cheapest_ways(ink, meets, pins, shared, taken, lengths)
    new_entered, new_left = way.entered.copy(), way.left.copy()
    for (start, stop), (entered, left) in zip(spans, found, strict=True):
        inside = slice(start - way.first, stop - way.first)
        new_entered[inside] = entered[: stop - start] + top
        new_left[inside] = left[: stop - start] + top
    return replace(way, entered=new_entered, left=new_left)


def _side_by_side(bands: Sequence[Bools]) -> Bools:
    """(longest, count, ...) of arrays (length, 1, ...), filled up with False."""
    longest = max(len(band) for band in bands)
    stack = np.zeros((longest, len(bands), *bands[0].shape[2:]), bool)
    for index, band in enumerate(bands):
        stack[: len(band), index] = band[:, 0]
    return stack


def _in_band(y: float, half: int) -> int:
    return int(np.clip(y, 0, 2 * half - 1))
