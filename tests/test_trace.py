"""Each lead's own trace comes back where it was drawn, without its neighbours'."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ecgvision.grid import ink_of_page
from ecgvision.media.views import levelled
from ecgvision.plugins import Format
from ecgvision.testing import (
    DrawnPage,
    Ecg,
    as_png,
    draw_page,
    scanned,
    synthetic_ecg,
    trace_points,
)
from ecgvision.trace import STEP_MM, LeadTrace, trace_leads
from ecgvision.types import Layout, Page

BLANK = np.full((1, 1), 255, np.uint8)  # a vector page's pixels are not looked at
MEDIAN_WITHIN_MM = 0.15
LEAST_COVERAGE = 0.95
OpenPage = Callable[..., Page]
FORMATS = ("philips-tc30", "ge-mac1200", "ge-muse", "edan-se3")


def true_y(trace: LeadTrace, drawn: DrawnPage) -> np.ndarray:
    """Where the drawn line is at the places that were sampled."""
    points = trace_points(trace.lead_box, drawn.layout, drawn.ecg)
    x = trace.lead_box.box.left_mm + STEP_MM * (np.arange(len(trace.y_mm)) + 0.5)
    return np.interp(x, points[:, 0], points[:, 1], right=np.nan)


def strays_mm(trace: LeadTrace, drawn: DrawnPage) -> np.ndarray:
    return np.abs(trace.y_mm - true_y(trace, drawn))


def assert_traced(traces: tuple[LeadTrace, ...], drawn: DrawnPage) -> None:
    assert [t.lead_box for t in traces] == list(drawn.layout.boxes)
    for trace in traces:
        assert trace.coverage > LEAST_COVERAGE, trace.lead_box.lead
        assert np.nanmedian(strays_mm(trace, drawn)) < MEDIAN_WITHIN_MM, trace.lead_box.lead
        level = np.nanmedian(true_y(trace, drawn))
        assert trace.level_mm == pytest.approx(level, abs=0.5), trace.lead_box.lead


def traced(page: Page, layout: Layout) -> tuple[LeadTrace, ...]:
    return trace_leads(page, layout, BLANK if page.origin == "vector" else ink_of_page(page))


# --- the sampled line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_id", "number"),
    [
        ("philips-tc30", 3),
        ("philips-tc30", 17),
        ("ge-mac1200", 3),
        ("ge-mac1200", 44),
        ("ge-muse", 17),
        ("edan-se3", 44),
    ],
)
def test_real_signals_come_back(
    format_id: str,
    number: int,
    formats: dict[str, Format],
    ptbxl: Callable[[int], Ecg],
    page_of: OpenPage,
) -> None:
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ptbxl(number))
    assert_traced(traced(page_of(drawn.pdf), drawn.layout), drawn)
    picture = page_of(as_png(drawn.pdf, 300 if format_id == "philips-tc30" else 200), ".png")
    assert_traced(traced(picture, drawn.layout), drawn)


@pytest.mark.parametrize("format_id", FORMATS)
def test_a_scan_comes_back(format_id: str, formats: dict[str, Format], page_of: OpenPage) -> None:
    one = formats[format_id]
    ecg = synthetic_ecg(seed=3)
    drawn = draw_page(one.layouts[0], one.info, ecg)
    assert_traced(traced(levelled(page_of(scanned(drawn.pdf)), 0.7), drawn.layout), drawn)


@pytest.mark.parametrize("join_rows", [False, True])
@pytest.mark.parametrize("pieces", [None, 127])
@pytest.mark.parametrize("format_id", FORMATS)
def test_vector_lines_are_exact(
    format_id: str,
    pieces: int | None,
    join_rows: bool,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ecg, trace_pieces=pieces, join_rows=join_rows)
    for trace in traced(page_of(drawn.pdf), drawn.layout):
        assert trace.coverage > 0.98
        assert trace.ink is None
        assert np.nanpercentile(strays_mm(trace, drawn), 99) < 0.05  # a joint may slant
        box = trace.lead_box.box
        points = np.concatenate(trace.lines)
        assert points[:, 0].min() >= box.left_mm - 0.01
        assert points[:, 0].max() <= box.right_mm + 0.01


def test_single_segments_are_a_trace_too(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    """Some printer drivers write every sample as a path of two points."""
    one = formats["philips-tc30"]
    drawn = draw_page(one.layouts[0], one.info, ecg, trace_pieces=2)
    page = page_of(drawn.pdf)
    traces = trace_leads(page, drawn.layout, ink_of_page(page))
    assert traces[0].ink is None  # taken from strokes
    assert_traced(traces, drawn)


def test_no_ink_no_trace(formats: dict[str, Format], ecg: Ecg, page_of: OpenPage) -> None:
    one = formats["philips-tc30"]
    page = page_of(as_png(draw_page(one.layouts[0], one.info, ecg).pdf, 150), ".png")
    blank = np.full_like(page.pixels(grey=True), 255)
    for trace in trace_leads(page, one.layouts[0], blank):
        assert trace.coverage == 0
        assert np.isnan(trace.level_mm)
        assert trace.ink is not None
        assert (trace.ink == 255).all()


@pytest.mark.parametrize("kind", ["vector", "png"])
def test_missing_leads_and_gaps_are_seen_as_such(
    kind: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["philips-tc30"]
    full = synthetic_ecg(seed=3)
    signal_mv = full.signal_mv.copy()
    signal_mv[9, :] = np.nan  # V4 was off
    signal_mv[7, 2500 + 500 : 2500 + 875] = np.nan  # V2 came off for 0.75 s
    drawn = draw_page(one.layouts[0], one.info, Ecg(signal_mv, full.fs_hz))
    page = page_of(drawn.pdf) if kind == "vector" else page_of(as_png(drawn.pdf, 200), ".png")
    by_lead = {t.lead_box.lead: t for t in traced(page, drawn.layout)}
    assert by_lead["V4"].coverage < 0.05
    assert by_lead["V2"].coverage == pytest.approx(0.7, abs=0.03)
    assert min(by_lead[lead].coverage for lead in ("V1", "V3", "V5", "V6")) > LEAST_COVERAGE


# --- neighbours that reach in -----------------------------------------------------------------


def tall(ecg: Ecg, peak_mv: float) -> Ecg:
    """The recording with every lead reaching up or down to `peak_mv`."""
    signal_mv = ecg.signal_mv - np.median(ecg.signal_mv, axis=1, keepdims=True)
    peaks = np.abs(signal_mv).max(axis=1, keepdims=True)
    return Ecg((signal_mv / peaks * peak_mv).astype(np.float32), ecg.fs_hz)


def near_own_line(trace: LeadTrace, drawn: DrawnPage, scale: float) -> tuple[np.ndarray, ...]:
    """(H, W) bool of the lead's ink: the pixels on its own true line, and those near it."""
    assert trace.ink is not None
    assert trace.ink_box is not None
    corner = [trace.ink_box.left_mm, trace.ink_box.top_mm]
    points = (trace_points(trace.lead_box, drawn.layout, drawn.ecg) - corner) * scale * 16 - 8
    line = np.zeros(trace.ink.shape, np.uint8)
    cv2.polylines(line, [points.round().astype(np.int32)[:, None]], False, 1, 1, cv2.LINE_8, 4)
    reach = 2 * round(0.5 * scale) + 1
    return line > 0, cv2.dilate(line, np.ones((reach, reach), np.uint8)) > 0


def foreign_share(dark: np.ndarray, near: np.ndarray) -> float:
    return float((dark & ~near).sum() / max(1, dark.sum()))


@pytest.mark.parametrize("number", [None, 3, 17])
def test_a_neighbours_qrs_is_left_out(
    number: int | None,
    formats: dict[str, Format],
    request: pytest.FixtureRequest,
    page_of: OpenPage,
) -> None:
    """Peaks of 15 mm on rows 18.5 mm apart reach far into the neighbours' boxes of 9.3 mm."""
    one = formats["ge-mac1200"]
    source = synthetic_ecg(seed=3) if number is None else request.getfixturevalue("ptbxl")(number)
    drawn = draw_page(one.layouts[0], one.info, tall(source, 1.5), header=False)
    page = page_of(as_png(drawn.pdf, 200), ".png")
    ink, scale = ink_of_page(page), page.px_per_mm
    shares, cropped = [], []
    for trace in trace_leads(page, drawn.layout, ink):
        on, near = near_own_line(trace, drawn, scale)
        assert trace.ink is not None
        assert trace.ink_box is not None
        dark = trace.ink < 128
        assert dark[on].mean() > 0.8, trace.lead_box.lead
        shares.append(foreign_share(dark, near))
        top, left = (round(v * scale) for v in (trace.ink_box.top_mm, trace.ink_box.left_mm))
        crop = ink[top : top + dark.shape[0], left : left + dark.shape[1]] < 128
        rows = slice(*(round(v * scale) - top for v in
                       (trace.lead_box.box.top_mm, trace.lead_box.box.bottom_mm)))  # fmt: skip
        cropped.append(foreign_share(crop[rows], near[rows]))
    assert max(cropped) > 0.1  # else this test would show nothing
    assert max(shares) < 0.04
    assert np.median(shares) < 0.005


@pytest.mark.parametrize("number", [None, 3, 17])
def test_vector_rows_that_cross_stay_apart(
    number: int | None,
    formats: dict[str, Format],
    request: pytest.FixtureRequest,
    page_of: OpenPage,
) -> None:
    """Two and a half times as tall, the rows run through each other."""
    one = formats["ge-mac1200"]
    source = synthetic_ecg(seed=3) if number is None else request.getfixturevalue("ptbxl")(number)
    large = Ecg(source.signal_mv * np.float32(2.5), source.fs_hz)
    drawn = draw_page(one.layouts[0], one.info, large)
    for trace in traced(page_of(drawn.pdf), drawn.layout):
        assert trace.coverage > 0.98
        assert np.nanmax(strays_mm(trace, drawn)) < 0.05, trace.lead_box.lead
        truth = trace_points(trace.lead_box, drawn.layout, large)
        inside = np.concatenate(trace.lines)
        inside = inside[inside[:, 0] <= truth[-1, 0]]
        due = np.interp(inside[:, 0], truth[:, 0], truth[:, 1])
        np.testing.assert_allclose(inside[:, 1], due, atol=0.05)


def test_ink_and_page_are_not_changed(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["edan-se3"]
    page = page_of(as_png(draw_page(one.layouts[0], one.info, ecg).pdf, 150), ".png")
    ink = ink_of_page(page)
    before = ink.copy()
    first = trace_leads(page, one.layouts[0], ink)
    np.testing.assert_array_equal(ink, before)
    for once, again in zip(first, trace_leads(page, one.layouts[0], ink), strict=True):
        np.testing.assert_array_equal(once.y_mm, again.y_mm)
        np.testing.assert_array_equal(once.ink, again.ink)
