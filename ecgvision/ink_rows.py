"""The rows of ink on a page's mask: where each baseline runs, from where to where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.runs import true_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# A run of ink no higher than this is a trace going across, not a QRS, a bar or a letter's stem.
THIN_MM = 1.2
# Past its last thin run a row goes on through ink at most this far from its baseline, over gaps
# no wider than this.
_END_BAND_MM, _END_GAP_MM = 8.0, 6.0
# A spike that the row ends in goes up or down so far, and on for so much.
_SPIKE_MM, _SPIKE_WIDE_MM = 40.0, 1.5
# Ink this narrow and so far from a row's end stands there for itself, unless it is the upright of a
# pulse, inked for such a share of its way up and as little of it down.
_SLIVER_MM, _SLIVER_GAP_MM = 1.0, 2.0
_UPRIGHT = 0.8
# Most of the runs of a ruled line, single or double, lie this close; those of a trace do not.
_RULED_MM = 0.28


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ink: where its baseline runs, from where to where, and on how much of that way.

    A `ruled` row is as straight as a ruler: a line under a header, or a lead that is off.
    """

    baseline_mm: float
    left_mm: float
    right_mm: float
    coverage: float
    ruled: bool = False


def thin_runs(mask: Bools, most_px: float) -> tuple[Floats, Floats]:
    """(x, y) of the middles of all upright runs of ink no higher than `most_px`, in pixels."""
    # The page's columns one after the other as one long line, with paper before and after each:
    # along it ink begins and ends in turn.
    width, height = mask.shape[1], mask.shape[0] + 1
    line = np.zeros(1 + width * height, np.uint8)
    line[1:].reshape(width, height)[:, :-1] = cv2.transpose(mask.astype(np.uint8))
    changes = np.flatnonzero(line[1:] != line[:-1])
    start, stop = changes[0::2], changes[1::2]
    thin = stop - start <= most_px
    x, y = np.divmod(start[thin], height)
    return x.astype(np.float64), y + (stop - start - 1)[thin] / 2


def rows_of_ink(mask: Bools, px_per_mm: float) -> tuple[Row, ...]:
    """Rows of ink, top to bottom: where the thin runs of most columns lie."""
    height, width = mask.shape
    x, y = thin_runs(mask, THIN_MM * px_per_mm)
    if len(x) < 50:
        return ()
    # Each column votes once per half millimetre, so that print counts no more than a trace.
    bins_per_mm = 2.0
    across = (x / px_per_mm * 2).astype(np.int64)
    level = (y / px_per_mm * bins_per_mm).astype(np.int64)
    wide, high = int(width / px_per_mm * 2) + 1, int(height / px_per_mm * bins_per_mm) + 1
    votes = np.zeros((high, wide))
    votes[np.clip(level, 0, high - 1), np.clip(across, 0, wide - 1)] = 1.0
    density = _smoothed(votes.sum(axis=1), 2.0)
    reach = 8  # no two rows are closer than 4 mm in this count; layouts are checked for the rest
    rows = []
    highest = cv2.dilate(density[:, None], np.ones((2 * reach + 1, 1), np.uint8)).ravel()
    peaks = np.flatnonzero((density >= highest) & (density >= 3.0))
    for peak in peaks[(peaks > 0) & (peaks < high - 1)]:
        near = np.abs(y / px_per_mm * bins_per_mm - peak - 0.5) <= 4
        found = _row(x[near] / px_per_mm, y[near] / px_per_mm)
        if found is not None:
            rows.append(_to_its_ends(found, mask, px_per_mm))
    return tuple(rows)


def _smoothed(values: Floats, sigma: float) -> Floats:
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(values, kernel / kernel.sum(), "same")


def _row(x_mm: Floats, y_mm: Floats) -> Row | None:
    """One row from the thin runs near its level, if they go on for at least 60 mm."""
    seen = np.unique((x_mm * 2).astype(np.int64))
    if len(seen) < 40:
        return None
    # The row runs from its first to its last stretch; single specks far away are not part of it,
    # nor are slivers at its ends, such as what a scan has left of a grid's frame.
    pieces = np.split(seen, np.nonzero(np.diff(seen) > 16)[0] + 1)
    long = [_without_slivers(piece) for piece in pieces if len(piece) >= 4]
    long = [piece for piece in long if len(piece) >= 4]
    if not long:
        return None
    left = float(x_mm[x_mm * 2 >= long[0][0]].min())
    right = float(x_mm[x_mm * 2 < long[-1][-1] + 1].max())
    if right - left < 60:
        return None
    coverage = sum(len(piece) for piece in long) / ((right - left) * 2)
    level = float(np.median(y_mm))
    return Row(level, left, right, float(coverage), _is_ruled(y_mm, level))


def _without_slivers(seen: Ints) -> Ints:
    """A stretch, in half mm, without slivers before and after it."""
    stretches = np.split(seen, np.nonzero(np.diff(seen) > 2 * _SLIVER_GAP_MM)[0] + 1)
    while stretches and len(stretches[0]) <= 2 * _SLIVER_MM:
        del stretches[0]
    while stretches and len(stretches[-1]) <= 2 * _SLIVER_MM:
        del stretches[-1]
    return np.concatenate(stretches) if stretches else seen[:0]


def _is_ruled(y_mm: Floats, level_mm: float) -> bool:
    """Whether runs lie on one straight line, or on the two of a double one."""
    halves = (y_mm[y_mm <= level_mm], y_mm[y_mm > level_mm])
    spreads = [
        np.percentile(h, 90) - np.percentile(h, 10) for h in halves if len(h) > 0.02 * len(y_mm)
    ]
    return bool(max(spreads) < _RULED_MM)


def _to_its_ends(row: Row, mask: Bools, px_per_mm: float) -> Row:
    """The row with its ends where its ink ends: it may end on a steep or a high part."""
    level, reach = round(row.baseline_mm * px_per_mm), round(_END_BAND_MM * px_per_mm)
    above = mask[max(0, level - reach) : level]
    below = mask[level : level + reach]
    most = _SLIVER_MM * px_per_mm
    stretches = [
        (start, stop, stop - start <= most and not _is_upright(above, below, start, stop))
        for start, stop in true_runs(np.asarray(above.any(axis=0) | below.any(axis=0)))
    ]
    right = _end(row.right_mm * px_per_mm, stretches, px_per_mm)
    mirrored = [(-stop, -start, sliver) for start, stop, sliver in reversed(stretches)]
    left = -_end(-row.left_mm * px_per_mm, mirrored, px_per_mm)
    right += _spike_px(mask, level, right, px_per_mm)
    left -= _spike_px(mask[:, ::-1], level, mask.shape[1] - left, px_per_mm)
    return replace(row, left_mm=left / px_per_mm, right_mm=right / px_per_mm)


def _spike_px(mask: Bools, level: int, end: float, px_per_mm: float) -> int:
    """By how many columns ink that hangs together with a row's goes on past its end.

    A row may end within a spike: the rest of it stands far above or below the row's level.
    """
    reach, band, edge = (round(mm * px_per_mm) for mm in (_SPIKE_MM, _END_BAND_MM, _SPIKE_WIDE_MM))
    top, stop = max(0, level - reach), round(end)
    window = mask[top : level + reach, max(0, stop - edge) : stop + edge]
    before = min(stop, edge)
    if not window[:, before : before + 1].any():
        return 0
    _, labels = cv2.connectedComponents(window.astype(np.uint8), connectivity=8)
    inside = slice(max(0, level - top - band), level - top + band)
    own = np.setdiff1d(labels[inside, :before], 0)
    past = np.flatnonzero(np.isin(labels[:, before:], own).any(axis=0))
    return int(past[-1]) + 1 if len(past) else 0


def _end(right: float, stretches: Sequence[tuple[int, int, bool]], px_per_mm: float) -> float:
    """Where a row ends, in px, that goes to `right` at least.

    `stretches` are where ink begins and ends, and whether it is a sliver.
    """
    for start, stop, sliver in stretches:
        gap_mm = (start - right) / px_per_mm
        if stop <= right or (sliver and gap_mm >= _SLIVER_GAP_MM):
            continue
        if gap_mm > _END_GAP_MM:
            break
        right = stop
    return right


def _is_upright(above: Bools, below: Bools, start: int, stop: int) -> bool:
    """Whether ink above and below a row's level is the upright of a pulse: it goes one way only.

    Up, or down on a page that lies upside down.
    """
    up, down = (np.asarray(part[:, start:stop].any(axis=1)) for part in (above, below))
    ways = ((up, down[len(down) // 8 :]), (down, up[: len(up) - len(up) // 8]))
    return any(
        bool(one.mean() > _UPRIGHT and other.mean() < 1 - _UPRIGHT)
        for one, other in ways
        if len(one) and len(other)
    )
