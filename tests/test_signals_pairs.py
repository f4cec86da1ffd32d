"""Pairs of shapes, against the pictures that a pen draws of them."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.signals.fit import rim_of
from ecgvision.signals.joint import draw
from ecgvision.signals.pairs import best_pairs, coarse, inked, misfits, nodes_of
from ecgvision.signals.pen import Pen

PEN = Pen(3.6, 1.0, 0.6)
HEIGHT, COLUMNS, COARSE_PX = 121, 40, 3


def shapes(level: float, heights: tuple[float, ...]) -> np.ndarray:
    """(k, n) px: a level line with a spike in its middle, one line for each height."""
    x = np.arange(COLUMNS)
    return np.stack([level - np.interp(x, [12, 20, 28], [0, high, 0]) for high in heights])


def picture(*lines: np.ndarray) -> np.ndarray:
    image = np.zeros((HEIGHT, COLUMNS))
    draw(nodes_of(np.stack(lines)), PEN.sharp_px, *rim_of(PEN).numbers, image)
    return image


UPPER, LOWER = shapes(30, (0.0, -40.0, -80.0, 20.0)), shapes(80, (0.0, 35.0, 70.0))


def test_misfits_are_those_of_the_pictures() -> None:
    still, seen = picture(shapes(100, (0.0,))[0]), picture(UPPER[1], LOWER[2] + 2)
    found = misfits(
        inked(UPPER, HEIGHT, PEN),
        inked(LOWER, HEIGHT, PEN),
        1 - coarse(still),
        1 - coarse(seen),
    )
    expected = [
        [
            COARSE_PX
            * np.sum(
                (
                    (1 - coarse(still)) * (1 - coarse(picture(a))) * (1 - coarse(picture(b)))
                    - (1 - coarse(seen))
                )
                ** 2
            )
            for b in LOWER
        ]
        for a in UPPER
    ]
    assert np.allclose(found, expected, atol=1e-9)
    assert np.unravel_index(found.argmin(), found.shape) == (1, 2)


@pytest.mark.parametrize("drawn", [(0, 0), (1, 2), (2, 1), (3, 0)])
def test_the_pair_that_was_drawn_is_found(drawn: tuple[int, int]) -> None:
    seen = picture(UPPER[drawn[0]], LOWER[drawn[1]])
    rows = [inked(UPPER, HEIGHT, PEN), inked(LOWER, HEIGHT, PEN)]
    chosen, worse = best_pairs(rows, 1 - coarse(seen), np.ones_like(coarse(seen)))
    assert tuple(chosen) == drawn
    assert len({tuple(pick) for _, pick in worse}) > 1


def test_three_rows_are_chosen_together() -> None:
    third = shapes(110, (0.0, 60.0))
    seen = picture(UPPER[2], LOWER[1], third[1])
    rows = [inked(one, HEIGHT, PEN) for one in (UPPER, LOWER, third)]
    assert best_pairs(rows, 1 - coarse(seen), np.ones_like(coarse(seen)))[0] == [2, 1, 1]


def test_a_line_off_the_picture_inks_nothing() -> None:
    off = inked(shapes(HEIGHT + 40.0, (0.0,)), HEIGHT, PEN)
    assert off.paper(0).min() == 1.0
