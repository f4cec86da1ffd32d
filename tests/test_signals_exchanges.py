"""Pieces exchanged between lines that meet, and how often lines turn."""

from __future__ import annotations

import numpy as np

from ecgvision.signals.exchanges import exchanges, turns
from ecgvision.signals.settle import NODES_PER_PX

PEN_PX = 3.5


def line(*corners: tuple[float, float], width_px: int = 40) -> np.ndarray:
    """(m,): straight from corner to corner (x, y), at the nodes of `width_px` columns."""
    x = (np.arange(width_px * NODES_PER_PX) + 0.5) / NODES_PER_PX
    return np.interp(x, *np.array(corners).T)


def crossed() -> np.ndarray:
    """(2, m): an S wave down from the upper row through an R wave of the lower one."""
    return np.stack(
        [
            line((0, 20), (14, 20), (20, 120), (26, 20), (40, 20)),
            line((0, 130), (14, 130), (20, 40), (26, 130), (40, 130)),
        ]
    )


def test_turns_count_tips_and_no_trembling() -> None:
    assert turns(crossed(), PEN_PX) == 2
    assert turns(crossed()[:1], PEN_PX) == 1
    trembling = 50 + 2 * (np.arange(80) % 2)
    assert turns(trembling[None].astype(float), PEN_PX) == 0
    assert turns(line((0, 0), (40, 90))[None], PEN_PX) == 0
    up_and_down = line((0, 50), (10, 20), (20, 80), (30, 10), (40, 50))
    assert turns(up_and_down[None], PEN_PX) == 3


def test_lines_that_took_each_others_way_are_exchanged_back() -> None:
    """Between its two meetings each line has the other's tip: it turns back where they meet."""
    right = crossed()
    first, second = np.flatnonzero(np.diff(np.sign(right[0] - right[1])))
    wrong = right.copy()
    wrong[:, first:second] = right[::-1, first:second]
    assert turns(wrong, PEN_PX) > turns(right, PEN_PX)
    offs = [np.abs(found - right) for found in exchanges(wrong, PEN_PX, 4)]
    best = min(offs, key=lambda off: float(off.sum()))
    assert (best > PEN_PX).sum() <= 8 < (np.abs(wrong - right) > PEN_PX).sum()


def test_what_lies_at_the_ends_or_far_apart_is_not_exchanged() -> None:
    right = crossed()
    for found in exchanges(right, PEN_PX, 4):
        assert np.array_equal(found[:, :4], right[:, :4])
        assert np.array_equal(found[:, -4:], right[:, -4:])
    apart = np.stack([line((0, 20), (40, 20)), line((0, 60), (40, 60))])
    assert not list(exchanges(apart, PEN_PX, 4))
    assert not list(exchanges(right, PEN_PX, right.shape[1]))


def test_exchanges_that_turn_much_more_are_left_out() -> None:
    """Each line with the other's tip would turn six times, which is more than two turns more."""
    for found in exchanges(crossed(), PEN_PX, 4):
        assert turns(found, PEN_PX) <= turns(crossed(), PEN_PX) + 2
