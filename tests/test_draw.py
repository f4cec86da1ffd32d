"""Drawn pages hold the truth they were drawn from."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ecgvision.layouts import regular_layout
from ecgvision.media import open_report
from ecgvision.testing import (
    DrawnPage,
    Ecg,
    GridStyle,
    as_jpeg,
    as_png,
    draw_page,
    ink_truth,
    paper_truth,
    rasterise,
    scanned,
    scanned_pixels,
    synthetic_ecg,
    trace_points,
)
from ecgvision.types import FormatInfo, Layout, LeadBox, Page, Stroke

INFO = FormatInfo(
    "acme-ecg",
    header_text=("ACME HEALTH", "ECG 3000"),
    grid_rgb=((216, 111, 98), (250, 200, 168)),
)
LAYOUT = regular_layout(
    "3x4+1R",
    page_mm=(297, 210),
    rows=[["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]],
    left_mm=25,
    baselines_mm=[75, 105, 135],
    column_s=2.5,
    rhythm=["II"],
    rhythm_baselines_mm=[165],
    name_offset_mm=(0.5, -9.0),
    pulse_mm=(17.0, 23.0),
    grid=True,
    separators=True,
)
PEN_MM = 0.3


@pytest.fixture(scope="module")
def ecg() -> Ecg:
    return synthetic_ecg(seed=1, noise_mv=0.005)


@pytest.fixture(scope="module")
def drawn(ecg: Ecg) -> DrawnPage:
    return draw_page(LAYOUT, INFO, ecg)


def page_of(pdf: bytes, folder: Path) -> Page:
    path = folder / "page.pdf"
    path.write_bytes(pdf)
    return open_report(path).page(1)


def black(page: Page) -> list[Stroke]:
    return [s for s in page.strokes if s.rgb == (0, 0, 0)]


def traces(page: Page) -> list[Stroke]:
    return [s for s in black(page) if len(s.points_mm) > 20]


def trace_of(page: Page, lead_box: LeadBox) -> np.ndarray:
    """(n, 2) mm of the one stroke that starts on the lead's left edge, near its baseline."""
    found = [
        s.points_mm
        for s in traces(page)
        if abs(s.points_mm[0, 0] - lead_box.box.left_mm) < 0.02
        and abs(np.median(s.points_mm[:, 1]) - lead_box.baseline_mm) < 5
    ]
    assert len(found) == 1, lead_box
    return found[0]


def assert_signals_come_back(page: Page, layout: Layout, ecg: Ecg) -> None:
    for lead_box in layout.boxes:
        points = trace_of(page, lead_box)
        times_s, signal_mv = ecg.window(lead_box.lead, lead_box.start_s, lead_box.stop_s)
        across = lead_box.box.left_mm + (times_s - lead_box.start_s) * layout.speed_mm_per_s
        found_mv = (lead_box.baseline_mm - points[:, 1]) / layout.gain_mm_per_mv
        np.testing.assert_allclose(points[:, 0], across, atol=1e-3)
        np.testing.assert_allclose(found_mv, signal_mv, atol=1e-3)


def test_strokes_give_the_signals_back(drawn: DrawnPage, ecg: Ecg, tmp_path: Path) -> None:
    page = page_of(drawn.pdf, tmp_path)
    assert page.origin == "vector"
    assert page.size_mm == pytest.approx(LAYOUT.page_mm, abs=0.01)
    assert len(traces(page)) == 13
    assert_signals_come_back(page, LAYOUT, ecg)
    widths = {round(s.width_mm, 3) for s in traces(page)}
    assert widths == {PEN_MM}


@pytest.mark.parametrize(("speed", "gain"), [(50.0, 5.0), (25.0, 20.0)])
def test_speed_and_gain(speed: float, gain: float, ecg: Ecg, tmp_path: Path) -> None:
    layout = regular_layout(
        "6x2",
        page_mm=(297, 210),
        rows=[
            ["I", "V1"],
            ["II", "V2"],
            ["III", "V3"],
            ["aVR", "V4"],
            ["aVL", "V5"],
            ["aVF", "V6"],
        ],
        left_mm=25,
        baselines_mm=[45 + 25 * row for row in range(6)],
        column_s=125 / speed,
        speed_mm_per_s=speed,
        gain_mm_per_mv=gain,
        grid=False,
    )
    page = page_of(draw_page(layout, INFO, ecg).pdf, tmp_path)
    assert_signals_come_back(page, layout, ecg)
    assert f"{speed:g} mm/s {gain:g} mm/mV" in " ".join(t.text for t in page.texts)
    assert not [s for s in page.strokes if s.rgb != (0, 0, 0)]


def test_offset_moves_the_leads_and_not_the_header(ecg: Ecg, tmp_path: Path) -> None:
    moved = draw_page(LAYOUT, INFO, ecg, offset_mm=(3.25, -2.5))
    assert moved.layout.boxes[0].box == LAYOUT.boxes[0].box.shifted(3.25, -2.5)
    page = page_of(moved.pdf, tmp_path)
    assert_signals_come_back(page, moved.layout, ecg)
    names = [t for t in page.texts if t.text == "V4"]
    assert names[0].box.left_mm == pytest.approx(moved.layout.twelve[9].name_mm[0], abs=0.5)


def test_pulses_are_one_millivolt_high(drawn: DrawnPage, tmp_path: Path) -> None:
    pulses = [
        s.points_mm
        for s in black(page_of(drawn.pdf, tmp_path))
        if len(s.points_mm) <= 8 and s.points_mm[:, 0].max() <= 23.01 and s.points_mm[0, 1] > 60
    ]
    assert len(pulses) == 4
    for points, baseline in zip(
        sorted(pulses, key=lambda p: p[0, 1]), (75, 105, 135, 165), strict=True
    ):
        assert points[:, 0].min() == pytest.approx(17, abs=1e-3)
        assert points[:, 0].max() == pytest.approx(23, abs=1e-3)
        assert points[:, 1].max() == pytest.approx(baseline, abs=1e-3)
        assert np.ptp(points[:, 1]) == pytest.approx(10, abs=1e-3)


def upright(page: Page, rgb: tuple[int, int, int]) -> np.ndarray:
    """Sorted x in mm of the upright lines of that colour."""
    lines = [s.points_mm for s in page.strokes if s.rgb == rgb and len(s.points_mm) == 2]
    return np.sort([p[0, 0] for p in lines if np.ptp(p[:, 0]) < 1e-6])


def test_grid_pitch_and_colours(drawn: DrawnPage, tmp_path: Path) -> None:
    page = page_of(drawn.pdf, tmp_path)
    major, minor = (upright(page, rgb) for rgb in INFO.grid_rgb)
    np.testing.assert_allclose(np.diff(major), 5.0, atol=1e-3)
    every = np.sort(np.concatenate([major, minor]))
    np.testing.assert_allclose(np.diff(every), 1.0, atol=1e-3)
    assert np.abs(major - LAYOUT.boxes[0].box.left_mm).min() < 1e-3
    assert every[0] <= 17
    assert every[-1] >= LAYOUT.boxes[-1].box.right_mm


def test_separators_stand_between_the_columns(drawn: DrawnPage, tmp_path: Path) -> None:
    bars = upright(page_of(drawn.pdf, tmp_path), (0, 0, 0))
    np.testing.assert_allclose(bars, [25 + 62.5, 25 + 125, 25 + 187.5], atol=1e-3)


def test_header_stays_above_the_leads(drawn: DrawnPage, tmp_path: Path) -> None:
    texts = page_of(drawn.pdf, tmp_path).texts
    top_mm = min(b.box.top_mm for b in LAYOUT.boxes)
    bottom_mm = max(b.box.bottom_mm for b in LAYOUT.boxes)
    printed = " ".join(t.text for t in texts)
    for words in ("SYNTHETIC, PATIENT", "000000", "ACME HEALTH", "ECG 3000", "25 mm/s 10 mm/mV"):
        assert words in printed
    between = {t.text for t in texts if t.box.bottom_mm > top_mm and t.box.top_mm < bottom_mm}
    assert between == {b.lead for b in LAYOUT.boxes}
    assert all(t.box.left_mm >= 0 and t.box.right_mm <= 297 for t in texts)


def test_a_page_without_words(ecg: Ecg, tmp_path: Path) -> None:
    bare = draw_page(LAYOUT, INFO, ecg, header=False, footer=False)
    assert {t.text for t in page_of(bare.pdf, tmp_path).texts} == {b.lead for b in LAYOUT.boxes}


def test_pieces_share_their_ends(ecg: Ecg, tmp_path: Path) -> None:
    page = page_of(draw_page(LAYOUT, INFO, ecg, trace_pieces=127).pdf, tmp_path)
    lead_box = LAYOUT.boxes[-1]
    row = [s.points_mm for s in traces(page) if abs(s.points_mm[:, 1].mean() - 165) < 8]
    row.sort(key=lambda points: points[0, 0])
    assert max(map(len, row)) == 127
    for before, after in pairwise(row):
        np.testing.assert_allclose(before[-1], after[0], atol=1e-3)
    joined = np.concatenate([row[0], *(points[1:] for points in row[1:])])
    np.testing.assert_allclose(joined, trace_points(lead_box, LAYOUT, ecg), atol=2e-3)


def test_joined_rows_are_one_path(ecg: Ecg, tmp_path: Path) -> None:
    page = page_of(draw_page(LAYOUT, INFO, ecg, join_rows=True).pdf, tmp_path)
    assert sorted(len(s.points_mm) for s in traces(page)) == [5000] * 4


def test_snapped_coordinates(ecg: Ecg, tmp_path: Path) -> None:
    page = page_of(draw_page(LAYOUT, INFO, ecg, snap_pt=0.24).pdf, tmp_path)
    points_pt = traces(page)[0].points_mm / 25.4 * 72
    points_pt[:, 1] = 210 / 25.4 * 72 - points_pt[:, 1]  # a PDF counts from the bottom
    np.testing.assert_allclose(points_pt / 0.24, np.rint(points_pt / 0.24), atol=0.01)


def test_short_and_missing_leads_are_left_out(tmp_path: Path) -> None:
    short = synthetic_ecg(seconds=6)
    signal_mv = short.signal_mv.copy()
    signal_mv[0] = np.nan
    signal_mv[1, 100:120] = np.nan
    page = page_of(draw_page(LAYOUT, INFO, Ecg(signal_mv, 500)).pdf, tmp_path)
    lengths = sorted(len(s.points_mm) for s in traces(page))
    assert lengths == sorted([100, 1130, 100, 2880] + [1250] * 4 + [500] * 3)
    right = max(s.points_mm[:, 0].max() for s in traces(page))
    assert right < 25 + 6 * 25


def test_same_bytes_every_time(drawn: DrawnPage, ecg: Ecg, tmp_path: Path) -> None:
    again = draw_page(LAYOUT, INFO, ecg)
    assert again.pdf == drawn.pdf
    assert scanned(again.pdf, dpi=100, seed=4) == scanned(drawn.pdf, dpi=100, seed=4)
    assert scanned(again.pdf, dpi=100, seed=5) != scanned(drawn.pdf, dpi=100, seed=4)
    assert drawn.save(tmp_path / "saved.pdf").read_bytes() == drawn.pdf


def line_angle_deg(dark: np.ndarray) -> float:
    """Clockwise angle of the one long thin thing in a bool image, by its moments."""
    y, x = np.nonzero(dark)
    return float(np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))


@pytest.mark.parametrize("rotation_deg", [0.7, -1.5, 3.0])
def test_scan_is_turned_clockwise(rotation_deg: float) -> None:
    flat = Ecg(np.zeros((12, 5000), dtype=np.float32), 500)
    only_ii = replace(LAYOUT, boxes=LAYOUT.boxes[-1:], pulse_mm=None, separators=False, grid=False)
    page = draw_page(only_ii, INFO, flat, header=False, footer=False)
    pixels = scanned_pixels(page.trace_only_pdf, rotation_deg=rotation_deg, grey=True)
    assert line_angle_deg(pixels < 128) == pytest.approx(rotation_deg, abs=0.01)
    truth = ink_truth(page, 200 / 25.4, rotation_deg)
    assert truth.shape == pixels.shape
    assert line_angle_deg(truth) == pytest.approx(rotation_deg, abs=0.01)


@pytest.mark.parametrize("dpi", [101.6, 100.0])
def test_turning_keeps_the_centre(drawn: DrawnPage, dpi: float) -> None:
    level = rasterise(drawn.trace_only_pdf, dpi / 25.4, grey=True)
    turned = scanned_pixels(
        drawn.trace_only_pdf, dpi=dpi, rotation_deg=1e-9, blur_px=0, noise_sigma=0, grey=True
    )
    assert turned.shape == level.shape
    shift, _ = cv2.phaseCorrelate(level.astype(np.float64), turned.astype(np.float64))
    assert np.abs(shift).max() < 0.05


def test_scan_is_a_pdf_with_one_image(drawn: DrawnPage, tmp_path: Path) -> None:
    page = page_of(scanned(drawn.pdf, dpi=150), tmp_path)
    assert page.origin == "scan"
    assert page.size_mm == pytest.approx(LAYOUT.page_mm, abs=0.5 / 150 * 25.4)
    assert page.px_per_mm == pytest.approx(150 / 25.4, rel=1e-6)
    assert page.size_px == (round(297 / 25.4 * 150), round(210 / 25.4 * 150))
    assert not page.strokes
    assert not page.texts


def test_one_bit_scan(drawn: DrawnPage, tmp_path: Path) -> None:
    page = page_of(scanned(drawn.pdf, dpi=200, one_bit=True), tmp_path)
    assert set(np.unique(page.pixels(grey=True))) == {0, 255}


@pytest.mark.parametrize("rotation_deg", [0.0, 0.7])
def test_ink_truth_is_as_wide_as_the_pen(drawn: DrawnPage, rotation_deg: float) -> None:
    px_per_mm = 300 / 25.4
    ink = ink_truth(drawn, px_per_mm, rotation_deg)
    length_mm = sum(
        np.linalg.norm(np.diff(trace_points(b, drawn.layout, drawn.ecg), axis=0), axis=1).sum()
        for b in LAYOUT.boxes
    )
    # Neighbouring limbs of a QRS overlap, so less than length times width is covered.
    share = ink.sum() / px_per_mm**2 / (length_mm * PEN_MM)
    assert 0.8 < share < 1.05


def test_paper_truth_is_far_from_all_print(drawn: DrawnPage) -> None:
    px_per_mm = 200 / 25.4
    paper = paper_truth(drawn, px_per_mm)
    assert 0.6 < paper.mean() < 0.97
    assert not (paper & ink_truth(drawn, px_per_mm)).any()
    pixels = rasterise(drawn.pdf, px_per_mm)
    assert pixels[paper].min(axis=0)[0] > 200  # the grid's colours all have much red; black none
    assert pixels[~paper].min() < 50


@pytest.mark.parametrize("kind", [None, True, False, "grey", "black", "dotted", GridStyle()])
def test_grids_are_drawn_under_the_same_print(kind: Any, ecg: Ecg) -> None:
    page = draw_page(LAYOUT, INFO, ecg, grid=kind)
    paper = paper_truth(page, 6.0)
    inked = (rasterise(page.pdf, 6.0, grey=True)[paper] < 253).mean()
    assert (inked < 0.001) if kind is False else (inked > 0.03)


def test_paper_colour_fills_the_page(ecg: Ecg) -> None:
    page = draw_page(LAYOUT, replace(INFO, paper_rgb=(255, 250, 240)), ecg, grid=False)
    corner = rasterise(page.pdf, 2.0)[1, 1]
    np.testing.assert_allclose(corner.astype(int), (255, 250, 240), atol=1)
    assert rasterise(page.trace_only_pdf, 2.0)[1, 1].min() == 255


def test_pictures_carry_their_resolution(drawn: DrawnPage) -> None:
    for picture in (as_png(drawn.pdf, 150), as_jpeg(drawn.pdf, 75, 150)):
        image = Image.open(io.BytesIO(picture))
        assert image.size == (round(297 / 25.4 * 150), round(210 / 25.4 * 150))
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    bare = Image.open(io.BytesIO(as_png(drawn.pdf, 100, with_dpi=False)))
    assert "dpi" not in bare.info


def test_impossible_pens_are_refused(ecg: Ecg) -> None:
    with pytest.raises(ValueError, match="found 0 mm"):
        draw_page(LAYOUT, INFO, ecg, pen_mm=0)
    with pytest.raises(ValueError, match="points per path"):
        draw_page(LAYOUT, INFO, ecg, trace_pieces=1)


@pytest.mark.parametrize("first_mm", [12.0, 30.0])
def test_header_of_a_crowded_page(first_mm: float, ecg: Ecg, tmp_path: Path) -> None:
    layout = regular_layout(
        "12x1",
        page_mm=(210, 297),
        rows=[[b.lead] for b in LAYOUT.twelve],
        left_mm=10,
        baselines_mm=[first_mm + 20 * row for row in range(12)],
        column_s=7.5,
        grid=True,
    )
    info = replace(INFO, grid_rgb=((200, 0, 0),))
    texts = page_of(draw_page(layout, info, ecg, pen_mm=0.2).pdf, tmp_path).texts
    head = [t for t in texts if t.box.top_mm < first_mm]
    assert "SYNTHETIC," in " ".join(t.text for t in head)
    assert all(t.box.top_mm >= 0 for t in head)
    assert first_mm < 20 or max(t.box.bottom_mm for t in head) < first_mm - 10 + 1
