"""On vector pages traces are told from grids, separators and frames by their geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format
from ecgvision.strokes import grid_pitch_mm, joined, sort_strokes, sorted_strokes, trace_strokes
from ecgvision.testing import Ecg, GridStyle, draw_page, synthetic_ecg, trace_points
from ecgvision.trace import trace_leads
from ecgvision.types import RGB, Layout, Page, Stroke

BLACK: RGB = (0, 0, 0)
PINK: RGB = (240, 150, 150)
RED: RGB = (168, 0, 0)
BLANK = np.full((1, 1), 255, np.uint8)
PAGE_MM = (279.4, 215.9)


def stroke(points: Any, width_mm: float = 0.3, rgb: RGB = BLACK, *, filled: bool = False) -> Stroke:
    return Stroke(np.array(points, dtype=np.float64), width_mm, rgb, filled)


def grid(rgb: RGB = PINK, width_mm: float = 0.1, pitch_mm: float = 1.0) -> list[Stroke]:
    steps = np.arange(0, 100.001, pitch_mm)
    down = [stroke([(20 + s, 50), (20 + s, 150)], width_mm, rgb) for s in steps]
    return down + [stroke([(20, 50 + s), (120, 50 + s)], width_mm, rgb) for s in steps]


def wave(left: float = 20, y: float = 100, rgb: RGB = BLACK, width_mm: float = 0.3) -> Stroke:
    x = np.linspace(left, left + 60, 300)
    return stroke(np.column_stack([x, y + 5 * np.sin(x)]), width_mm, rgb)


def is_in(one: Stroke, many: tuple[Stroke, ...]) -> bool:
    return any(one is other for other in many)


def test_a_grid_is_told_from_what_lies_on_it() -> None:
    trace = wave()
    bars = [stroke([(x, 60), (x, 140)]) for x in (40, 60, 80)]
    underline = stroke([(20, 40), (80, 40)], 0.2)
    pulse = stroke([(10, 100), (11, 100), (11, 90), (14, 90), (14, 100), (15, 100)])
    frame = stroke([(20, 50), (120, 50), (120, 150), (20, 150), (20, 50)], 0.3, RED)
    major = grid((216, 111, 98), 0.2, 5.0)
    found = sort_strokes([*grid(), *major, frame, trace, *bars, underline, pulse])
    assert len(found.grid) == len(grid()) + len(major) + 1
    assert is_in(frame, found.grid)
    assert all(is_in(one, found.ink) for one in (trace, *bars, underline, pulse))
    assert grid_pitch_mm(found.grid) == pytest.approx(1.0)


@pytest.mark.parametrize("width_mm", [0.05, 0.12, 0.3])
def test_a_black_grid_is_told_by_its_family(width_mm: float) -> None:
    trace = wave(width_mm=0.3)
    found = sort_strokes([*grid(BLACK, width_mm), trace])
    assert found.ink == (trace,)
    assert len(found.grid) == len(grid())


@pytest.mark.parametrize("lines", [*range(0, 12, 4), 11])
def test_a_few_lines_are_no_grid(lines: int) -> None:
    few = [stroke([(20 + k, 50), (20 + k, 150)], 0.1, PINK) for k in range(lines)]
    found = sort_strokes([*few, wave()])
    assert len(found.ink) == lines + 1
    assert not found.grid


def test_coloured_traces_on_a_grid_of_their_colour() -> None:
    """Straight pieces in the traces' own colour stay, however the grid is coloured."""
    blue: RGB = (90, 90, 220)
    flat = stroke([(20, 130), (80, 130)], 0.3, blue)
    found = sort_strokes([*grid((200, 200, 255)), wave(rgb=blue), flat])
    assert is_in(flat, found.ink)
    assert len(found.ink) == 2


@pytest.mark.parametrize("rgb", [BLACK, (40, 40, 120), (200, 60, 60)])
@pytest.mark.parametrize("flat_leads", [1, 3])
def test_a_flat_lead_is_no_grid(rgb: RGB, flat_leads: int) -> None:
    flat = [stroke([(20, 60 + 25 * k), (82.5, 60 + 25 * k)], 0.3, rgb) for k in range(flat_leads)]
    found = sort_strokes([*grid(), *flat, *(wave(y=140 + k, rgb=rgb) for k in range(9))])
    assert all(is_in(one, found.ink) for one in flat)


@pytest.mark.parametrize("gridded", [True, False])
def test_twelve_flat_leads_are_no_grid(gridded: bool) -> None:
    """Asystole, or all cables off: twelve lines across, and not one down."""
    flat = [
        stroke([(20 + 62.5 * c, 60 + 30 * r), (82.5 + 62.5 * c, 60 + 30 * r)])
        for r in range(3)
        for c in range(4)
    ]
    lines = grid() if gridded else []
    found = sort_strokes([*lines, *flat])
    assert len(found.grid) == len(lines)
    # Leads that meet come as one line: what counts is that all 12 x 62.5 mm of it are ink.
    assert sum(float(np.ptp(one.points_mm[:, 0])) for one in found.ink) == pytest.approx(750.0)


def test_a_grid_of_dots() -> None:
    dots = [
        stroke([(20 + x, 50 + y), (20.1 + x, 50 + y)], 0.1, PINK)
        for x in range(30)
        for y in range(30)
    ]
    found = sort_strokes([*dots, wave()])
    assert len(found.grid) == 900
    assert len(found.ink) == 1


def test_fills_and_specks_are_neither() -> None:
    fill = stroke([(0, 0), (100, 0), (100, 50), (0, 50)], 0, BLACK, filled=True)
    point = stroke([(3, 3)])
    assert sort_strokes([fill, point]) == sort_strokes([])
    assert sort_strokes([]).ink == ()
    assert grid_pitch_mm([]) is None


def test_pieces_are_joined_where_they_meet() -> None:
    whole = wave()
    pieces = [stroke(whole.points_mm[k : k + 40]) for k in range(0, 299, 39)]
    (one,) = joined(pieces)
    np.testing.assert_array_equal(one.points_mm, whole.points_mm)
    other_colour = [pieces[0], stroke(pieces[1].points_mm, rgb=RED)]
    other_width = [pieces[0], stroke(pieces[1].points_mm, 0.5)]
    apart = [pieces[0], stroke(pieces[1].points_mm + 0.2)]
    for pair in (other_colour, other_width, apart):
        assert len(joined(pair)) == 2
    assert joined([]) == ()


@pytest.mark.parametrize("pieces", [None, 127, 2])
@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200"])
def test_a_cut_trace_is_whole_again(
    format_id: str,
    pieces: int | None,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: Callable[..., Page],
) -> None:
    layout = formats[format_id].layouts[0]
    drawn = draw_page(layout, formats[format_id].info, ecg, trace_pieces=pieces)
    page = page_of(drawn.pdf)
    for lead_box in drawn.layout.boxes:
        truth = trace_points(lead_box, drawn.layout, ecg)
        near = [
            s.points_mm
            for s in trace_strokes(page)
            if abs(s.points_mm[0, 0] - truth[0, 0]) < 0.02
            and abs(s.points_mm[0, 1] - truth[0, 1]) < 0.02
        ]
        assert len(near) == 1, lead_box
        assert near[0].shape == truth.shape
        np.testing.assert_allclose(near[0], truth, atol=2e-3)


def backwards_page(layout: Layout, ecg: Ecg, pieces: int) -> bytes:
    canvas = PdfCanvas(layout.page_mm)
    for lead_box in layout.boxes:
        points = trace_points(lead_box, layout, ecg)[::-1]
        for start in range(0, len(points) - 1, pieces):
            canvas.polyline(points[start : start + pieces + 1], 0.3)
    return canvas.tobytes()


@pytest.mark.parametrize("pieces", [10_000, 126])
def test_strokes_from_right_to_left(
    pieces: int, formats: dict[str, Format], ecg: Ecg, page_of: Callable[..., Page]
) -> None:
    layout = formats["philips-tc30"].layouts[0]
    page = page_of(backwards_page(layout, ecg, pieces))
    assert len(trace_strokes(page)) == len(layout.boxes)
    for trace in trace_leads(page, layout, BLANK):
        assert trace.coverage > 0.98
        truth = trace_points(trace.lead_box, layout, ecg)
        due = np.interp(trace.lead_box.box.left_mm + 0.1, truth[:, 0], truth[:, 1])
        assert trace.y_mm[0] == pytest.approx(due, abs=0.01)


def test_what_turns_back_or_is_short_is_no_trace(page_of: Callable[..., Page]) -> None:
    canvas = PdfCanvas(PAGE_MM)
    angle = np.linspace(0, 2 * np.pi, 100)
    canvas.polyline(np.column_stack([100 + 20 * np.cos(angle), 100 + 20 * np.sin(angle)]), 0.3)
    canvas.polyline([(20, 60), (23.9, 61)], 0.3)  # shorter than 4 mm
    canvas.line(50, 40, 50, 150, 0.3)
    assert trace_strokes(page_of(canvas.tobytes())) == ()


@pytest.mark.parametrize(
    ("format_id", "kind"),
    [
        ("philips-tc30", True),
        ("philips-tc30", "grey"),
        ("philips-tc30", "black"),
        ("philips-tc30", "dotted"),
        ("ge-mac1200", "black"),
        ("ge-muse", True),
        ("edan-se3", "black"),
    ],
)
def test_drawn_grids_go_and_traces_stay(
    format_id: str,
    kind: Any,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: Callable[..., Page],
) -> None:
    """The only strokes left are those of the same page drawn without a grid."""
    one = formats[format_id]
    layout = one.layouts[0]
    with_grid = sorted_strokes(page_of(draw_page(layout, one.info, ecg, grid=kind).pdf))
    without = sorted_strokes(page_of(draw_page(layout, one.info, ecg, grid=False).pdf))
    assert not without.grid
    assert len(with_grid.ink) == len(without.ink)
    for found, due in zip(with_grid.ink, without.ink, strict=True):
        np.testing.assert_array_equal(found.points_mm, due.points_mm)


def test_grid_drawn_as_wide_as_the_pen(
    formats: dict[str, Format], ecg: Ecg, page_of: Callable[..., Page]
) -> None:
    style = GridStyle(BLACK, BLACK, major_mm=0.3, minor_mm=0.3)
    one = formats["philips-tc30"]
    page = page_of(draw_page(one.layouts[0], one.info, ecg, grid=style, pen_mm=0.3).pdf)
    traces = trace_leads(page, one.layouts[0], BLANK)
    assert min(trace.coverage for trace in traces) > 0.98
    assert grid_pitch_mm(sorted_strokes(page).grid) == pytest.approx(1.0, abs=0.01)


def test_a_recording_of_nothing_is_still_traced(
    formats: dict[str, Format], page_of: Callable[..., Page]
) -> None:
    silent = Ecg(np.zeros_like(synthetic_ecg().signal_mv), 500)
    one = formats["philips-tc30"]
    page = page_of(draw_page(one.layouts[0], one.info, silent).pdf)
    for trace in trace_leads(page, one.layouts[0], BLANK):
        assert trace.coverage > 0.98
        assert trace.level_mm == pytest.approx(trace.lead_box.baseline_mm, abs=0.01)
