"""Peaks that were cut off are found by the ink beyond them, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ecgvision.layouts import regular_layout
from ecgvision.quality import assess
from ecgvision.quality.ink import CutPeak, cut_peaks
from ecgvision.quality.picture import qc_picture
from ecgvision.recording import Calibration, LeadCurve, Recording
from ecgvision.types import Box, Layout, Page

Pixels = np.ndarray

PX_PER_MM = 8.0
PAGE_MM = (100.0, 60.0)


class Drawn:
    """Only the pixels of a page."""

    def __init__(self, ink: Pixels) -> None:
        self.ink = ink

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        size = round(clip.width_mm * px_per_mm), round(clip.height_mm * px_per_mm)
        left, top = round(clip.left_mm * PX_PER_MM), round(clip.top_mm * PX_PER_MM)
        right, bottom = round(clip.right_mm * PX_PER_MM), round(clip.bottom_mm * PX_PER_MM)
        shown = cv2.resize(self.ink[top:bottom, left:right], size)
        return shown if grey else np.repeat(shown[:, :, None], 3, axis=2)

    def strokes(self) -> tuple[()]:
        return ()

    def texts(self) -> tuple[()]:
        return ()


@pytest.fixture(scope="module")
def layout() -> Layout:
    return regular_layout(
        "2x1",
        page_mm=PAGE_MM,
        rows=(("V3",), ("V4",)),
        left_mm=10,
        baselines_mm=(22.0, 40.0),
        column_s=3.2,
    )


def line(layout: Layout, row: int, height_mm: float, at_mm: float = 50.0) -> LeadCurve:
    """A flat line with one spike, 0.8 mm wide at its foot; a negative height points down."""
    box = layout.boxes[row]
    x_mm = np.arange(box.box.left_mm, box.box.right_mm, 1 / PX_PER_MM)
    spike = np.clip(1 - np.abs(x_mm - at_mm) / 0.4, 0, 1)
    return LeadCurve(box, x_mm, (22.0, 40.0)[row] - height_mm * spike, "raster", 1.0)


def page_of(*curves: LeadCurve) -> tuple[Page, Pixels]:
    ink = np.full((round(PAGE_MM[1] * PX_PER_MM), round(PAGE_MM[0] * PX_PER_MM)), 255, np.uint8)
    for curve in curves:
        points = np.rint(np.column_stack([curve.x_mm, curve.y_mm]) * PX_PER_MM - 0.5)
        cv2.polylines(ink, [points.astype(np.int32)], False, 0, 3)
    return Page(Path("page.png"), 1, "image", PAGE_MM, ink.shape[::-1], Drawn(ink)), ink


@pytest.mark.parametrize("sign", [1, -1])
def test_a_peak_read_too_low_is_found_with_what_is_missing(layout: Layout, sign: int) -> None:
    page, ink = page_of(line(layout, 0, sign * 8.0), line(layout, 1, 3.0, at_mm=30.0))
    read = (line(layout, 0, sign * 5.0), line(layout, 1, 3.0, at_mm=30.0))
    (found,) = cut_peaks(ink, read, page, layout)
    assert found.lead == "V3"
    assert found.x_mm == pytest.approx(50.0, abs=0.2)
    assert found.missed_mm == pytest.approx(3.0, abs=0.4)
    assert found.tip_mm == pytest.approx(22.0 - sign * 8.0, abs=0.4)


def test_peaks_that_were_read_are_no_finding(layout: Layout) -> None:
    # The spike of V4 runs through the line of V3: the neighbour's curve explains it.
    drawn = (line(layout, 0, 8.0), line(layout, 1, 22.0, at_mm=60.0))
    page, ink = page_of(*drawn)
    assert cut_peaks(ink, drawn, page, layout) == ()


def test_a_pen_a_little_beside_its_line_is_no_finding(layout: Layout) -> None:
    page, ink = page_of(line(layout, 0, 8.0))
    read = line(layout, 0, 7.6)
    assert cut_peaks(ink, (replace(read, x_mm=read.x_mm + 0.15),), page, layout) == ()


def test_other_print_is_no_peak(layout: Layout) -> None:
    curve = line(layout, 0, 0.0)
    page, ink = page_of(curve)
    width_mm = {"word": 3.0, "bar at the column's start": 0.4, "far above": 0.4}
    left_mm = {"word": 45.0, "bar at the column's start": 10.2, "far above": 70.0}
    for what, left in left_mm.items():
        right, bottom = left + width_mm[what], 18.0 if what == "far above" else 21.5
        rows = slice(round(12 * PX_PER_MM), round(bottom * PX_PER_MM))
        ink[rows, round(left * PX_PER_MM) : round(right * PX_PER_MM)] = 0
    assert cut_peaks(ink, (curve,), page, layout) == ()
    # The same stroke in the open is one.
    ink[round(12 * PX_PER_MM) : round(21.8 * PX_PER_MM), round(60 * PX_PER_MM)] = 0
    assert len(cut_peaks(ink, (curve,), page, layout)) == 1


def test_a_peak_within_a_frame_is_found(layout: Layout) -> None:
    """Print around a piece of ink does not hide it."""
    curve = line(layout, 0, 0.0)
    page, ink = page_of(curve)
    ink[96:170, 400] = 0
    assert len(cut_peaks(ink, (curve,), page, layout)) == 1
    cv2.rectangle(ink, (380, 80), (420, 171), 0, 1)
    assert len(cut_peaks(ink, (curve,), page, layout)) == 1


def test_names_and_cleared_places_are_no_peaks(layout: Layout) -> None:
    curve = line(layout, 0, 0.0)
    page, ink = page_of(curve)
    ink[round(14 * PX_PER_MM) : round(21.5 * PX_PER_MM), round(30 * PX_PER_MM)] = 0
    assert len(cut_peaks(ink, (curve,), page, layout)) == 1
    cleared = replace(layout, clear=(Box(28.0, 13.0, 32.0, 21.4),))
    assert cut_peaks(ink, (curve,), page, cleared) == ()
    named = replace(curve.lead_box, name_mm=(29.0, 18.0))
    with_name = replace(layout, boxes=(named, layout.boxes[1]))
    ink[: round(17.9 * PX_PER_MM), round(30 * PX_PER_MM)] = 255
    assert cut_peaks(ink, (curve,), page, with_name) == ()


def test_lines_and_unread_leads_have_no_cut_peaks(layout: Layout) -> None:
    page, ink = page_of(line(layout, 0, 8.0))
    vector = replace(line(layout, 0, 3.0), origin="vector")
    unread = replace(vector, origin="raster", y_mm=np.full(len(vector.x_mm), np.nan))
    assert cut_peaks(ink, (vector, unread), page, layout) == ()


def test_the_verdict_and_the_picture_show_them(layout: Layout) -> None:
    nothing = Recording(np.full((12, 1600), np.nan, np.float32), 500.0, np.zeros((0, 1600)))
    cut = (CutPeak("V3", 50.0, 17.0, 14.0), CutPeak("V4", 60.0, 30.0, 29.1))
    quality = assess(nothing, Calibration(25.0, 10.0, "text", "text"), layout, cut)
    assert quality.measures["peaks_cut_mv"] == {"V3": 0.3, "V4": 0.09}
    (found,) = (one for one in quality.findings if one.code == "peaks-cut")
    assert (found.severity, found.leads) == ("doubtful", ("V3",))
    halved = Calibration(25.0, 10.0, "text", "text", chest_gain_mm_per_mv=5.0)
    assert assess(nothing, halved, layout, cut).measures["peaks_cut_mv"]["V3"] == 0.6
    page, _ = page_of(line(layout, 0, 8.0))
    red = [
        int(((seen == (230, 0, 0)).all(axis=2)).sum())
        for seen in (
            qc_picture(page, layout, (line(layout, 0, 5.0), line(layout, 1, 0.0)), None, None, some)
            for some in ((), cut)
        )
    ]
    assert red[1] > red[0] + 100
