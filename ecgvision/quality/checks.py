"""Checks of single rows and of rows against each other that need no truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.quality.beats import BEAT_FIRST, Beats
from ecgvision.quality.physics import stretches
from ecgvision.quality.rows import FS_HZ, Row
from ecgvision.runs import true_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLAT_MV = 0.04
"""A row that stays within this shows no heart."""

# A clipped trace stands still at its extreme: for this long at a stretch, and in all.
_STILL_S, _STILL_IN_ALL_S = 0.016, 0.05
_STILL_SHARE = 0.004
_CLIPPED_MV = 0.2
# So much of its height lies between the stretch and 20 ms before and after it.
_STEEP, _BESIDE_S = 0.08, 0.02
# A step: the level before and after differs by this much, both sides are quiet, and the way
# between them takes three samples (12 ms), less than any QRS.
_STEP_MV = 1.0
_SIDE_S = 0.12
_QUIET = 0.35
_STEP_SAMPLES = 3
# Complexes of rows side by side stand at one time; more than this is another time.
_APART_S = 0.06
_LAG_REACH_S = 0.4
_COARSE = 5
_STRIP_REACH_S = 0.02
_SURE = 0.5
_BETTER = 0.25


def span_mv(row: Row) -> float:
    """From the lowest to the highest, one sample in 200 left out on each side as a spike."""
    low, high = np.percentile(row.mv[row.seen], [0.5, 99.5])
    return float(high - low)


def is_flat(row: Row) -> bool:
    low, high = np.percentile(row.mv[row.seen], [1, 99])
    return bool(high - low < FLAT_MV)


def clipped_s(row: Row) -> float:
    """For how many seconds the row stands still at its highest or lowest value, come upon steeply.

    Between beats a quiet row stands still, too, and drift may make that its lowest place; but it
    does not get there at the slope of a QRS.
    """
    low, high = float(row.mv[row.seen].min()), float(row.mv[row.seen].max())
    near = max(_STILL_SHARE * (high - low), 0.002)
    longest = 0.0
    for at_edge, far in (
        (row.mv >= high - near, high),
        (row.mv <= low + near, -low),
    ):
        if far < max(_CLIPPED_MV, 0.3 * (high - low)):
            continue
        long = [
            stop - start
            for start, stop in true_runs(at_edge & row.seen)
            if stop - start >= _STILL_S * FS_HZ and _is_steep(row.mv, start, stop, high - low)
        ]
        longest = max(longest, sum(long) / FS_HZ)
    return longest


def is_clipped(row: Row) -> bool:
    return clipped_s(row) >= _STILL_IN_ALL_S


def _is_steep(mv: Floats, start: int, stop: int, span: float) -> bool:
    """Whether the row comes to this stretch and leaves it fast; its own ends do not tell."""
    beside = round(_BESIDE_S * FS_HZ)
    before, after = start - beside, stop - 1 + beside
    sides = [abs(float(mv[before] - mv[start]))] if before >= 0 else []
    sides += [abs(float(mv[after] - mv[stop - 1]))] if after < len(mv) else []
    return bool(sides) and min(sides) > _STEEP * span


def jumps_s(row: Row) -> tuple[float, ...]:
    """Times of the page at which the row steps to another level and stays there."""
    side = round(_SIDE_S * FS_HZ)
    if len(row.mv) < 2 * side + _STEP_SAMPLES + 1:
        return ()
    away = np.abs(row.mv[_STEP_SAMPLES:] - row.mv[:-_STEP_SAMPLES])
    candidates = np.flatnonzero(away > 0.8 * _STEP_MV)
    candidates = candidates[(candidates >= side) & (candidates + side < len(away))]
    # Means are cheap and leave few of the many steep places within QRS complexes.
    sums = np.cumsum(np.concatenate([[0.0], row.mv]))
    before_mv = (sums[candidates + 1] - sums[candidates + 1 - side]) / side
    stops = candidates + _STEP_SAMPLES
    after_mv = (sums[stops + side] - sums[stops]) / side
    found: list[float] = []
    for start in candidates[np.abs(after_mv - before_mv) > 0.6 * _STEP_MV]:
        stop = start + _STEP_SAMPLES
        before, after = row.mv[start + 1 - side : start + 1], row.mv[stop : stop + side]
        step = abs(float(np.median(after) - np.median(before)))
        noisy = max(_unrest(before), _unrest(after))
        if step > _STEP_MV and away[start] > 0.8 * step and noisy < _QUIET * step:
            at_s = float((row.first + start) / FS_HZ)
            if not found or at_s - found[-1] > _SIDE_S:
                found.append(at_s)
    return tuple(found)


def _unrest(part: Floats) -> float:
    low, high = np.percentile(part, [10, 90])
    return float(high - low)


@dataclass(frozen=True, slots=True)
class Lag:
    """A row whose complexes stand `lag_s` later than those of the rows beside it."""

    lead: str
    lag_s: float


def rows_apart(rows: Sequence[Row]) -> Iterator[Lag]:
    """Rows whose complexes stand at other times than those of all rows printed beside them."""
    reach = round(_LAG_REACH_S * FS_HZ / _COARSE)
    for first, last in stretches(rows):
        beside = [row for row in rows if row.first <= first + 25 and row.last >= last - 25]
        if len(beside) < 3:
            continue
        start, stop = max(row.first for row in beside), min(row.last for row in beside)
        steep = np.stack([_steepness(row, start, stop) for row in beside])
        if steep.shape[1] <= 3 * reach:
            continue
        total = steep.sum(axis=0)
        for row, one in zip(beside, steep, strict=True):
            likeness = _likeness(one, total - one, reach)
            best = int(likeness.argmax())
            lag_s = (best - reach) * _COARSE / FS_HZ
            clear = likeness[best] > _SURE and likeness[best] - likeness[reach] > _BETTER
            if clear and abs(lag_s) > _APART_S:
                yield Lag(row.lead, lag_s)


def _steepness(row: Row, first: int, last: int) -> Floats:
    part, _ = row.cut(first, last)
    steep = np.abs(np.gradient(part))
    steep = np.minimum(steep, np.percentile(steep, 99))
    whole = len(steep) // _COARSE * _COARSE
    coarse = steep[:whole].reshape(-1, _COARSE).mean(axis=1)
    smooth = np.convolve(coarse, (0.25, 0.5, 0.25), "same")
    spread = float(smooth.std())
    centred: Floats = (smooth - smooth.mean()) / (spread if spread > 1e-9 else 1.0)
    return centred


def _likeness(one: Floats, others: Floats, reach: int) -> Floats:
    """Correlation of `one`, moved back by -reach to reach steps, with the others."""
    inner = others[reach : len(others) - reach]
    inner = inner - inner.mean()
    size = float(np.linalg.norm(inner)) + 1e-9
    windows = np.lib.stride_tricks.sliding_window_view(one, len(inner))
    centred = windows - windows.mean(axis=1, keepdims=True)
    found: Floats = centred @ inner / (np.linalg.norm(centred, axis=1) + 1e-9) / size
    return found


def strip_gain(rows: Sequence[Row]) -> dict[str, float]:
    """How large each rhythm strip is printed, relative to its lead where both stand together.

    The slope of one on the other through both their noises: the root of the ratio of powers.
    """
    found: dict[str, float] = {}
    boxes = {row.lead: row for row in rows if not row.rhythm_strip}
    for strip in (row for row in rows if row.rhythm_strip and row.lead in boxes):
        box = boxes[strip.lead]
        first, last = max(box.first, strip.first), min(box.last, strip.last)
        if last - first < FS_HZ:
            continue
        one, other = box.cut(first, last)[0], strip.cut(first, last)[0]
        one, other = one - one.mean(), other - other.mean()
        sizes = float(np.linalg.norm(one)), float(np.linalg.norm(other))
        if min(sizes) > 1e-6 and float(one @ other) > 0.8 * sizes[0] * sizes[1]:
            found[strip.lead] = sizes[1] / sizes[0]
    return found


def strips_unlike(rows: Sequence[Row]) -> dict[str, float]:
    """How much of the power of a lead and its rhythm strip is left over when one is taken off.

    0 where both show the same, 1 where they are unrelated; moved by up to 20 ms on each other. A
    strip repeats its lead, so this holds for chest leads, too, which no other equation binds.
    """
    found: dict[str, float] = {}
    boxes = {row.lead: row for row in rows if not row.rhythm_strip}
    reach = round(_STRIP_REACH_S * FS_HZ)
    for strip in (row for row in rows if row.rhythm_strip and row.lead in boxes):
        box = boxes[strip.lead]
        first, last = max(box.first, strip.first), min(box.last, strip.last)
        if last - first < FS_HZ:
            continue
        one, other = box.cut(first, last)[0], strip.cut(first, last)[0]
        inner = one[reach : len(one) - reach]
        parts = [other[at : at + len(inner)] for at in range(2 * reach + 1)]
        power = float(inner.var()) + min(float(part.var()) for part in parts)
        if power > 1e-9:
            least = min(float((inner - part).var()) for part in parts) / power
            found[strip.lead] = max(least, found.get(strip.lead, 0.0))
    return found


def qrs_width_s(beats: Beats) -> float | None:
    """How long the QRS lasts: the shortest time around its middle with 80 % of the steepness.

    Steepness is the squared slope of all leads' average beats; 160 ms on either side are looked at.
    """
    known = beats.average_mv[np.isfinite(beats.average_mv).all(axis=1)]
    if not len(known):
        return None
    half = round(0.16 * FS_HZ)
    slopes = np.gradient(known[:, BEAT_FIRST - half : BEAT_FIRST + half], axis=1)
    steep = np.sum(slopes**2, axis=0)
    steep = np.maximum(steep - np.percentile(steep, 20), 0.0)
    total = float(steep.sum())
    if total <= 0:
        return None
    summed = np.cumsum(steep) / total
    low, high = np.interp([0.1, 0.9], summed, np.arange(len(summed)))
    return float(high - low) / FS_HZ


def tempo(beats: Beats) -> float | None:
    """Logarithm of (beat length x QRS width): both grow with a paper speed taken too low.

    0 at 60 beats per minute and a width of 60 ms; 1.4 more where the speed is taken as half of
    what it is. A slow heart with a bundle branch block has one of the two, seldom both.
    """
    width, rate = qrs_width_s(beats), beats.rate_bpm
    if not width or not rate:
        return None
    return float(np.log(width / 0.06) + np.log(60.0 / rate))
