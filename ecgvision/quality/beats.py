"""Where the beats of a page are, and one average beat per lead, so that columns can be compared.

Columns show different seconds; an average beat stands for each lead in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.quality.rows import FS_HZ, Row
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BEFORE_S, AFTER_S = 0.284, 0.444
"""What an average beat shows before and after the middle of its QRS complex."""

BEAT_LENGTH = round((BEFORE_S + AFTER_S) * FS_HZ)
BEAT_FIRST = round(BEFORE_S * FS_HZ)

_QRS_S = 0.1
_REFRACTORY_S = 0.2
_SMALLEST_MV = 0.02
# A beat of the rhythm strip that is less like the strip's median is another kind of beat.
_ALIKE = 0.8
_SHIFT_S = 0.04
_ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Beats:
    """`at` are the samples of the page's axis at which a QRS stands, (b,), rising.

    `average_mv` is (12, BEAT_LENGTH), NaN where a lead has no beat; `counts` is (12,), how many
    beats each average is made of.
    """

    at: Ints
    average_mv: Floats
    counts: Ints

    @property
    def rate_bpm(self) -> float | None:
        """From the median of the intervals; None with fewer than two beats."""
        if len(self.at) < 2:
            return None
        return float(60.0 * FS_HZ / np.median(np.diff(self.at)))


def find_beats(rows: Sequence[Row]) -> Beats:
    """All the page's beats, from the steepness of all rows together."""
    at = peaks(energy(rows))
    whole = _whole_strip(rows)
    alike = np.ones(len(at), dtype=bool)
    if whole is not None and len(at) >= 3:
        at, alike = _along(whole, at)
    average = np.full((len(LEADS), BEAT_LENGTH), np.nan)
    counts = np.zeros(len(LEADS), dtype=np.int64)
    # A strip repeats its lead over more beats: it stands in where the lead's own box has few.
    for row in sorted(rows, key=lambda one: not one.rhythm_strip):
        beat, count = _average(row, at, alike)
        if count >= _ENOUGH or count > counts[LEADS.index(row.lead)]:
            average[LEADS.index(row.lead)] = beat
            counts[LEADS.index(row.lead)] = count
    return Beats(at, average, counts)


def energy(rows: Sequence[Row]) -> Floats:
    """(n,) squared steepness of all rows at each time of the page, summed over the length of a QRS.

    Each row counts the same, so that a lead with a small QRS is found by the others.
    """
    length = max((row.last for row in rows), default=0)
    total, present = np.zeros(length), np.zeros(length)
    for row in rows:
        steep = np.abs(np.gradient(_running_mean(row.mv, 3)))
        steep[~row.seen] = 0.0
        high = float(np.percentile(steep, 99)) + _SMALLEST_MV / 10
        # Squared, so that a long T wave does not add up to as much as a short QRS.
        total[row.first : row.last] += np.minimum(steep / high, 1.5) ** 2
        present[row.first : row.last] += 1
    return _running_mean(total / np.maximum(present, 1), round(_QRS_S * FS_HZ))


def peaks(summed: Floats) -> Ints:
    """Where an energy stands out, the highest first, none closer than 0.2 s to a higher one."""
    if len(summed) < 3 * _QRS_S * FS_HZ:
        return np.empty(0, dtype=np.int64)
    floor = float(np.median(summed))
    high = float(np.percentile(summed, 98.5))
    least = floor + 0.45 * (high - floor)
    inner = summed[1:-1]
    rises = (inner >= summed[:-2]) & (inner > summed[2:]) & (inner > least)
    candidates = np.flatnonzero(rises) + 1
    far = round(_REFRACTORY_S * FS_HZ)
    chosen: list[int] = []
    for one in candidates[np.argsort(-summed[candidates], kind="stable")]:
        if all(abs(int(one) - other) >= far for other in chosen):
            chosen.append(int(one))
    return np.array(sorted(chosen), dtype=np.int64)


def _running_mean(signal: Floats, width: int) -> Floats:
    width = width // 2 * 2 + 1
    if len(signal) < width:
        return signal
    sums = np.cumsum(np.concatenate([[0.0], np.pad(signal, width // 2, mode="edge")]))
    means: Floats = (sums[width:] - sums[:-width]) / width
    return means


def _whole_strip(rows: Sequence[Row]) -> Row | None:
    """The row that runs over all the page's time, best the lead with the largest beats."""
    length = max((row.last for row in rows), default=0)
    whole = [row for row in rows if len(row.mv) > 0.95 * length]
    return max(whole, key=lambda row: float(np.abs(row.mv).max()), default=None)


def _along(strip: Row, at: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The beats moved so that the strip's complexes lie on each other, and which are alike."""
    reach = round(_SHIFT_S * FS_HZ)
    half = round(0.08 * FS_HZ)
    padded = np.pad(strip.mv, half + reach, mode="edge")
    starts = np.clip(at - strip.first, 0, len(strip.mv) - 1)
    wide = np.stack([padded[s : s + 2 * (half + reach) + 1] for s in starts])
    template = np.median(wide[:, reach : reach + 2 * half + 1], axis=0)
    template = template - template.mean()
    norm = float(np.linalg.norm(template)) + 1e-9
    scores = np.empty((len(at), 2 * reach + 1))
    for lag in range(2 * reach + 1):
        part = wide[:, lag : lag + 2 * half + 1]
        part = part - part.mean(axis=1, keepdims=True)
        scores[:, lag] = part @ template / (np.linalg.norm(part, axis=1) + 1e-9) / norm
    best = scores.argmax(axis=1)
    moved = at + best - reach
    order = np.argsort(moved, kind="stable")
    return moved[order], (scores.max(axis=1) > _ALIKE)[order]


def _average(row: Row, at: Ints, alike: NDArray[np.bool_]) -> tuple[Floats, int]:
    """(BEAT_LENGTH,) median beat of one row, its median taken off, and of how many beats it is."""
    margin = round(0.08 * FS_HZ)
    inside = (at - margin >= row.first) & (at + margin < row.last)
    wanted = inside & alike if (inside & alike).any() else inside
    starts = at[wanted] - BEAT_FIRST - row.first
    if not len(starts):
        return np.full(BEAT_LENGTH, np.nan), 0
    padded = np.full(len(row.mv) + 2 * BEAT_LENGTH, np.nan)
    padded[BEAT_LENGTH:-BEAT_LENGTH] = np.where(row.seen, row.mv, np.nan)
    index = starts[:, None] + BEAT_LENGTH + np.arange(BEAT_LENGTH)
    beat = _median(padded[index])
    known = np.isfinite(beat)
    if known.sum() < BEAT_LENGTH // 2:
        return np.full(BEAT_LENGTH, np.nan), 0
    places = np.arange(BEAT_LENGTH)
    beat = np.interp(places, places[known], beat[known])
    return beat - np.median(beat), len(starts)


def _median(values: Floats) -> Floats:
    """Median over the first axis of what is not NaN; NaN where nothing is."""
    ordered = np.sort(values, axis=0)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    columns = np.arange(values.shape[1])
    high = np.minimum(high, np.maximum(count - 1, 0))
    middle: Floats = (ordered[low, columns] + ordered[high, columns]) / 2
    return middle
