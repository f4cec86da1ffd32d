"""Ruled lines on the mask of a scanned page: bars between leads, and the frame of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.strokes import LEAST_BAR_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

# A frame is at least so wide and high. Each of its sides is within so much of a straight line; so
# many mm of it are inked, and such a share: no trace stays so close to one level on all four sides.
_LEAST_FRAME_MM, _FRAME_SLACK_MM = (150.0, 60.0), 0.8
_FRAME_INK_MM, _FRAMED = (60.0, 24.0), 0.4
_BESIDE_MM2 = 1.0  # specks; a mm of a row is a third of that, and rows go on for more


def long_bars(mask: Bools, px_per_mm: float) -> tuple[float, ...]:
    """Where upright bars at least 60 mm long stand, x in mm.

    Tall complexes of many rows, one above the other, may look like one.
    """
    length = round(LEAST_BAR_MM * px_per_mm)
    # A bar may lean a little, and be broken where its ink is thin. Only columns with that much
    # ink can hold one: mostly none does.
    thick = cv2.dilate(mask.astype(np.uint8), np.ones((1, 3), np.uint8))
    breaks = 2 * round(0.8 * px_per_mm) + 1
    thick = cv2.morphologyEx(thick, cv2.MORPH_CLOSE, np.ones((breaks, 1), np.uint8))
    in_column = cv2.reduce(thick, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    columns = np.flatnonzero(in_column >= length)
    if len(columns) == 0:
        return ()
    bars = cv2.morphologyEx(thick[:, columns], cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    columns = columns[bars.any(axis=0)]
    if len(columns) == 0:
        return ()
    groups = np.split(columns, np.nonzero(np.diff(columns) > px_per_mm)[0] + 1)
    return tuple(float(group.mean() + 0.5) / px_per_mm for group in groups)


def without_frame(mask: Bools, px_per_mm: float) -> Bools:
    """The mask without the frame of a grid, which is as dark as ink where a scan is grey.

    Lines at all four sides, broken though they may be, and nothing beside them: pulses and
    complexes one above the other look like uprights, but the rows go on past one of them.
    """
    ink, near = mask.astype(np.uint8), 2 * round(_FRAME_SLACK_MM / 2 * px_per_mm) + 1
    along = cv2.dilate(ink, np.ones((near, 1), np.uint8)).mean(axis=1) * mask.shape[1]
    rows = np.flatnonzero(along >= _FRAME_INK_MM[0] * px_per_mm)
    upright = cv2.dilate(ink, np.ones((1, near), np.uint8)).mean(axis=0) * mask.shape[0]
    columns = np.flatnonzero(upright >= _FRAME_INK_MM[1] * px_per_mm)
    if len(rows) < 2 or len(columns) < 2:
        return mask
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    slack = round(_FRAME_SLACK_MM * px_per_mm)
    inside = slice(top, bottom), slice(left, right)
    bands = [slice(max(0, y - slack), y + slack + 1) for y in (top, bottom)]
    edges = [slice(max(0, x - slack), x + slack + 1) for x in (left, right)]
    shares = [mask[band, inside[1]].any(axis=0).mean() for band in bands]
    shares += [mask[inside[0], edge].any(axis=1).mean() for edge in edges]
    wide, high = (right - left) / px_per_mm, (bottom - top) / px_per_mm
    if wide < _LEAST_FRAME_MM[0] or high < _LEAST_FRAME_MM[1] or min(shares) < _FRAMED:
        return mask
    beside = mask[inside[0], : edges[0].start], mask[inside[0], edges[1].stop :]
    if max(int(part.sum()) for part in beside) > _BESIDE_MM2 * px_per_mm**2:
        return mask
    clear = mask.copy()
    outer = slice(max(0, left - slack), right + slack + 1)
    for band in bands:
        clear[band, outer] = False
    for edge in edges:
        clear[bands[0].start : bands[1].stop, edge] = False
    return clear
