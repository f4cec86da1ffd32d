"""From curves in mm to one time axis in seconds and millivolts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecgvision.calibration import calibrate
from ecgvision.conversion import as_read
from ecgvision.evidence import upright
from ecgvision.plugins import Format
from ecgvision.recognition import recognise
from ecgvision.recording import Calibration
from ecgvision.signals.read import Reading, read_signals
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, synthetic_ecg
from ecgvision.types import LEADS, Layout, Page
from tests.conftest import OpenPage

NO_INK = np.zeros((0, 0), np.uint8)


def read(page: Page, one: Format, fs_hz: float = 500.0) -> Reading:
    page = as_read(page)
    found = recognise(page, [one])
    level = upright(page, found.match)
    ink = one.remove_grid(level, found.match.layout) if level.origin != "vector" else NO_INK
    scale = calibrate(level, found.match, ink)
    return read_signals(level, found.match, found.declared, ink, scale, fs_hz)


def due_mv(drawn: DrawnPage, layout: Layout, fs_hz: float, count: int) -> np.ndarray:
    """(12, n): what the page shows of each lead, the longer of box and strip."""
    due = np.full((12, count), np.nan)
    times_s = np.arange(count) / fs_hz
    ecg = drawn.ecg
    known_s = np.arange(ecg.signal_mv.shape[1]) / ecg.fs_hz
    for row, lead in enumerate(LEADS):
        boxes = [b for b in layout.boxes if b.lead == lead]
        if boxes:
            box = max(boxes, key=lambda b: b.stop_s - b.start_s)
            inside = (times_s >= box.start_s - 1e-9) & (times_s < box.stop_s - 1e-9)
            due[row, inside] = np.interp(times_s[inside], known_s, ecg.lead(lead))
    return due


@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200", "ge-muse", "edan-se3"])
def test_raw_signals_of_vector_pages_are_the_recording(
    format_id: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats[format_id]
    ecg = synthetic_ecg(seed=2, noise_mv=0.01, seconds=10.24)
    drawn = draw_page(one.layouts[0], one.info, ecg, offset_mm=(1.3, -0.8))
    recording = read(page_of(drawn.pdf), one).recording
    assert recording.fs_hz == 500
    assert recording.leads == LEADS
    assert recording.signal_mv.dtype == np.float32
    truth = due_mv(drawn, one.layouts[0], 500, recording.signal_mv.shape[1])
    np.testing.assert_array_equal(np.isnan(recording.signal_mv), np.isnan(truth))
    error = np.sqrt(np.nanmean((recording.signal_mv - truth) ** 2))
    assert 20 * np.log10(np.sqrt(np.nanmean(truth**2)) / error) > 60
    assert {box.origin for box in recording.boxes} == {"vector"}
    assert min(box.coverage for box in recording.boxes) == 1.0
    assert recording.lattice is not None
    assert recording.lattice.fs_hz == 500


def test_rhythm_strips_are_further_rows_and_the_longer_is_kept(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["ge-muse"]
    recording = read(page_of(draw_page(one.layouts[0], one.info, ecg).pdf), one).recording
    assert recording.rhythm_leads == ("V1", "II", "V5")
    assert recording.rhythm_mv.shape == (3, 5000)
    for row, lead in enumerate(recording.rhythm_leads):
        np.testing.assert_array_equal(recording.lead(lead), recording.rhythm_mv[row])
    assert np.isfinite(recording.lead("aVL")).sum() == 1250
    assert np.flatnonzero(np.isfinite(recording.lead("aVL")))[0] == 1250  # the second column


@pytest.mark.parametrize("fs_hz", [125.0, 250.0, 360.0, 1000.0])
def test_any_sampling_rate(fs_hz: float, formats: dict[str, Format], page_of: OpenPage) -> None:
    one = formats["ge-mac1200"]
    ecg = synthetic_ecg(seed=2, seconds=10.24)
    drawn = draw_page(one.layouts[0], one.info, ecg)
    recording = read(page_of(drawn.pdf), one, fs_hz).recording
    assert recording.fs_hz == fs_hz
    assert recording.signal_mv.shape == (12, round(10 * fs_hz))
    truth = due_mv(drawn, one.layouts[0], fs_hz, recording.signal_mv.shape[1])
    assert np.nanmax(np.abs(recording.signal_mv - truth)) < 0.02


def test_the_gap_between_columns_is_no_time(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    """Philips columns are 64 mm apart and 62.5 mm long: samples go on every 2.5 s all the same."""
    one = formats["philips-tc30"]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    recording = read(page_of(as_png(drawn.pdf, 300), ".png"), one).recording
    for lead, first in (("I", 0), ("aVR", 1250), ("V1", 2500), ("V4", 3750)):
        known = np.flatnonzero(np.isfinite(recording.lead(lead)))
        assert known[0] == pytest.approx(first, abs=3)
        assert known[-1] == pytest.approx(first + 1249, abs=12)
    assert {box.origin for box in recording.boxes} == {"raster"}


def test_what_was_not_drawn_is_nan_with_a_reason(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    full = synthetic_ecg(seed=3, seconds=10.24)
    signal_mv = full.signal_mv.copy()
    signal_mv[LEADS.index("V2")] = np.nan
    drawn = draw_page(one.layouts[0], one.info, Ecg(signal_mv, full.fs_hz))
    recording = read(page_of(drawn.pdf), one).recording
    assert np.isnan(recording.lead("V2")).all()
    box = next(b for b in recording.boxes if b.lead == "V2")
    assert (box.origin, box.coverage, box.reason) == (None, 0.0, "no-line")


def test_chest_leads_with_a_gain_of_their_own(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    ecg = synthetic_ecg(seed=2, seconds=10.24)
    page = page_of(draw_page(one.layouts[0], one.info, ecg).pdf)
    found = recognise(page, [one])
    scale = Calibration(25.0, 10.0, "text", "text", chest_gain_mm_per_mv=5.0)
    recording = read_signals(page, found.match, found.declared, NO_INK, scale).recording
    same = read_signals(
        page, found.match, found.declared, NO_INK, replace(scale, chest_gain_mm_per_mv=None)
    ).recording
    ratio = np.nanstd(recording.lead("V3")) / np.nanstd(same.lead("V3"))
    assert ratio == pytest.approx(2.0, rel=1e-3)
    assert np.nanstd(recording.lead("II")) == pytest.approx(np.nanstd(same.lead("II")), rel=1e-3)


def test_an_impossible_rate_is_refused(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    page = page_of(draw_page(one.layouts[0], one.info, ecg).pdf)
    for fs_hz in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="sampling rate"):
            read(page, one, fs_hz)
