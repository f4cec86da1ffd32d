"""The equations of lines that meet, against whole pictures and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.signals.fit import rim_of
from ecgvision.signals.joint import cost_alone, cost_of, draw, equations
from ecgvision.signals.pen import Pen
from ecgvision.signals.settle import NODES_PER_PX

PEN = Pen(3.6, 1.0, 0.6)
RIM = rim_of(PEN)
HEIGHT, COLUMNS = 90, 24
# What the module takes for the error of a pixel and for a large misfit.
PIXEL, ODD = 0.06, 0.5


def lines(*ends: tuple[float, float]) -> np.ndarray:
    """(k, m) px: straight lines from left to right."""
    return np.stack([np.linspace(*pair, COLUMNS * NODES_PER_PX) for pair in ends])


def picture(y_px: np.ndarray) -> np.ndarray:
    image = np.zeros((HEIGHT, COLUMNS))
    draw(y_px, PEN.sharp_px, *RIM.numbers, image)
    return image


def solved(
    seen: np.ndarray, rest: np.ndarray, y_px: np.ndarray, every: int = 1
) -> tuple[float, np.ndarray]:
    """What lines cost, and the right side of their equations, (k, m)."""
    rows, nodes = y_px.shape
    bands = np.empty((rows * nodes, rows * (RIM.width + 1)))
    pull = np.empty(rows * nodes)
    held = np.zeros(nodes, bool)
    alone = cost_alone(seen, rest, every)
    cost = equations(seen, rest, alone, every, y_px, held, PEN.sharp_px, *RIM.numbers, bands, pull)
    by_itself = cost_of(seen, rest, alone, every, y_px, PEN.sharp_px, *RIM.numbers)
    assert by_itself == pytest.approx(cost, rel=1e-12)
    return cost, pull.reshape(nodes, rows).T


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize(
    "ends", [[(20.0, 22.0), (60.0, 59.0)], [(10.0, 80.0), (70.0, 30.0)], [(-20.0, 50.0)]]
)
def test_lines_cost_what_their_whole_picture_does(
    ends: list[tuple[float, float]], every: int
) -> None:
    rng = np.random.default_rng(1)
    seen = np.clip(
        picture(lines((30, 40), (70, 20))) + rng.normal(0, 0.05, (HEIGHT, COLUMNS)), 0, 1
    )
    rest = picture(lines((80, 84)))
    drawn = 1 - (1 - rest) * (1 - picture(lines(*ends)))
    odd = 1 + ((seen - drawn)[::every] / ODD) ** 2
    expected = 0.5 * every * (ODD / PIXEL) ** 2 * np.log(odd).sum()
    cost, _ = solved(seen, rest, lines(*ends), every)
    assert cost == pytest.approx(expected, rel=1e-4)


def test_the_pull_is_the_slope_of_the_cost() -> None:
    """Lines that cross, each node of them moved a little up and down."""
    at = lines((20, 62), (60, 30))
    seen = picture(at + np.array([[1.5], [-1.0]]))
    rest = np.zeros_like(seen)
    _, pull = solved(seen, rest, at)
    slopes = np.zeros_like(at)
    for row, node in np.ndindex(*at.shape):
        for sign in (1, -1):
            moved = at.copy()
            moved[row, node] += sign * 1e-3
            slopes[row, node] += sign * solved(seen, rest, moved)[0] / 2e-3
    # Where the pen's rim is seen from changes by steps: single nodes differ by little.
    assert np.abs(pull + slopes).max() < 0.1 * np.abs(slopes).max()
    assert np.corrcoef(pull.ravel(), -slopes.ravel())[0, 1] > 0.99
