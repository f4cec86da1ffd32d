"""Where on the page time begins: the place of the leads' first samples, read off their ink.

Boxes are placed to about a tenth of a millimetre, which is 4 ms: too much for a QRS. The ink of a
lead that begins in the open begins half a pen before its first sample, if the pen is round, or
just there, if it is cut off square. All leads of a page begin alike and in a known pattern, so one
shift is measured from all that can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.pen import Pen
from ecgvision.types import LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# A lead begins within this of its box's edge, after at least so much paper, and goes on flat (mm).
_REACH_MM, _PAPER_MM, _BODY_MM = 1.2, 0.5, 0.6
# The body's thickness varies by less than this share where it is flat.
_EVEN = 0.4
# Starts that differ from the others by more than this are print or the pulse (mm).
_STRAY_MM = 0.12
_LEAST_STARTS = 3
_FINE = 40  # points per pixel where an end is drawn


@dataclass(frozen=True, slots=True)
class _Start:
    """One lead's beginning: `edge_px` is where as much ink would begin if it were cut square.

    `share` is (k,): the share of full thickness in the columns from `first_px` on.
    """

    box_px: float
    edge_px: float
    first_px: int
    share: Floats


def time_shift_mm(
    rows: Sequence[Sequence[LeadBox]], inks: Sequence[ColumnInk], pen: Pen, px_per_mm: float
) -> float:
    """How far right of its box's left edge a lead's first sample stands, in mm, for all leads.

    0 where fewer than three leads begin in the open.
    """
    starts = [
        start
        for row, ink in zip(rows, inks, strict=True)
        for lead_box in row
        if (start := _start(lead_box, ink, px_per_mm)) is not None
    ]
    if len(starts) < _LEAST_STARTS:
        return 0.0
    shifts = np.array([start.edge_px - start.box_px for start in starts]) / px_per_mm
    near = np.abs(shifts - np.median(shifts)) < _STRAY_MM
    if near.sum() < _LEAST_STARTS:
        return 0.0
    seen = [start for start, one in zip(starts, near, strict=True) if one]
    return float(np.mean(shifts[near])) + _cap_px(seen, pen) / px_per_mm


def _cap_px(starts: Sequence[_Start], pen: Pen) -> float:
    """How far before the first sample the ink's square edge lies: a round end holds ink for
    pi / 4 of its radius, a square one ends with the sample. Whichever end fits better is taken.
    """
    misfits = []
    for is_round in (True, False):
        x_px, share = _beginning(pen, is_round=is_round)
        misfit = 0.0
        for start in starts:
            at = start.first_px + np.arange(len(start.share)) + 0.5 - start.edge_px
            misfit += float(((np.interp(at, x_px, share) - start.share) ** 2).sum())
        misfits.append(misfit)
    return np.pi / 8 * pen.width_px if misfits[0] <= misfits[1] else 0.0


def _beginning(pen: Pen, *, is_round: bool) -> tuple[Floats, Floats]:
    """(x, share of full thickness) where a line begins as this pen draws it; its ink's edge at 0."""
    radius = pen.width_px / 2
    x = np.arange(-12 * _FINE, 12 * _FINE) / _FINE
    share = (x >= 0).astype(np.float64)
    if is_round:
        share = np.where(x >= 0, 1.0, np.sqrt(np.clip(1 - (x / radius) ** 2, 0, 1)))
    spread = np.arange(-6 * _FINE, 6 * _FINE + 1) / _FINE
    kernel = np.exp(-0.5 * (spread / max(pen.blur_px, 1 / _FINE)) ** 2)
    seen = np.convolve(share, kernel / kernel.sum(), "same")
    seen = np.convolve(seen, np.full(_FINE, 1 / _FINE), "same")
    seen[x > 4] = 1.0  # the sums run out of line there
    edge = -np.pi / 4 * radius if is_round else 0.0
    return x - edge, seen


def _start(lead_box: LeadBox, ink: ColumnInk, px_per_mm: float) -> _Start | None:
    """The lead's beginning, where it lies in the open and its first part is flat."""
    box_px = lead_box.box.left_mm * px_per_mm
    first = int(ink.columns[0])
    reach = round(_REACH_MM * px_per_mm)
    low, high = round(box_px) - first - reach, round(box_px) - first + reach
    if low < 0 or high + round(_BODY_MM * px_per_mm) >= len(ink.columns):
        return None
    seen = ink.seen[low : high + 1]
    begins = np.flatnonzero(seen[1:] & ~seen[:-1])
    if len(begins) != 1:
        return None
    begin = low + int(begins[0]) + 1
    paper = round(_PAPER_MM * px_per_mm)
    body = slice(begin + 3, begin + 3 + round(_BODY_MM * px_per_mm))
    alone = ink.upper_seen & ink.lower_seen & ~ink.shared
    if ink.seen[max(0, begin - paper) : begin].any() or not alone[body].all():
        return None
    thick = ink.thickness[body]
    full = float(np.median(thick))
    if full <= 0 or np.ptp(thick) > _EVEN * full:
        return None
    edge = slice(begin - 3, body.stop)
    share = np.clip(ink.edge_thickness[edge] / full, 0, 1)
    edge_px = float(ink.columns[body.stop - 1] + 1 - share.sum())
    return _Start(box_px, edge_px, int(ink.columns[edge.start]), share)
