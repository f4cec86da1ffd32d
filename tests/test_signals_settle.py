"""Lines that are moved onto the ink of a line that is known."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.signals.fit import rim_of
from ecgvision.signals.pen import Pen
from ecgvision.signals.settle import NODES_PER_PX, _solve, misfit_of, settle

PEN = Pen(3.6, 1.0, 0.6)
RIM = rim_of(PEN)
COLUMNS = 400
X_PX = (np.arange(COLUMNS * NODES_PER_PX) + 0.5) / NODES_PER_PX


def beat(height_px: float, half_width_px: float) -> np.ndarray:
    """(m,): a slow wave and one R wave on it, upwards, its tip at 200 px."""
    wave = 6 * np.sin(X_PX / 40)
    return 100 + wave - height_px * np.clip(1 - np.abs(X_PX - 200) / half_width_px, 0, 1)


def ink_of(y_px: np.ndarray, noise_px: float = 0.0) -> dict[str, np.ndarray]:
    """What `settle` is told of the ink that the pen draws along a line, split along that line."""
    split = y_px.reshape(COLUMNS, NODES_PER_PX).mean(axis=1)
    misfit = np.empty((COLUMNS, 2))
    misfit_of(y_px, split, np.zeros((COLUMNS, 2)), *RIM.numbers, RIM.width, misfit)
    noise = np.random.default_rng(3).normal(0, noise_px, misfit.shape)
    nothing = np.zeros(COLUMNS)
    seen = np.ones((COLUMNS, 2), bool)
    return {"split": split, "stood": noise - misfit, "seen": seen, "held": nothing, "way": split}


def settled(start_px: np.ndarray, ink: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    y, misfit = start_px.copy(), np.empty((COLUMNS, 2))
    settle(y, *ink.values(), *RIM.numbers, RIM.width, misfit)
    return y, misfit


@pytest.mark.parametrize("off_px", [-1.5, 0.0, 1.5])
def test_a_line_comes_back_to_its_ink(off_px):
    known = beat(60, 8)
    y, misfit = settled(known + off_px, ink_of(known))
    away = np.abs(X_PX - 200) > 12
    assert np.abs(y - known)[away].max() < 0.2
    assert np.abs(y - known).max() < 2.0
    again = np.empty_like(misfit)
    ink = ink_of(known)
    misfit_of(y, ink["split"], ink["stood"], *RIM.numbers, RIM.width, again)
    np.testing.assert_array_equal(misfit, again)
    assert np.abs(misfit[np.abs(np.arange(COLUMNS) - 200) > 12]).max() < 0.2


def test_a_line_that_cuts_a_corner_short_goes_on_to_the_tip():
    """As the way through coarse ink does. What turns back half way up is a matter of `tips`."""
    known = beat(80, 12)
    smooth = np.convolve(np.pad(known, 6, mode="edge"), np.full(13, 1 / 13), "valid")
    assert smooth.min() - known.min() > 8
    y, _ = settled(smooth, ink_of(known))
    assert y.min() == pytest.approx(known.min(), abs=0.3)


def test_a_line_on_noisy_ink_comes_to_rest():
    """Full steps all the way would throw a twentieth of it to and fro by more than a pixel."""
    known = beat(60, 8)
    ink = ink_of(known, noise_px=0.3)
    y, _ = settled(known, ink)
    once_more, _ = settled(y, ink)
    assert np.quantile(np.abs(once_more - y), 0.95) < 0.3
    assert np.std((y - known)[np.abs(X_PX - 200) > 20]) < 0.3


def test_where_no_ink_holds_it_a_line_runs_straight_on():
    known = 100 + 0.05 * X_PX
    ink = ink_of(known)
    ink["seen"] = np.repeat(~((np.arange(COLUMNS) > 150) & (np.arange(COLUMNS) < 190)), 2)
    ink["seen"] = ink["seen"].reshape(COLUMNS, 2)
    y, _ = settled(known, ink)
    np.testing.assert_allclose(y, known, atol=0.3)


def test_equations_of_a_part_are_solved_with_the_rest_held():
    rng = np.random.default_rng(5)
    count, width, first, stop = 30, 4, 6, 22
    whole = np.zeros((count, count))
    bands = np.zeros((count, width + 1))
    for i in range(count):
        for d in range(min(width + 1, count - i)):
            bands[i, d] = rng.normal() + (12.0 if d == 0 else 0.0)
            whole[i, i + d] = whole[i + d, i] = bands[i, d]
    pull = rng.normal(size=count)
    part = slice(first, stop)
    expected = np.linalg.solve(whole[part, part], pull[part])
    before = pull.copy()
    _solve(first, stop, bands, pull)
    np.testing.assert_allclose(pull[part], expected, rtol=1e-10)
    np.testing.assert_array_equal(pull[:first], before[:first])
    np.testing.assert_array_equal(pull[stop:], before[stop:])
