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
_REACH_MM, _PAPER_MM, _BODY_MM = 1.2, 0.5, 1.0
# The body's thickness varies by less than this share where it is flat.
_EVEN = 0.25
# Starts that differ from the others by more than this are print or the pulse (mm).
_STRAY_MM = 0.12
_LEAST_STARTS = 3


@dataclass(frozen=True, slots=True)
class _Start:
    """One lead's beginning: `edge_px` is where as much ink would begin if it were cut square.

    `soft_px` tells how slowly the ink grows to full thickness: the integral of n (1 - n) of the
    share n of full thickness.
    """

    box_px: float
    edge_px: float
    soft_px: float


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
    softness = float(np.median([s.soft_px for s, n in zip(starts, near, strict=True) if n]))
    cap_px = _cap_px(softness, pen)
    return float(np.mean(shifts[near])) + cap_px / px_per_mm


def _cap_px(softness_px: float, pen: Pen) -> float:
    """How far before the first sample the ink's square edge lies: a round end holds ink for
    pi / 4 of its radius, a square one ends with the sample.
    """
    square, round_ = (_softness(pen, is_round=is_round) for is_round in (False, True))
    is_round = softness_px > (square + round_) / 2
    return np.pi / 8 * pen.width_px if is_round else 0.0


def _softness(pen: Pen, *, is_round: bool) -> float:
    """The integral of n (1 - n) over the beginning of a line drawn with this pen."""
    fine = 40
    radius = pen.width_px / 2
    x = np.arange(-12 * fine, 12 * fine) / fine
    if is_round:
        share = np.where(x >= 0, 1.0, np.sqrt(np.clip(1 - (x / radius) ** 2, 0, 1)))
    else:
        share = (x >= 0).astype(np.float64)
    spread = np.arange(-6 * fine, 6 * fine + 1) / fine
    kernel = np.exp(-0.5 * (spread / max(pen.blur_px, 1 / fine)) ** 2)
    seen = np.convolve(share, kernel / kernel.sum(), "same")
    seen = np.convolve(seen, np.full(fine, 1 / fine), "same")
    middle = slice(3 * fine, len(x) - 7 * fine)
    return float((seen * (1 - seen))[middle].sum() / fine)


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
    softness = float((share * (1 - share))[: 3 + 3 + reach // 2].sum())
    return _Start(box_px, edge_px, softness)
