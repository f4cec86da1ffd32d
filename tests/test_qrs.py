"""QRS complexes are found where they were put, and windows show as many as were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgvision import convert
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format
from ecgvision.qrs import beats_window, qrs_times
from ecgvision.result import Conversion
from ecgvision.testing import Ecg, as_png, draw_page, synthetic_ecg
from ecgvision.trace import LeadTrace, trace_leads
from ecgvision.types import Box, LeadBox, Page

BLANK = np.full((1, 1), 255, np.uint8)
WITHIN_S = 0.040
# A complex nearer than this to the end of a window need not be found.
EDGE_S = 0.06


def peaks_within(ecg: Ecg, start_s: float, stop_s: float, edge_s: float = 0.0) -> np.ndarray:
    """Seconds from `start_s` of the true R peaks in a window."""
    peaks = np.array(ecg.r_peaks_s)
    return peaks[(peaks >= start_s + edge_s) & (peaks < stop_s - edge_s)] - start_s


def columns(traces: tuple[LeadTrace, ...]) -> list[list[LeadTrace]]:
    twelve = [t for t in traces if not t.lead_box.rhythm_strip]
    starts = sorted({t.lead_box.start_s for t in twelve})
    return [[t for t in twelve if t.lead_box.start_s == start] for start in starts]


def assert_peaks(found: np.ndarray, ecg: Ecg, start_s: float, stop_s: float) -> None:
    sure = peaks_within(ecg, start_s, stop_s, EDGE_S)
    maybe = peaks_within(ecg, start_s - EDGE_S, stop_s + EDGE_S) - EDGE_S
    assert all(np.abs(found - peak).min(initial=9.0) < WITHIN_S for peak in sure), (found, sure)
    assert all(np.abs(maybe - one).min(initial=9.0) < 2 * WITHIN_S for one in found), (found, sure)
    assert len(sure) <= len(found) <= len(maybe)


@pytest.mark.parametrize("bpm", [45, 60, 72, 90, 120, 150])
@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200"])
@pytest.mark.parametrize("noise_mv", [0.0, 0.02])
def test_complexes_are_found(
    noise_mv: float,
    format_id: str,
    bpm: int,
    formats: dict[str, Format],
    page_of: Callable[..., Page],
) -> None:
    ecg = synthetic_ecg(seed=bpm, heart_rate_bpm=bpm, noise_mv=noise_mv)
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    for group in columns(trace_leads(page_of(drawn.pdf), drawn.layout, BLANK)):
        box = group[0].lead_box
        assert_peaks(qrs_times(group, 25.0), ecg, box.start_s, box.stop_s)


@pytest.mark.parametrize("bpm", [45, 75, 150])
def test_complexes_of_a_scan_are_found(
    bpm: int, formats: dict[str, Format], page_of: Callable[..., Page]
) -> None:
    from ecgvision.grid import ink_of_page

    ecg = synthetic_ecg(seed=2, heart_rate_bpm=bpm, noise_mv=0.01)
    one = formats["ge-mac1200"]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    page = page_of(as_png(drawn.pdf, 200), ".png")
    for group in columns(trace_leads(page, drawn.layout, ink_of_page(page))):
        box = group[0].lead_box
        assert_peaks(qrs_times(group, 25.0), ecg, box.start_s, box.stop_s)


def line(y_mm: np.ndarray) -> LeadTrace:
    box = LeadBox("II", Box(0, 0, 0.2 * max(1, len(y_mm)), 20), 0, 0.008 * len(y_mm))
    return LeadTrace(box, y_mm)


def test_where_there_is_nothing_none_is_found() -> None:
    assert len(qrs_times([], 25.0)) == 0
    assert len(qrs_times([line(np.full(5, 10.0))], 25.0)) == 0
    assert len(qrs_times([line(np.full(312, np.nan))], 25.0)) == 0
    assert len(qrs_times([line(np.full(312, 10.0))], 25.0)) == 0


def test_one_noisy_lead_does_not_drown_the_others() -> None:
    rng = np.random.default_rng(0)
    good = np.full(625, 10.0)
    for peak in (100, 225, 350, 475, 600):
        good[peak - 3 : peak + 4] -= [2, 5, 9, 10, 7, 3, 1]
    noisy = [line(10 + rng.normal(0, 3, 625))]
    found = qrs_times([line(good), line(good), line(good), *noisy], 25.0)
    np.testing.assert_allclose(found, np.array([100, 225, 350, 475, 600]) * 0.008, atol=WITHIN_S)


@pytest.mark.parametrize("speed", [25.0, 50.0])
def test_times_follow_the_paper_speed(speed: float) -> None:
    y = np.full(1250, 10.0)
    for peak in range(100, 1250, 250):
        y[peak - 3 : peak + 4] -= [2, 5, 9, 10, 7, 3, 1]
    found = qrs_times([line(y)], speed)
    np.testing.assert_allclose(found, np.arange(100, 1250, 250) * 0.2 / speed, atol=WITHIN_S)


# --- windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("beats", [3, 4])
@pytest.mark.parametrize("gap_s", [0.4, 0.7, 1.0])
def test_a_window_holds_whole_beats(gap_s: float, beats: int) -> None:
    qrs = np.arange(0.3, 5.0, gap_s)
    start, stop, count = beats_window(qrs, 5.0, beats)
    assert count == beats
    assert 0 <= start < stop <= 5.0
    assert ((qrs > start) & (qrs < stop)).sum() == beats
    assert qrs[0] - start >= min(0.25 * gap_s, 0.3)
    assert stop - qrs[beats - 1] >= 0.45 * gap_s  # its T wave


def test_windows_with_too_few_beats_are_whole() -> None:
    assert beats_window(np.array([0.5, 1.5]), 2.5, 3) == (0.0, 2.5, 2)
    assert beats_window(np.empty(0), 2.5, 3) == (0.0, 2.5, 0)


def test_a_beat_cut_by_the_edge_does_not_count() -> None:
    start, stop, count = beats_window(np.array([0.02, 0.8, 1.6, 2.4, 3.2]), 5.0, 3)
    assert count == 3
    assert 0.02 < start < 0.8
    assert 2.4 < stop < 3.2


def converted(format_id: str, ecg: Ecg, formats: dict[str, Format], folder: Path, beats: int,
              *, png: bool = False) -> Conversion:  # fmt: skip
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    path = folder / f"page.{'png' if png else 'pdf'}"
    path.write_bytes(as_png(drawn.pdf, 200) if png else drawn.pdf)
    return convert(path, format=format_id, options=ImageOptions(beats=beats))[0]


@pytest.mark.parametrize("beats", [3, 4])
@pytest.mark.parametrize(
    ("format_id", "bpm", "png"),
    [
        ("philips-tc30", 125, False),
        ("philips-tc30", 150, False),
        ("ge-mac1200", 62, False),
        ("ge-mac1200", 110, False),
        ("philips-tc30", 125, True),
        ("ge-mac1200", 62, True),
    ],
)
def test_each_lead_shows_that_many_beats(
    format_id: str, bpm: int, beats: int, png: bool, formats: dict[str, Format], tmp_path: Path
) -> None:
    ecg = synthetic_ecg(seed=bpm, heart_rate_bpm=bpm, noise_mv=0.01)
    found = converted(format_id, ecg, formats, tmp_path, beats, png=png)
    assert "beats-fewer" not in {n.code for n in found.notices}
    for box in found.image.boxes:
        assert len(peaks_within(ecg, box.start_s, box.stop_s)) == beats, box
        assert box.start_s >= 0
        assert box.stop_s <= 10


@pytest.mark.parametrize("beats", [3, 4])
def test_fewer_beats_are_told(beats: int, formats: dict[str, Format], tmp_path: Path) -> None:
    ecg = synthetic_ecg(seed=1, heart_rate_bpm=45)
    found = converted("philips-tc30", ecg, formats, tmp_path, beats)
    told = [n.message for n in found.notices if n.code == "beats-fewer"]
    assert len(told) == 4
    for message, column in zip(sorted(told), ("I, II, III", "V1", "V4", "aVR"), strict=True):
        assert message.startswith(column)
        assert f"of {beats} beats" in message
    for box in found.image.boxes:
        assert box.stop_s - box.start_s == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("number", [0, 3, 17, 44])
def test_real_records_show_beats_of_one_heart(
    number: int,
    formats: dict[str, Format],
    ptbxl: Callable[[int], Ecg],
    page_of: Callable[..., Page],
) -> None:
    """In both columns of 5 s the complexes follow each other as those of one heart do."""
    one = formats["ge-mac1200"]
    drawn = draw_page(one.layouts[0], one.info, ptbxl(number))
    beats_s = [
        np.diff(qrs_times(group, 25.0))
        for group in columns(trace_leads(page_of(drawn.pdf), drawn.layout, BLANK))
    ]
    medians = [float(np.median(one)) for one in beats_s]
    assert 0.3 < medians[0] < 1.6
    assert medians[0] == pytest.approx(medians[1], rel=0.15)
    for one_column in beats_s:
        assert one_column == pytest.approx(medians[0], rel=0.3)
