"""The grid's own lean, against pages laid on the glass at a known angle."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.evidence import gather
from ecgvision.lean import grid_lean_deg, starts_lean_deg
from ecgvision.plugins import Format
from ecgvision.testing import Ecg, draw_page, scanned, scanned_pixels, synthetic_ecg
from tests.conftest import OpenPage

PX_PER_MM = 150 / 25.4


@pytest.mark.parametrize("angle", [-0.8, -0.2, 0.0, 0.3, 0.9])
@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-muse"])
def test_the_lean_is_measured(
    angle: float, format_id: str, formats: dict[str, Format], ecg: Ecg
) -> None:
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    pixels = scanned_pixels(drawn.pdf, dpi=150, rotation_deg=angle)
    assert grid_lean_deg(pixels, PX_PER_MM) == pytest.approx(angle, abs=0.02)


def test_no_grid_no_lean(formats: dict[str, Format], ecg: Ecg) -> None:
    one = formats["ge-mac1200"]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    pixels = scanned_pixels(drawn.pdf, dpi=150, rotation_deg=0.5)
    assert grid_lean_deg(pixels, PX_PER_MM) is None
    assert grid_lean_deg(np.full((300, 400), 255, np.uint8), PX_PER_MM) is None


def test_wander_does_not_lean_a_page_with_a_grid(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    """Every lead rises by 0.6 mV over the page: the rows of ink lean, the paper does not."""
    one = formats["ge-muse"]
    usual = synthetic_ecg(seed=3)
    rise_mv = np.linspace(-0.3, 0.3, usual.signal_mv.shape[1], dtype=np.float32)
    drawn = draw_page(one.layouts[0], one.info, Ecg(usual.signal_mv + rise_mv, usual.fs_hz))
    page = page_of(scanned(drawn.pdf, rotation_deg=0.4))
    assert gather(page, 0).rotation_deg == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.5])
def test_wander_does_not_lean_a_page_without_a_grid(
    angle: float, formats: dict[str, Format], page_of: OpenPage
) -> None:
    """Every lead falls by 1.5 mV over the page, which is a degree or more for the rows of ink."""
    one = formats["ge-mac1200"]
    usual = synthetic_ecg(seed=3)
    fall_mv = np.linspace(0.75, -0.75, usual.signal_mv.shape[1], dtype=np.float32)
    drawn = draw_page(one.layouts[0], one.info, Ecg(usual.signal_mv + fall_mv, usual.fs_hz))
    page = page_of(scanned(drawn.pdf, rotation_deg=angle))
    assert gather(page, 0).rotation_deg == pytest.approx(angle, abs=0.1)


def test_print_that_begins_beside_the_rows_does_not_lean_them() -> None:
    level_mm = np.array([5.0, 33.0, 52.0, 70.0, 89.0, 107.0, 126.0])
    left_mm = np.array([15.6, *(15.0 - np.radians(0.5) * (level_mm[1:] - 33.0))])
    assert starts_lean_deg(left_mm, level_mm) == pytest.approx(0.5, abs=0.01)
    assert starts_lean_deg(left_mm[:3], level_mm[:3]) is None
    ragged = left_mm + np.array([0.0, 3.0, -2.0, 5.0, 1.0, -4.0, 2.0])
    assert starts_lean_deg(ragged, level_mm) is None
    assert starts_lean_deg(np.zeros(0), np.zeros(0)) is None
