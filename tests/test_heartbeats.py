"""R peaks against beats we drew, and windows against the samples they were cut from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecgvision import heartbeats
from ecgvision.errors import UsageError
from ecgvision.heartbeats import DETECTORS, beats, r_peaks_s
from ecgvision.recording import LeadSignal, Recording
from ecgvision.testing import Ecg, synthetic_ecg
from ecgvision.types import LEADS

pytest.importorskip("neurokit2")


def simultaneous(ecg: Ecg) -> Recording:
    """All twelve leads at the same time, no rhythm strip."""
    return Recording(ecg.signal_mv, ecg.fs_hz, np.zeros((0, ecg.signal_mv.shape[1]), np.float32))


def in_columns(ecg: Ecg, columns: int = 4, strip: str | None = None) -> Recording:
    """The leads in columns of equal length, as a page prints them."""
    signal_mv = np.full_like(ecg.signal_mv, np.nan)
    each = 12 // columns
    length = ecg.signal_mv.shape[1] // columns
    boxes = []
    for number, lead in enumerate(LEADS):
        column = number // each
        part = slice(column * length, (column + 1) * length)
        signal_mv[number, part] = ecg.signal_mv[number, part]
        span_s = (part.start / ecg.fs_hz, part.stop / ecg.fs_hz)
        boxes.append(LeadSignal(lead, False, *span_s, signal_mv[number, part], "vector", 1, 1))
    rhythm_mv = np.zeros((0, signal_mv.shape[1]), np.float32)
    if strip:
        rhythm_mv = ecg.lead(strip)[None]
        signal_mv[LEADS.index(strip)] = rhythm_mv
    leads = (strip,) if strip else ()
    return Recording(signal_mv, ecg.fs_hz, rhythm_mv, leads, boxes=tuple(boxes))


def drifting(ecg: Ecg) -> Ecg:
    """With a baseline that wanders by 0.3 mV."""
    times_s = np.arange(ecg.signal_mv.shape[1]) / ecg.fs_hz
    wander_mv = 0.3 * np.sin(2 * np.pi * 0.3 * times_s)
    return Ecg(ecg.signal_mv + wander_mv.astype(np.float32), ecg.fs_hz, ecg.r_peaks_s)


def missed_and_false(found_s: np.ndarray, ecg: Ecg, tolerance_s: float) -> tuple[int, int]:
    """Beats 0.1 s or more from the ends that were missed, and peaks that are none."""
    truth_s = np.array(ecg.r_peaks_s)
    apart_s = np.abs(found_s[:, None] - truth_s)
    inner = (truth_s > 0.1) & (truth_s < ecg.seconds - 0.1)
    missed = int((apart_s[:, inner].min(axis=0) > tolerance_s).sum())
    return missed, int((apart_s.min(axis=1) > tolerance_s).sum())


# --- R peaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bpm", [45, 75, 140, 180])
@pytest.mark.parametrize("noise_mv", [0.0, 0.05])
def test_every_r_peak_is_found_in_its_place(bpm: float, noise_mv: float) -> None:
    ecg = drifting(synthetic_ecg(seed=7, heart_rate_bpm=bpm, noise_mv=noise_mv))
    found_s = r_peaks_s(simultaneous(ecg))
    assert missed_and_false(found_s, ecg, 0.006) == (0, 0)
    assert np.all(np.diff(found_s) > 0)


@pytest.mark.parametrize("strip", [None, "II"])
@pytest.mark.parametrize("bpm", [50, 75, 110])
def test_r_peaks_of_leads_in_columns(bpm: float, strip: str | None) -> None:
    ecg = synthetic_ecg(seed=8, heart_rate_bpm=bpm, noise_mv=0.03)
    found_s = r_peaks_s(in_columns(ecg, strip=strip))
    # Without a strip the largest wave of V1 to V3, the S, stands for the beat there.
    assert missed_and_false(found_s, ecg, 0.006 if strip else 0.025) == (0, 0)


@pytest.mark.parametrize("fs_hz", [99.7, 200.0, 256.5, 1000.0])
def test_any_sampling_rate(fs_hz: float) -> None:
    ecg = synthetic_ecg(seed=9, fs_hz=fs_hz, noise_mv=0.02)
    assert missed_and_false(r_peaks_s(simultaneous(ecg)), ecg, 0.012) == (0, 0)


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_finds_most_beats(detector: str) -> None:
    ecg = synthetic_ecg(seed=10, noise_mv=0.02)
    missed, false = missed_and_false(r_peaks_s(simultaneous(ecg), detector), ecg, 0.05)
    assert missed <= 2
    assert false <= 1


def test_leads_that_point_down_do_not_cancel_those_that_point_up() -> None:
    ecg = synthetic_ecg(seed=11)
    turned = ecg.signal_mv * np.where(np.arange(12) % 2, -1, 1)[:, None].astype(np.float32)
    found_s = r_peaks_s(simultaneous(Ecg(turned, ecg.fs_hz)))
    assert missed_and_false(found_s, ecg, 0.006) == (0, 0)


def test_one_flat_and_one_noisy_lead_do_no_harm() -> None:
    ecg = synthetic_ecg(seed=12)
    signal_mv = ecg.signal_mv.copy()
    signal_mv[1] = 0
    signal_mv[7] = np.random.default_rng(0).normal(0, 0.5, signal_mv.shape[1])
    found_s = r_peaks_s(simultaneous(Ecg(signal_mv, ecg.fs_hz)))
    assert missed_and_false(found_s, ecg, 0.006) == (0, 0)


def test_real_recordings_in_columns_have_the_beats_of_the_whole(
    ptbxl: Callable[[int], Ecg],
) -> None:
    whole, found, shared = 0, 0, 0
    for number in range(0, 60, 6):
        ecg = ptbxl(number)
        all_s = r_peaks_s(simultaneous(ecg))
        some_s = r_peaks_s(in_columns(ecg, strip="II"))
        shared += int((np.abs(all_s[:, None] - some_s).min(axis=1) < 0.075).sum())
        whole, found = whole + len(all_s), found + len(some_s)
    assert whole >= 90  # ten recordings of 10 s
    assert shared >= 0.97 * max(whole, found)


# --- windows ----------------------------------------------------------------------------------


def test_windows_are_the_signal_around_the_peak() -> None:
    ecg = synthetic_ecg(seed=13, heart_rate_bpm=60, fs_hz=200)
    found = beats(simultaneous(ecg))
    assert found.signal_mv.shape == (len(found.peaks_s), 12, 400)
    assert found.signal_mv.dtype == np.float32
    assert len(found.peaks_s) >= 8
    for peak_s, window in zip(found.peaks_s, found.signal_mv, strict=True):
        first = round(peak_s * 200) - 100
        low, high = max(first, 0), min(first + 400, 2000)
        due = ecg.signal_mv[:, low:high]
        np.testing.assert_allclose(window[:, low - first : high - first], due, atol=1e-5)


def test_a_finer_recording_keeps_its_peaks_at_200_hz() -> None:
    ecg = synthetic_ecg(seed=14, fs_hz=1000)
    found = beats(simultaneous(ecg))
    for beat, peak_s in enumerate(found.peaks_s):
        due_mv = ecg.signal_mv[:, round(peak_s * 1000)]
        np.testing.assert_allclose(found.signal_mv[beat, :, 100], due_mv, atol=0.02)


def test_what_200_hz_cannot_hold_is_gone() -> None:
    ecg = synthetic_ecg(seed=15, fs_hz=1000)
    hum = 0.2 * np.sin(2 * np.pi * 190 * np.arange(ecg.signal_mv.shape[1]) / 1000)
    clean = beats(simultaneous(ecg))
    noisy = beats(simultaneous(Ecg(ecg.signal_mv + hum.astype(np.float32), 1000.0)))
    np.testing.assert_allclose(noisy.peaks_s, clean.peaks_s, atol=0.002)
    # Without the filter the hum would come back at 10 Hz, 0.2 mV high.
    quiet = noisy.signal_mv[:, 0, :20].std(axis=1)
    assert float(np.median(quiet)) < 0.05


def test_columns_are_paired_beat_by_beat() -> None:
    ecg = synthetic_ecg(seed=16, heart_rate_bpm=75)
    found = beats(in_columns(ecg))
    assert 2 <= len(found.peaks_s) <= 3
    assert found.present.all()
    truth_s = np.array(ecg.r_peaks_s)
    for column in range(4):
        leads = slice(3 * column, 3 * column + 3)
        start_s, stop_s = 2.5 * column + 0.2, 2.5 * column + 2.1
        due_s = truth_s[(truth_s >= start_s) & (truth_s <= stop_s)][: len(found.peaks_s)]
        for lead_peaks_s in found.lead_peaks_s[:, leads].T:
            np.testing.assert_allclose(lead_peaks_s, due_s, atol=0.025)
    np.testing.assert_array_equal(found.peaks_s, found.lead_peaks_s[:, 0])


def test_a_lead_with_a_strip_goes_with_its_own_column() -> None:
    found = beats(in_columns(synthetic_ecg(seed=17), strip="II"))
    np.testing.assert_array_equal(found.lead_peaks_s[:, 1], found.lead_peaks_s[:, 0])
    assert found.coverage[:, 1].min() >= found.coverage[:, 0].min()
    assert found.coverage[-1, 1] == 1  # the strip goes on where the column ends


def test_columns_without_boxes_are_told_by_their_values() -> None:
    recording = in_columns(synthetic_ecg(seed=16, heart_rate_bpm=75))
    signal_mv = recording.signal_mv.copy()
    signal_mv[4, 1250:1300] = (
        np.nan
    )  # a lead that begins 0.1 s late belongs to its column all the same
    recording = replace(recording, signal_mv=signal_mv)
    with_boxes, without = beats(recording), beats(replace(recording, boxes=()))
    np.testing.assert_array_equal(with_boxes.lead_peaks_s, without.lead_peaks_s)


def test_coverage_says_how_much_was_read() -> None:
    ecg = synthetic_ecg(seed=18, heart_rate_bpm=60, fs_hz=200)
    found = beats(in_columns(ecg))
    for beat in range(len(found.peaks_s)):
        first = round(found.lead_peaks_s[beat, 3] * 200) - 100
        read = min(first + 400, 1000) - max(first, 500)  # the second column's 500 to 999
        assert found.coverage[beat, 3] == pytest.approx(read / 400, abs=1e-6)


def test_gaps_take_the_next_value() -> None:
    ecg = synthetic_ecg(seed=19, heart_rate_bpm=60, fs_hz=200)
    whole = beats(simultaneous(ecg))
    beat = 3
    first = round(whole.peaks_s[beat] * 200) - 100
    signal_mv = ecg.signal_mv.copy()
    signal_mv[5, first + 250 : first + 300] = np.nan
    found = beats(simultaneous(Ecg(signal_mv, ecg.fs_hz)))
    np.testing.assert_array_equal(found.peaks_s, whole.peaks_s)
    np.testing.assert_allclose(found.signal_mv[beat, 5, 250:300], ecg.signal_mv[5, first + 300])
    np.testing.assert_array_equal(found.signal_mv[beat, 5, :250], whole.signal_mv[beat, 5, :250])
    assert found.coverage[beat, 5] == pytest.approx(350 / 400)
    assert np.isfinite(found.signal_mv).all()


def test_before_the_first_value_comes_the_next_and_after_the_last_the_last() -> None:
    ecg = synthetic_ecg(seed=20, heart_rate_bpm=100, fs_hz=200)
    found = beats(simultaneous(ecg))
    first, last = (round(s * 200) for s in found.peaks_s[[0, -1]])
    assert first < 100
    assert last > 1700
    np.testing.assert_allclose(found.signal_mv[0, :, 0], ecg.signal_mv[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.signal_mv[-1, :, -1], ecg.signal_mv[:, -1], atol=1e-6)


def test_leads_that_are_not_there_are_nan() -> None:
    recording = in_columns(synthetic_ecg(seed=21))
    signal_mv = recording.signal_mv.copy()
    signal_mv[[0, 9, 10, 11]] = np.nan  # one lead, and a whole column
    found = beats(replace(recording, signal_mv=signal_mv))
    assert len(found.peaks_s) >= 2
    assert found.present.all(axis=0).tolist() == [i not in (0, 9, 10, 11) for i in range(12)]
    assert np.isnan(found.signal_mv[:, [0, 9, 10, 11]]).all()
    assert np.isnan(found.lead_peaks_s[:, [0, 9, 10, 11]]).all()
    assert np.isfinite(found.signal_mv[:, 1:9]).all()
    assert np.isfinite(found.peaks_s).all()


def test_standardise() -> None:
    ecg = synthetic_ecg(seed=22)
    signal_mv = ecg.signal_mv.copy()
    signal_mv[2] = 0.4
    signal_mv[3] = np.nan
    recording = simultaneous(Ecg(signal_mv, ecg.fs_hz))
    found = beats(recording, standardise=True)
    assert found.standardised
    others = [i for i in range(12) if i not in (2, 3)]
    np.testing.assert_allclose(found.signal_mv[:, others].mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(found.signal_mv[:, others].std(axis=2), 1, atol=1e-5)
    assert (found.signal_mv[:, 2] == 0).all()
    assert np.isnan(found.signal_mv[:, 3]).all()
    plain = beats(recording)
    assert not plain.standardised
    np.testing.assert_allclose(plain.signal_mv[:, 2], 0.4)


def test_other_windows() -> None:
    found = beats(simultaneous(synthetic_ecg(seed=23)), fs_hz=100, before_s=0.25, after_s=0.35)
    assert found.signal_mv.shape[1:] == (12, 60)
    assert (found.fs_hz, found.before_s, found.after_s) == (100, 0.25, 0.35)
    assert (found.signal_mv[:, 1].argmax(axis=1) == 25).all()  # the R peak of lead II


# --- what is no ECG ---------------------------------------------------------------------------


def flat(level_mv: float) -> np.ndarray:
    return np.full((12, 5000), level_mv)


@pytest.mark.parametrize(
    "signal_mv",
    [
        flat(np.nan),
        flat(0.0),
        flat(1.5),
        np.zeros((12, 0)),
        np.ones((12, 1)),
        synthetic_ecg(seed=1).signal_mv[:, :300],
        np.where(np.arange(5000) == 2500, 1.0, np.nan) * np.ones((12, 1)),
        np.random.default_rng(0).normal(0, 0.001, (12, 5000)),
    ],
    ids=["nan", "zero", "level", "empty", "one", "short", "one-value", "hiss"],
)
@pytest.mark.parametrize("detector", DETECTORS)
def test_no_beats(signal_mv: np.ndarray, detector: str) -> None:
    signal_mv = np.asarray(signal_mv, dtype=np.float32)
    recording = Recording(signal_mv, 500.0, np.zeros((0, signal_mv.shape[1]), np.float32))
    found = beats(recording, detector=detector)
    assert found.signal_mv.shape == (0, 12, 400)
    assert found.peaks_s.shape == (0,)
    assert found.lead_peaks_s.shape == found.coverage.shape == found.present.shape == (0, 12)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seconds", [1.0, 1.3, 2.0, 3.1])
def test_short_and_noisy_recordings_do_not_break(detector: str, seconds: float) -> None:
    rng = np.random.default_rng(round(10 * seconds))
    signal_mv = rng.normal(0, 0.3, (12, round(500 * seconds))).astype(np.float32)
    signal_mv[rng.random(signal_mv.shape) < 0.2] = np.nan
    recording = Recording(signal_mv, 500.0, signal_mv[:1], ("I",))
    found = beats(recording, detector=detector)
    assert np.isfinite(found.peaks_s).all()
    assert ((found.peaks_s >= 0) & (found.peaks_s < seconds)).all()
    assert np.all(np.diff(found.peaks_s) >= 0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fs_hz": 0},
        {"fs_hz": float("nan")},
        {"before_s": -1},
        {"after_s": 0},
        {"after_s": 1e9},
        {"detector": "none"},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"expected 10 to|choose one of neurokit"):
        beats(simultaneous(synthetic_ecg(seconds=2)), **wrong)


def test_without_neurokit_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(UsageError, match=r'pip install "ecgvision\[beats\]"'):
        heartbeats.beats(simultaneous(synthetic_ecg(seconds=2)))
