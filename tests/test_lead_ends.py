"""Leads that begin or end within a QRS are followed to where their ink begins and ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ecgvision.lead_ends import taken_out

PX_PER_MM = 6.0


def mask_of(*lines_mm: list[tuple[float, float]]) -> np.ndarray:
    ink = np.zeros((540, 600), np.uint8)
    for line in lines_mm:
        points = (np.array(line) * PX_PER_MM * 16).round().astype(np.int32)
        cv2.polylines(ink, [points[:, None]], False, 255, 2, cv2.LINE_8, 4)
    return ink > 0


@pytest.mark.parametrize("high", [-70, 50, 120])
@pytest.mark.parametrize("is_start", [True, False])
def test_a_lead_that_begins_or_ends_on_a_steep_limb(high: int, is_start: bool) -> None:
    """The way stays level where the limb leaves it; the limb's four columns are the lead's."""
    limb = [(10.0, 40.0 - high / PX_PER_MM), (10.7, 40.0), (40.0, 40.0)]
    mask = mask_of(limb if is_start else [(50.0 - x, y) for x, y in limb])
    level = np.full(300, 240)
    windows = [(60, 240)]
    entered, left = taken_out(mask, 50, level, level, windows, np.zeros_like(mask))
    top, bottom = np.minimum(entered, left), np.maximum(entered, left)
    for column in range(60, 240):
        rows = np.flatnonzero(mask[:, column])
        at = column - 50
        assert not len(rows) or mask[top[at] - 1 : bottom[at] + 2, column].any(), column
    ends = slice(10, 14) if is_start else slice(186, 190)
    tip = top[ends].min() if high > 0 else bottom[ends].max()
    assert tip == pytest.approx(240 - high, abs=3)
    assert np.array_equal(level[20:180], left[20:180])


def test_another_rows_ink_is_no_part_of_a_lead() -> None:
    mask = mask_of([(10.0, 40.0), (40.0, 40.0)], [(40.2, 39.0), (42.0, 39.0)])
    level = np.full(300, 239)
    windows = [(60, 252)]
    others = np.zeros_like(mask)
    others[:, 241:] = mask[:, 241:]
    entered, left = taken_out(mask, 50, level, level, windows, others)
    assert np.array_equal(entered, level)
    assert np.array_equal(left, level)


def test_no_ink_leaves_a_way_as_it_is() -> None:
    level = np.full(300, 239)
    nothing = np.zeros((540, 600), bool)
    entered, left = taken_out(nothing, 50, level, level, [(60, 252)], nothing)
    assert np.array_equal(entered, level)
    assert np.array_equal(left, level)
