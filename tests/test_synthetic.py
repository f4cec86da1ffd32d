"""The synthetic ECG is what it says it is."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.testing import Ecg, synthetic_ecg
from ecgvision.types import LEADS


def microvolt(ecg: Ecg) -> dict[str, np.ndarray]:
    return {lead: np.rint(ecg.lead(lead).astype(float) * 1000) for lead in LEADS}


@pytest.mark.parametrize("noise_mv", [0.0, 0.03])
def test_limb_leads_hold_exactly(noise_mv: float) -> None:
    ecg = synthetic_ecg(seed=3, noise_mv=noise_mv)
    uv = microvolt(ecg)
    np.testing.assert_allclose(ecg.signal_mv * 1000, np.stack(list(uv.values())), atol=1e-3)
    np.testing.assert_array_equal(uv["I"] + uv["III"], uv["II"])
    np.testing.assert_array_equal(-2 * uv["aVR"], uv["I"] + uv["II"])
    np.testing.assert_array_equal(2 * uv["aVL"], uv["I"] - uv["III"])
    np.testing.assert_array_equal(2 * uv["aVF"], uv["II"] + uv["III"])


def test_from_eight_keeps_whole_microvolts_of_real_recordings() -> None:
    eight = np.array([[101], [250], [-7], [8], [9], [10], [11], [12]], dtype=np.int16)
    ecg = Ecg.from_eight(eight, 250)
    expected = [101, 250, 149, -175.5, -24, 199.5, -7, 8, 9, 10, 11, 12]
    np.testing.assert_allclose(ecg.signal_mv[:, 0] * 1000, expected, rtol=1e-6)
    assert ecg.signal_mv.dtype == np.float32


def test_from_eight_refuses_twelve_leads() -> None:
    with pytest.raises(ValueError, match=r"\(8, n\).*found \(12, 5\)"):
        Ecg.from_eight(np.zeros((12, 5)), 250)


@pytest.mark.parametrize(("seed", "rate"), [(0, 45), (1, 72), (2, 150), (3, 200)])
def test_r_peaks_stand_where_declared(seed: int, rate: float) -> None:
    ecg = synthetic_ecg(seed=seed, heart_rate_bpm=rate)
    lead_v5 = ecg.lead("V5")
    for peak_s in ecg.r_peaks_s[1:-1]:
        centre = round(peak_s * ecg.fs_hz)
        found = centre - 40 + np.argmax(lead_v5[centre - 40 : centre + 40])
        assert abs(found / ecg.fs_hz - peak_s) < 0.004
    assert 60 / np.mean(np.diff(ecg.r_peaks_s)) == pytest.approx(rate, rel=0.03)
    assert len(ecg.r_peaks_s) == pytest.approx(rate / 6, abs=1.5)


def test_amplitudes_are_those_of_a_healthy_adult() -> None:
    ecg = synthetic_ecg()
    assert ecg.lead("V5").max() == pytest.approx(1.2, abs=0.2)
    assert ecg.lead("V1").min() == pytest.approx(-1.0, abs=0.25)
    assert ecg.lead("aVR").min() == pytest.approx(-0.75, abs=0.2)
    centre = round(ecg.r_peaks_s[2] * ecg.fs_hz)
    lead_ii = ecg.lead("II")
    assert lead_ii[centre - 100 : centre - 50].max() == pytest.approx(0.12, abs=0.05)  # P
    assert lead_ii[centre + 80 : centre + 180].max() == pytest.approx(0.3, abs=0.08)  # T


def test_same_seed_same_ecg_and_other_seed_another() -> None:
    first, again, other = synthetic_ecg(5), synthetic_ecg(5), synthetic_ecg(6)
    np.testing.assert_array_equal(first.signal_mv, again.signal_mv)
    assert first.r_peaks_s == again.r_peaks_s
    assert np.abs(first.signal_mv - other.signal_mv).max() > 0.1


def test_beats_differ_a_little() -> None:
    ecg = synthetic_ecg()
    heights = [ecg.lead("V5")[round(p * ecg.fs_hz)] for p in ecg.r_peaks_s]
    assert 0.005 < np.std(heights) < 0.1
    assert np.std(np.diff(ecg.r_peaks_s)) > 0.005


def test_noise_has_the_size_asked_for() -> None:
    noise = synthetic_ecg(noise_mv=0.02).signal_mv - synthetic_ecg().signal_mv
    assert np.std(noise[LEADS.index("V3")]) == pytest.approx(0.02, rel=0.05)


def test_window_is_half_open() -> None:
    ecg = synthetic_ecg(seconds=4)
    times_s, signal_mv = ecg.window("II", 2.5, 5.0)
    assert times_s[0] == 2.5
    assert len(times_s) == len(signal_mv) == 750
    np.testing.assert_array_equal(signal_mv, ecg.lead("II")[1250:])
    assert len(ecg.window("II", 4.0, 6.5)[0]) == 0


@pytest.mark.parametrize(
    "wrong", [{"heart_rate_bpm": 5}, {"seconds": 0}, {"fs_hz": 10}, {"noise_mv": -1}]
)
def test_impossible_wishes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="found"):
        synthetic_ecg(**wrong)


def test_ecg_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(12, n\) float32"):
        Ecg(np.zeros((8, 10), dtype=np.float32), 500)
    with pytest.raises(ValueError, match="sampling rate"):
        Ecg(np.zeros((12, 10), dtype=np.float32), 0)
