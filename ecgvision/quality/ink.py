"""Peaks that the reading cut off: ink that goes on where a curve has turned back.

The pen of a narrow QRS goes up and down in the same pixels. A curve that turns back too early
leaves such a tip unexplained, and the other checks do not see it: the curve is smooth, and the
chest leads are bound by no equation. The page's ink shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.print_boxes import name_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import LeadCurve
    from ecgvision.types import Layout, Page, Pixels

    Bools = NDArray[np.bool_]

# What the curves explain: a line of this width, so that a pen a little off its ink is no tip.
_EXPLAINED_MM = 1.0
# A tip is narrower than this: two limbs of a QRS beside each other. What is wider is other print.
_WIDEST_MM = 1.4
# From the curve's turning point to the tip there is no gap wider than this.
_GAP_MM = 0.35
# Near the ends of a box stand pulses, separators and the neighbour's first sample.
_ENDS_MM = 1.0


# What is missed by less than this is the curve's own error.
_LEAST_MM = 0.8


@dataclass(frozen=True, slots=True)
class CutPeak:
    """At `x_mm` of the page a lead's curve turns back at `turn_mm`, its ink only at `tip_mm`."""

    lead: str
    x_mm: float
    turn_mm: float
    tip_mm: float

    @property
    def missed_mm(self) -> float:
        return abs(self.tip_mm - self.turn_mm)


def cut_peaks(
    ink: Pixels, curves: Sequence[LeadCurve], page: Page, layout: Layout
) -> tuple[CutPeak, ...]:
    """The peaks of curves off pixels that end 0.8 mm or more before their ink does.

    `ink` is the upright page without its grid, 0 ink and 255 paper.
    """
    px_per_mm = ink.shape[1] / page.known_mm[0]
    read = [curve for curve in curves if curve.origin == "raster" and np.isfinite(curve.y_mm).any()]
    if not read:
        return ()
    rest = _unexplained(ink, px_per_mm, read, layout)
    found = []
    for left, top, width, height in _boxes(rest) / px_per_mm:
        # The part that the width of the explained line hides belongs to the tip, too.
        if height < _LEAST_MM - _EXPLAINED_MM / 2 or width > _WIDEST_MM or width > height:
            continue
        ways = [way for curve in read if (way := _cut(curve, left, top, width, height))]
        best = max(ways, key=lambda one: one.missed_mm, default=None)
        if best is not None and best.missed_mm >= _LEAST_MM:
            found.append(best)
    return tuple(found)


def _boxes(part: Bools) -> NDArray[np.int64]:
    """(k, 4): left, top, width and height of each piece, from the top of the page down.

    By their outlines: to label all pixels of a page takes many times as long.
    """
    outlines, tree = cv2.findContours(part.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [line for at, line in enumerate(outlines) if tree[0, at, 3] < 0]
    boxes = np.array([cv2.boundingRect(line) for line in outer], np.int64).reshape(-1, 4)
    return boxes[np.lexsort((boxes[:, 0], boxes[:, 1]))]


def _unexplained(
    ink: Pixels, px_per_mm: float, curves: Sequence[LeadCurve], layout: Layout
) -> Bools:
    """Ink on which no curve, name or print that is to be left out lies."""
    rest = cv2.threshold(ink, 127, 1, cv2.THRESH_BINARY_INV)[1]
    width_px = max(1, round(_EXPLAINED_MM * px_per_mm))
    for curve in curves:
        for part in _known_parts(curve):
            points = np.rint(part * px_per_mm - 0.5).astype(np.int32)
            cv2.polylines(rest, [points], False, 0, width_px)
    for box in (*layout.clear, *name_boxes(layout.boxes)):
        top, bottom = round(box.top_mm * px_per_mm), round(box.bottom_mm * px_per_mm)
        left, right = round(box.left_mm * px_per_mm), round(box.right_mm * px_per_mm)
        rest[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
    found: Bools = rest.view(np.bool_)
    return found


def _known_parts(curve: LeadCurve) -> Iterator[NDArray[np.float64]]:
    known = np.isfinite(curve.x_mm) & np.isfinite(curve.y_mm)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        yield np.column_stack([curve.x_mm[first:last], curve.y_mm[first:last]])


def _cut(curve: LeadCurve, left: float, top: float, width: float, height: float) -> CutPeak | None:
    """The peak of the curve past which the ink in this place (mm) goes on, if there is one."""
    box = curve.lead_box.box
    if left < box.left_mm + _ENDS_MM or left + width > box.right_mm - _ENDS_MM:
        return None
    beside = _EXPLAINED_MM / 2
    near = (curve.x_mm >= left - beside) & (curve.x_mm <= left + width + beside)
    y_mm = curve.y_mm[near & np.isfinite(curve.y_mm)]
    if not len(y_mm):
        return None
    highest, lowest = float(y_mm.min()), float(y_mm.max())
    reach = _EXPLAINED_MM / 2 + _GAP_MM
    lead, middle = curve.lead_box.lead, left + width / 2
    if 0 <= highest - (top + height) <= reach:
        return CutPeak(lead, float(middle), highest, float(top))
    if 0 <= top - lowest <= reach:
        return CutPeak(lead, float(middle), lowest, float(top + height))
    return None
