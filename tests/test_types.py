"""Layouts say what is wrong with their numbers, and put rows and leads into order."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, replace
from math import inf, nan
from typing import Any

import pytest

from ecgvision.errors import LayoutError
from ecgvision.layouts import regular_layout
from ecgvision.types import LEADS, Box, Layout, LeadBox, Page, Tile

THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
GRID: dict[str, Any] = {
    "page_mm": (297, 210),
    "rows": THREE,
    "left_mm": 20,
    "baselines_mm": [70, 100, 130],
    "column_s": 2.5,
    "rhythm": ["II"],
    "rhythm_baselines_mm": [160],
}


def grid(**changes: Any) -> Layout:
    return regular_layout("acme", **{**GRID, **changes})


def lead(name: str, left: float, right: float, start: float = 0.0, stop: float = 2.5) -> LeadBox:
    return LeadBox(name, Box(left, 85, right, 115), start, stop)


def one_lead(lead_box: LeadBox, **changes: Any) -> Layout:
    return Layout(**{"name": "acme", "page_mm": (297, 210), "boxes": (lead_box,), **changes})


def refused(message: str) -> Any:
    return pytest.raises(LayoutError, match=re.escape(message))


def test_width_and_time_must_agree() -> None:
    with refused("lead V1 is 70 mm wide but 2.5 s at 25 mm/s is 62.5 mm"):
        one_lead(lead("V1", 20, 90))
    with refused("layout 'acme': lead I is 70 mm wide but 2.5 s at 25 mm/s is 62.5 mm"):
        grid(column_mm=70)
    with refused("lead V1 is 62.5 mm wide but 2.5 s at 50 mm/s is 125 mm"):
        one_lead(lead("V1", 20, 82.5), speed_mm_per_s=50)


@pytest.mark.parametrize(("wide_mm", "fits"), [(62.0, True), (63.0, True), (61.5, False)])
def test_half_a_small_box_is_not_impossible(wide_mm: float, fits: bool) -> None:
    box = lead("V1", 20, 20 + wide_mm)
    if fits:
        assert one_lead(box).boxes == (box,)
    else:
        with refused("lead V1 is 61.5 mm wide"):
            one_lead(box)


def test_long_strips_have_one_per_cent() -> None:
    assert one_lead(lead("II", 20, 272, 0, 10)).boxes[0].box.width_mm == 252
    with refused("lead II is 253 mm wide but 10 s at 25 mm/s is 250 mm"):
        one_lead(lead("II", 20, 273, 0, 10))


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("number", [nan, inf, -inf, 1e9])
def test_boxes_are_finite(corner: int, number: float) -> None:
    corners = [10.0, 10.0, 20.0, 20.0]
    corners[corner] = number
    with refused("a box needs four finite numbers in mm"):
        Box(*corners)


@pytest.mark.parametrize("corners", [(20, 10, 10, 20), (10, 20, 20, 10), (10, 10, 10, 20)])
def test_boxes_are_not_inside_out(corners: tuple[float, float, float, float]) -> None:
    with refused("a box needs left < right and top < bottom"):
        Box(*corners)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"page_mm": (nan, 210)}, "the page width must be a positive number, found nan"),
        ({"page_mm": (297, 0)}, "the page height must be a positive number, found 0"),
        ({"speed_mm_per_s": -25}, "the paper speed must be a positive number, found -25"),
        ({"gain_mm_per_mv": inf}, "the gain must be a positive number, found inf"),
        ({"gain_mm_per_mv": nan}, "the gain must be a positive number, found nan"),
        ({"boxes": ()}, "layout 'acme' has no leads"),
    ],
)
def test_numbers_of_a_layout(changes: dict[str, Any], message: str) -> None:
    with refused(message):
        one_lead(lead("I", 20, 82.5), **changes)


@pytest.mark.parametrize(("start", "stop"), [(2.5, 2.5), (2.5, 0), (nan, 2.5), (0, nan)])
def test_a_lead_stops_after_it_starts(start: float, stop: float) -> None:
    with refused("it must stop after it starts"):
        one_lead(lead("I", 20, 82.5, start, stop))


@pytest.mark.parametrize("name", ["V7", "v1", "", "AVR"])
def test_only_the_twelve_leads(name: str) -> None:
    with refused(f"{name!r} is not a lead; the leads are I, II, III, aVR"):
        one_lead(lead(name, 20, 82.5))


def test_a_lead_stands_once() -> None:
    twice = (lead("I", 20, 82.5), lead("I", 90, 152.5))
    with refused("lead I stands twice; a repeated lead must be marked as a rhythm strip"):
        Layout("acme", (297, 210), twice)
    strip = replace(twice[1], rhythm_strip=True)
    assert Layout("acme", (297, 210), (twice[0], strip)).twelve == (twice[0],)


@pytest.mark.parametrize(("dx", "dy"), [(-22, 0), (216, 0), (0, -101), (0, 111)])
def test_outside_the_page(dx: float, dy: float) -> None:
    with refused("outside the page of 297 x 210 mm"):
        one_lead(lead("I", 20, 82.5).shifted(dx, dy))


def test_columns_must_not_overlap() -> None:
    with refused("columns 62.5 mm wide start every 60 mm, so they overlap"):
        grid(column_pitch_mm=60)
    assert grid(column_pitch_mm=62.3).boxes[1].box.left_mm == pytest.approx(82.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baselines_mm": [70, 100]}, "3 rows of leads but 2 baselines"),
        ({"rhythm_baselines_mm": []}, "1 rhythm strips but 0 baselines"),
        ({"column_s": 0}, "must be positive"),
        ({"column_s": nan}, "must be positive"),
        ({"speed_mm_per_s": nan}, "must be positive"),
        ({"left_mm": 60}, "lead V4 reaches from 247.5 to 310 mm across"),
        ({"rows": [["I", "I"], *THREE[1:]]}, "lead I stands twice"),
    ],
)
def test_regular_layouts_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with refused(message):
        grid(**changes)


@pytest.mark.parametrize("column_pitch_mm", [nan, inf])
def test_a_pitch_is_a_number(column_pitch_mm: float) -> None:
    with pytest.raises(LayoutError):
        grid(column_pitch_mm=column_pitch_mm)


def test_regular_layouts_hold_the_numbers_they_were_given() -> None:
    layout = grid(column_pitch_mm=64, name_offset_mm=(1, -9))
    v5 = next(b for b in layout.boxes if b.lead == "V5")
    assert (v5.box.left_mm, v5.box.right_mm) == (20 + 3 * 64, 20 + 3 * 64 + 62.5)
    assert (v5.start_s, v5.stop_s, v5.baseline_mm) == (7.5, 10.0, 100.0)
    assert v5.name_mm == (213, 91)
    strip = layout.boxes[-1]
    assert strip.rhythm_strip
    assert (strip.lead, strip.start_s, strip.stop_s, strip.box.width_mm) == ("II", 0, 10, 250)


def test_rows_and_twelve_are_ordered_however_the_boxes_come() -> None:
    layout = grid()
    mixed = replace(layout, boxes=layout.boxes[::-1])
    assert [[b.lead for b in row] for row in mixed.rows] == [*map(list, THREE), ["II"]]
    assert tuple(b.lead for b in mixed.twelve) == LEADS
    assert not any(b.rhythm_strip for b in mixed.twelve)


def test_shifting_moves_everything_that_is_printed() -> None:
    moved = grid(pulse_mm=(12, 17), name_offset_mm=(1, -9)).shifted(3, -4)
    assert moved.boxes[0].box == Box(23, 51, 85.5, 81)
    assert moved.boxes[0].name_mm == (24, 57)
    assert moved.pulse_mm == (15, 20)
    with refused("outside the page"):
        moved.shifted(-30, 0)


def test_types_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Box(0, 0, 1, 1).left_mm = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        grid().name = "other"  # type: ignore[misc]
    assert hash(Tile(0, 0, 1, 1, 0, 0)) == hash(Tile(0, 0, 1, 1, 0, 0))


def test_a_page_of_unknown_size_gives_no_scale(tmp_path: Any) -> None:
    page = Page(tmp_path / "a.png", 1, "image", None, (100, 50), reader=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.png page 1: its size in mm is not known"):
        _ = page.px_per_mm
    with pytest.raises(ValueError, match="its size in mm is not known"):
        page.pixels()
