"""Narrow tips are read to where their ink ends, and nothing else is taken for a tip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecgvision.plugins import Format
from ecgvision.quality.ink import cut_peaks
from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.raster import raster_curves
from ecgvision.signals.tips import missed_tips
from ecgvision.testing import Ecg, as_png, draw_page, synthetic_ecg
from tests.conftest import OpenPage

PEN_PX, LEVEL = 4.0, 100.0


def ink_of(tops: dict[int, float], bottoms: dict[int, float]) -> ColumnInk:
    """60 columns of a level line's ink, but from `tops` or to `bottoms` in those columns."""
    columns = np.arange(60)
    top = np.array([tops.get(int(at), LEVEL - PEN_PX / 2) for at in columns])
    bottom = np.array([bottoms.get(int(at), LEVEL + PEN_PX / 2) for at in columns])
    split, yes = np.full(60, LEVEL), np.ones(60, bool)
    return ColumnInk(
        columns=columns,
        split=split,
        above=split - top,
        below=bottom - split,
        upper_seen=yes,
        lower_seen=yes,
        shared=~yes,
        seen=yes,
        way=split,
        way_reach=np.ones(60),
        guess=split,
        edge_thickness=bottom - top,
    )


def missed(ink: ColumnInk) -> tuple[list[int], list[float]]:
    """What is missed of the ink by a line that runs on level."""
    misfit = np.column_stack([ink.above, ink.below]) - PEN_PX / 2
    columns, heights = missed_tips(ink, misfit, PEN_PX)
    return columns.tolist(), heights.tolist()


def test_a_tip_is_where_the_ink_goes_back_on_both_sides() -> None:
    up = dict.fromkeys(range(28, 33), 60.0)
    assert missed(ink_of(up, {})) == ([30], [62.0])
    assert missed(ink_of({}, dict.fromkeys(range(28, 33), 140.0))) == ([30], [138.0])


@pytest.mark.parametrize(
    ("tops", "bottoms"),
    [
        ({}, {}),
        # A little more than a pen draws: the fit knows it better.
        (dict.fromkeys(range(28, 33), 94.0), {}),
        # A bar that crosses the line, and print much wider than a spike.
        (dict.fromkeys(range(28, 33), 60.0), dict.fromkeys(range(28, 33), 140.0)),
        (dict.fromkeys(range(15, 45), 60.0), {}),
    ],
)
def test_other_ink_is_no_tip(tops: dict[int, float], bottoms: dict[int, float]) -> None:
    assert missed(ink_of(tops, bottoms)) == ([], [])


def test_a_limb_is_no_tip() -> None:
    """Some columns of a limb that a line met late: beside them the ink goes on."""
    ink = ink_of({at: 60.0 - 10 * (at - 28) for at in range(28, 33)}, {})
    misfit = np.zeros((60, 2))
    misfit[28:31, 0] = 30.0
    assert missed_tips(ink, misfit, PEN_PX)[0].tolist() == []


def test_what_other_rows_share_is_left_to_the_crossings() -> None:
    ink = ink_of(dict.fromkeys(range(28, 33), 60.0), {})
    assert missed(replace(ink, shared=np.ones(60, bool))) == ([], [])


@pytest.mark.parametrize(("samples", "high_mv"), [(1, 1.5), (3, 1.2)])
def test_pacing_spikes_are_read_to_their_tips(
    samples: int, high_mv: float, formats: dict[str, Format], page_of: OpenPage
) -> None:
    """Both limbs of a spike of 2 or 6 ms stand in the same columns of a page of 200 dpi."""
    one = formats["edan-se3"]
    signal_mv = synthetic_ecg(seed=6, fs_hz=500).signal_mv.copy()
    for first in range(400, signal_mv.shape[1] - 10, 450):
        signal_mv[11, first : first + samples] += high_mv  # V6
    drawn = draw_page(one.layouts[0], one.info, Ecg(signal_mv, 500.0))
    page = page_of(as_png(drawn.pdf, 200), ".png")
    ink = one.remove_grid(page, drawn.layout)
    curves = raster_curves(page, drawn.layout, ink)
    assert cut_peaks(ink, curves, page, drawn.layout) == ()
