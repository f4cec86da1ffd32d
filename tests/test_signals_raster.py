"""Curves read off pixels against the lines that were drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ecgvision.conversion import as_read
from ecgvision.evidence import upright
from ecgvision.metrics import aligned_snr_db
from ecgvision.plugins import Format
from ecgvision.recognition import recognise
from ecgvision.recording import LeadCurve
from ecgvision.signals.fit import fitted_line
from ecgvision.signals.pen import Pen, line_profile, measured_pen
from ecgvision.signals.raster import _darkness, _inks_and_pen, raster_curves
from ecgvision.testing import (
    DrawnPage,
    Ecg,
    as_png,
    draw_page,
    scanned,
    synthetic_ecg,
    trace_points,
)
from ecgvision.trace import row_ways
from ecgvision.types import Layout, Page
from tests.conftest import OpenPage

FORMATS = ("philips-tc30", "ge-mac1200", "ge-muse", "edan-se3")


def curves_of(page: Page, layout: Layout, one: Format) -> tuple[LeadCurve, ...]:
    return raster_curves(page, layout, one.remove_grid(page, layout))


def page_snr_db(curves: tuple[LeadCurve, ...], drawn: DrawnPage, layout: Layout) -> float:
    """Aligned SNR over the twelve leads, each in its own window at 500 Hz."""
    count = 5000
    truth, read = np.full((12, count), np.nan), np.full((12, count), np.nan)
    twelve = [(c, b) for c, b in zip(curves, drawn.layout.boxes, strict=True) if not b.rhythm_strip]
    for row, (curve, due) in enumerate(twelve):
        points = trace_points(due, drawn.layout, drawn.ecg)
        away = np.arange(0.0, points[-1, 0] - due.box.left_mm, 0.05)
        known = np.isfinite(curve.y_mm)
        left = curve.lead_box.box.left_mm
        truth[row, : len(away)] = -np.interp(
            away, points[:, 0] - due.box.left_mm, points[:, 1] - due.baseline_mm
        )
        read[row, : len(away)] = -np.interp(away, curve.x_mm[known] - left, curve.y_mm[known])
    return aligned_snr_db(truth / layout.gain_mm_per_mv, read / layout.gain_mm_per_mv, 500)


# --- the pen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("kind", ["png", "scan"])
def test_the_pen_is_measured(
    width: float, kind: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    ecg = synthetic_ecg(seed=4)  # noise would widen the line
    drawn = draw_page(one.layouts[0], one.info, ecg, pen_mm=width)
    if kind == "png":
        page = page_of(as_png(drawn.pdf, 300), ".png")
    else:
        page = page_of(scanned(drawn.pdf, rotation_deg=0))
    ink = one.remove_grid(page, drawn.layout)
    dark = (np.float32(255) - ink) / np.float32(255)
    _, pen = _inks_and_pen(dark, row_ways(page, drawn.layout, ink), page.px_per_mm)
    slack = 0.02 if kind == "png" else 0.08
    assert pen.width_px / page.px_per_mm == pytest.approx(width, abs=slack)
    if kind == "scan":
        assert pen.blur_px == pytest.approx(0.7, abs=0.2)
    assert pen.darkness > 0.85


def test_a_profile_holds_the_ink_of_its_width() -> None:
    offset = np.arange(-40, 41) + 0.3
    for blur in (0.05, 0.7, 1.5):
        assert line_profile(offset, 3.3, 0.8, blur).sum() == pytest.approx(0.8 * 3.3, abs=1e-6)


@pytest.mark.parametrize("dpi", [200, 300])
def test_a_trembling_line_is_no_wider_pen(
    dpi: float, formats: dict[str, Format], page_of: OpenPage
) -> None:
    """Muscle noise moves the pen to and fro within its own width, four fifths of every second."""
    one = formats["ge-mac1200"]
    quiet = synthetic_ecg(seed=4)
    noise_mv = np.random.default_rng(1).normal(0, 0.02, quiet.signal_mv.shape)
    noise_mv *= np.arange(noise_mv.shape[1]) / quiet.fs_hz % 1 < 0.8
    ecg = Ecg((quiet.signal_mv + noise_mv).astype(np.float32), quiet.fs_hz)
    drawn = draw_page(one.layouts[0], one.info, ecg, pen_mm=0.3)
    page = page_of(as_png(drawn.pdf, dpi), ".png")
    ink = one.remove_grid(page, drawn.layout)
    dark = (np.float32(255) - ink) / np.float32(255)
    _, pen = _inks_and_pen(dark, row_ways(page, drawn.layout, ink), page.px_per_mm)
    assert pen.width_px / page.px_per_mm == pytest.approx(0.3, abs=0.03)


def test_a_page_without_flat_ink_gives_the_usual_pen() -> None:
    pen = measured_pen(np.zeros((50, 50), np.float32), (), 8.0)
    assert pen.width_px == pytest.approx(2.4)


def test_a_grey_pen_is_as_good_as_a_black_one(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    drawn = draw_page(one.layouts[0], one.info, synthetic_ecg(seed=4, fs_hz=250))
    page = page_of(as_png(drawn.pdf, 300), ".png")
    ink = one.remove_grid(page, drawn.layout)
    faint = (255 - (255 - ink.astype(np.float32)) * 0.7).astype(np.uint8)
    dark = (np.float32(255) - faint) / np.float32(255)
    followed = row_ways(page, drawn.layout, ink)
    assert _darkness(dark, followed) == pytest.approx(0.7, abs=0.03)
    curves = raster_curves(page, drawn.layout, faint)
    assert page_snr_db(curves, drawn, drawn.layout) > 24


# --- curves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format_id", FORMATS)
def test_clean_pages_come_back(
    format_id: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats[format_id]
    ecg = synthetic_ecg(seed=5, fs_hz=250)
    drawn = draw_page(one.layouts[0], one.info, ecg)
    page = page_of(as_png(drawn.pdf, 300), ".png")
    curves = curves_of(page, drawn.layout, one)
    assert page_snr_db(curves, drawn, drawn.layout) > 24
    for curve in curves:
        assert curve.origin == "raster"
        assert curve.reason is None, (curve.lead_box.lead, curve.reason)
        assert np.isfinite(curve.y_mm).mean() > 0.98
        assert curve.confidence > 0.8


@pytest.mark.parametrize("format_id", FORMATS)
def test_scans_come_back(format_id: str, formats: dict[str, Format], page_of: OpenPage) -> None:
    one = formats[format_id]
    ecg = synthetic_ecg(seed=6, fs_hz=250)
    drawn = draw_page(one.layouts[0], one.info, ecg)
    page = as_read(page_of(scanned(drawn.pdf, rotation_deg=-0.8)))
    match = recognise(page, [one]).match
    level = upright(page, match)
    curves = curves_of(level, match.layout, one)
    assert page_snr_db(curves, drawn, match.layout) > 17


@pytest.mark.parametrize("number", [3, 17, 44])
def test_real_signals_come_back(
    number: int, formats: dict[str, Format], ptbxl: Callable[[int], Ecg], page_of: OpenPage
) -> None:
    one = formats["philips-tc30"]
    drawn = draw_page(one.layouts[0], one.info, ptbxl(number))
    page = page_of(as_png(drawn.pdf, 300), ".png")
    assert page_snr_db(curves_of(page, drawn.layout, one), drawn, drawn.layout) > 20


def test_tall_rows_that_cross_come_back(formats: dict[str, Format], page_of: OpenPage) -> None:
    """Half as tall again, spikes of 6x2 pages reach over the neighbours' lines."""
    one = formats["ge-mac1200"]
    usual = synthetic_ecg(seed=3, fs_hz=250)
    drawn = draw_page(one.layouts[0], one.info, Ecg(usual.signal_mv * np.float32(1.5), usual.fs_hz))
    page = page_of(as_png(drawn.pdf, 300), ".png")
    curves = curves_of(page, drawn.layout, one)
    assert page_snr_db(curves, drawn, drawn.layout) > 15


def test_what_is_not_printed_is_not_made_up(formats: dict[str, Format], page_of: OpenPage) -> None:
    one = formats["philips-tc30"]
    full = synthetic_ecg(seed=3)
    signal_mv = full.signal_mv.copy()
    signal_mv[9] = np.nan  # V4 was off
    signal_mv[7, 3000:3375] = np.nan  # V2 came off for 0.75 s
    drawn = draw_page(one.layouts[0], one.info, Ecg(signal_mv, full.fs_hz))
    page = page_of(as_png(drawn.pdf, 300), ".png")
    by_lead = {
        c.lead_box.lead: c
        for c in curves_of(page, drawn.layout, one)
        if not c.lead_box.rhythm_strip
    }
    assert by_lead["V4"].reason == "no-line"
    assert np.isnan(by_lead["V4"].y_mm).all()
    assert by_lead["V4"].confidence == 0
    gap = by_lead["V2"]
    assert gap.reason == "partly-missing"
    away = gap.x_mm - gap.lead_box.box.left_mm
    assert np.isnan(gap.y_mm[(away > 25.5) & (away < 43)]).all()
    assert np.isfinite(gap.y_mm[(away < 24.5) | ((away > 44.5) & (away < 62))]).all()
    assert by_lead["V1"].reason is None


def test_a_blank_page_has_no_lines(formats: dict[str, Format], ecg: Ecg, page_of: OpenPage) -> None:
    one = formats["ge-mac1200"]
    page = page_of(as_png(draw_page(one.layouts[0], one.info, ecg).pdf, 150), ".png")
    blank = np.full_like(page.pixels(grey=True), 255)
    for curve in raster_curves(page, one.layouts[0], blank):
        assert curve.reason == "no-line"
        assert np.isnan(curve.y_mm).all()


def test_the_pen_makes_the_difference(formats: dict[str, Format], page_of: OpenPage) -> None:
    """The middle of each column's ink is what simple tracers take; the fit must beat it."""
    one = formats["ge-mac1200"]
    ecg = synthetic_ecg(seed=8, fs_hz=250)
    drawn = draw_page(one.layouts[0], one.info, ecg)
    page = page_of(as_png(drawn.pdf, 300), ".png")
    ink = one.remove_grid(page, drawn.layout)
    dark = (np.float32(255) - ink) / np.float32(255)
    inks, pen = _inks_and_pen(dark, row_ways(page, drawn.layout, ink), page.px_per_mm)
    wrong = Pen(0.05 * pen.width_px, pen.darkness, pen.blur_px)
    errors = []
    for used in (pen, wrong):
        line = fitted_line(inks[0], used)
        points = trace_points(drawn.layout.rows[0][0], drawn.layout, ecg) * page.px_per_mm
        x = np.arange(points[0, 0] + 3, points[-1, 0] - 3)
        read = np.interp(x, line.x_px, line.y_px)
        errors.append(float(np.std(read - np.interp(x, points[:, 0], points[:, 1]))))
    assert errors[0] < 0.3 * errors[1]


# --- where columns meet ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "scan"])
@pytest.mark.parametrize("after_s", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize(
    ("format_id", "name"),
    [("edan-se3", "3x4+1R"), ("ge-mac1200", "6x2"), ("philips-tc30", "3x4+1R-joined")],
)
def test_what_is_not_seen_where_columns_meet_is_missing(
    format_id: str,
    name: str,
    after_s: float,
    kind: str,
    formats: dict[str, Format],
    layout_of: Callable[[str, str], Layout],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """R waves stand before, at and after the joint at 5 s.

    Under a bar nothing is read, nor where a line changes over from lead to lead. 0.2 mm along and
    5 mm up or down are forgiven, as limbs are steep.
    """
    one, layout = formats[format_id], layout_of(format_id, name)
    r_peak_s = min((s for s in ecg.r_peaks_s if s > 5), default=5.0)
    moved = np.roll(ecg.signal_mv, round((5 + after_s - r_peak_s) * ecg.fs_hz), axis=1)
    drawn = draw_page(layout, one.info, Ecg(moved, ecg.fs_hz), grid=False)
    page = page_of(
        as_png(drawn.pdf, 300) if kind == "png" else scanned(drawn.pdf),
        ".png" if kind == "png" else ".pdf",
    )
    match = recognise(page, [one]).match
    page = upright(page, match)
    hidden_mm = []
    for curve, due in zip(curves_of(page, match.layout, one), drawn.layout.boxes, strict=True):
        if due.rhythm_strip:
            continue
        points = trace_points(due, drawn.layout, drawn.ecg)
        away = curve.x_mm - curve.lead_box.box.left_mm
        moved_mm = np.arange(-0.2, 0.21, 0.05)[:, None]
        true = np.interp(
            away + moved_mm, points[:, 0] - due.box.left_mm, points[:, 1] - due.baseline_mm
        )
        read = curve.y_mm - curve.lead_box.baseline_mm
        off = np.maximum(true.min(axis=0) - read, read - true.max(axis=0))
        near = away > due.box.width_mm - 2.5 if due.stop_s <= 5.1 else away < 2.5
        assert np.nanmax(off[near]) < 5, curve.lead_box.lead
        hidden_mm.append(float(np.isnan(off).mean() * due.box.width_mm))
    assert max(hidden_mm) < 2
    assert not layout.separators or min(hidden_mm) > 0.15
