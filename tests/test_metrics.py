"""Every score against cases whose value is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ecgvision.metrics import (
    CEILING_DB,
    aligned_snr_db,
    challenge_snr_db,
    coverage,
    delays_ms,
    einthoven_residual,
    failure_rate,
    gain_error,
    pearson_r,
    raw_snr_db,
    rmse_uv,
)
from ecgvision.testing import synthetic_ecg

FS_HZ = 500.0
TRUTH_MV = synthetic_ecg(seed=5).signal_mv.astype(np.float64)
NAN = float("nan")


def without(signal_mv: np.ndarray, *rows: int) -> np.ndarray:
    out = signal_mv.copy()
    out[list(rows)] = NAN
    return out


def noisy(snr_db: float) -> np.ndarray:
    """The truth with white noise of exactly this SNR, and of mean 0 in every lead."""
    noise = np.random.default_rng(1).standard_normal(TRUTH_MV.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    wanted = np.sum(TRUTH_MV**2) / 10 ** (snr_db / 10)
    return TRUTH_MV + noise * np.sqrt(wanted / np.sum(noise**2))


# --- the signal-to-noise ratios ---------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [12.15, 25.0, 40.0])
def test_known_noise_gives_known_db(snr_db: float) -> None:
    estimate = noisy(snr_db)
    assert raw_snr_db(TRUTH_MV, estimate) == pytest.approx(snr_db, abs=1e-9)
    # Shift 0 fits best, the noise has no mean to take off: aligning changes nothing.
    assert aligned_snr_db(TRUTH_MV, estimate, FS_HZ) == pytest.approx(snr_db, abs=1e-6)


@pytest.mark.parametrize("shift", [-100, -37, 1, 100])
def test_a_shifted_offset_copy_is_low_raw_and_high_aligned(shift: int) -> None:
    # Nothing at either end, so that a shift leaves nothing out.
    truth = np.where((np.arange(5000) > 200) & (np.arange(5000) < 4800), TRUTH_MV, 0.0)
    estimate = np.roll(truth, shift, axis=1) + 0.3
    assert raw_snr_db(truth, estimate) < 5
    # The offset goes, but |shift| samples at one end count as an estimate of 0: as the truth is.
    assert aligned_snr_db(truth, estimate, FS_HZ) == pytest.approx(CEILING_DB)
    assert delays_ms(truth, estimate, FS_HZ) == pytest.approx(np.full(12, shift * 2.0), abs=0.3)


def test_a_shift_over_a_fifth_of_a_second_is_not_made_good() -> None:
    estimate = np.roll(TRUTH_MV, 130, axis=1)
    assert aligned_snr_db(TRUTH_MV, estimate, FS_HZ) < 5


def test_what_a_shift_moves_out_counts_as_noise_with_the_truths_mean() -> None:
    # 40 of 1000 samples at the left edge get an estimate of 0 against a truth of 1 mV.
    beat = np.exp(-0.5 * ((np.arange(1000) - 500) / 9) ** 2)
    truth = beat[None] + 1.0
    early = np.roll(beat, -40)[None] + 1.0
    noise = 40 * 1.0**2
    assert aligned_snr_db(truth, early, FS_HZ) == pytest.approx(
        10 * np.log10(np.sum(truth**2) / noise), abs=1e-6
    )


def test_the_truths_mean_is_part_of_the_signal() -> None:
    noise = np.tile([0.1, -0.1], 500)
    truth = np.zeros((1, 1000)) + 1.0
    assert aligned_snr_db(truth, truth + noise, FS_HZ) == pytest.approx(20.0)
    assert raw_snr_db(truth, truth + noise) == pytest.approx(20.0)


def test_powers_are_pooled_over_leads_and_not_their_db() -> None:
    truth = np.array([[10.0, -10.0] * 50, [1.0, -1.0] * 50])
    estimate = np.array([truth[0], 0.5 * truth[1]])
    assert raw_snr_db(truth, estimate) == pytest.approx(10 * np.log10(101 / 0.25))
    assert challenge_snr_db(truth[1:], estimate[1:]) == pytest.approx(10 * np.log10(4))


def test_a_missing_lead_is_all_noise() -> None:
    share = np.sum(TRUTH_MV[7] ** 2) / np.sum(TRUTH_MV**2)
    estimate = without(TRUTH_MV, 7)
    expected = -10 * np.log10(share)
    assert raw_snr_db(TRUTH_MV, estimate) == pytest.approx(expected)
    assert aligned_snr_db(TRUTH_MV, estimate, FS_HZ) == pytest.approx(expected)
    assert coverage(TRUTH_MV, estimate) == pytest.approx(11 / 12)


def test_nothing_read_is_zero_db() -> None:
    nothing = np.full_like(TRUTH_MV, NAN)
    assert aligned_snr_db(TRUTH_MV, nothing, FS_HZ) == pytest.approx(0.0)
    assert raw_snr_db(TRUTH_MV, nothing) == pytest.approx(0.0)
    assert challenge_snr_db(TRUTH_MV, nothing) == 0.0
    assert pearson_r(TRUTH_MV, nothing) == 0.0
    assert np.isnan(rmse_uv(TRUTH_MV, nothing))
    assert np.isnan(gain_error(TRUTH_MV, nothing, FS_HZ))
    assert np.isnan(delays_ms(TRUTH_MV, nothing, FS_HZ)).all()
    assert coverage(TRUTH_MV, nothing) == 0.0


def test_what_is_not_printed_does_not_count() -> None:
    # A page in 2.5 s columns; the estimate has made up a signal everywhere else.
    printed = np.full_like(TRUTH_MV, NAN)
    for lead in range(12):
        start = 1250 * (lead // 3)
        printed[lead, start : start + 1248] = TRUTH_MV[lead, start : start + 1248]
    made_up = np.where(np.isfinite(printed), 0.9 * TRUTH_MV, 7.0)
    assert raw_snr_db(printed, made_up) == pytest.approx(20.0)
    assert challenge_snr_db(printed, made_up) == pytest.approx(20.0)
    assert pearson_r(printed, made_up) == pytest.approx(1.0)
    assert coverage(printed, made_up) == 1.0
    lead_only = without(printed, *range(1, 12))
    assert raw_snr_db(lead_only, without(made_up, *range(1, 12))) == pytest.approx(20.0)


def test_a_window_is_aligned_within_itself() -> None:
    printed = np.full_like(TRUTH_MV, NAN)
    printed[:, 1250:2500] = TRUTH_MV[:, 1250:2500]
    late = np.roll(printed, 6, axis=1)
    # 6 samples at the end are moved out of the window: their truth is the only noise.
    noise = np.sum(printed[:, 2494:2500] ** 2)
    expected = 10 * np.log10(np.nansum(printed**2) / noise)
    assert aligned_snr_db(printed, late, FS_HZ) == pytest.approx(min(expected, CEILING_DB), abs=0.2)
    assert delays_ms(printed, late, FS_HZ) == pytest.approx(np.full(12, 12.0), abs=1.0)


def test_the_challenge_score_is_db_times_coverage() -> None:
    truth = np.tile([1.0, -1.0], (2, 100))
    estimate = 1.1 * truth
    estimate[1, :50] = NAN
    assert challenge_snr_db(truth, estimate) == pytest.approx((20 + 0.75 * 20) / 2)
    assert challenge_snr_db(truth, without(estimate, 1)) == pytest.approx(10.0)
    # A lead that was printed flat at 0 mV has no signal, hence no SNR.
    assert challenge_snr_db([[0.0, 0.0], [1.0, -1.0]], [[0.1, 0.1], [1.1, -1.1]]) == pytest.approx(
        20.0
    )
    assert challenge_snr_db(truth, truth) == np.inf


# --- the others -------------------------------------------------------------------------------


def test_pearson_does_not_see_gain_or_offset_but_sign_and_gaps() -> None:
    assert pearson_r(TRUTH_MV, 0.5 * TRUTH_MV + 1) == pytest.approx(1.0)
    assert pearson_r(TRUTH_MV, -TRUTH_MV) == pytest.approx(-1.0)
    assert pearson_r(TRUTH_MV, without(TRUTH_MV, 0, 4, 5)) == pytest.approx(9 / 12)
    flat = TRUTH_MV.copy()
    flat[3] = 0.2
    assert pearson_r(TRUTH_MV, flat) == pytest.approx(11 / 12)


def test_rmse_in_microvolt_over_what_both_have() -> None:
    error = np.tile([0.012, -0.012], 2500)
    assert rmse_uv(TRUTH_MV, TRUTH_MV + error) == pytest.approx(12.0)
    assert rmse_uv(TRUTH_MV, without(TRUTH_MV + error, 2)) == pytest.approx(12.0)


@pytest.mark.parametrize("gain", [0.97, 1.0, 1.05])
def test_gain_error_is_told_through_shift_and_offset(gain: float) -> None:
    estimate = gain * np.roll(TRUTH_MV, 9, axis=1) - 0.2
    assert gain_error(TRUTH_MV, estimate, FS_HZ) == pytest.approx(gain - 1, abs=1e-3)


@pytest.mark.parametrize("late_s", [-0.0113, 0.0007, 0.05])
def test_delays_are_told_to_parts_of_a_sample(late_s: float) -> None:
    times_s = np.arange(5000) / FS_HZ
    estimate = np.array([np.interp(times_s - late_s, times_s, lead) for lead in TRUTH_MV])
    assert delays_ms(TRUTH_MV, estimate, FS_HZ) == pytest.approx(
        np.full(12, late_s * 1000), abs=0.2
    )


def test_einthoven_holds_for_a_true_page_and_not_for_a_broken_one() -> None:
    assert einthoven_residual(TRUTH_MV, FS_HZ) == pytest.approx(0.0, abs=1e-9)
    assert einthoven_residual(TRUTH_MV + np.arange(12)[:, None], FS_HZ) == pytest.approx(
        0.0, abs=1e-9
    )
    # II read at twice its size leaves one II over.
    wrong = TRUTH_MV.copy()
    wrong[1] *= 2
    centred = wrong[:3] - wrong[:3].mean(axis=1, keepdims=True)
    expected = np.sum((centred[1] / 2) ** 2) / np.sum(centred**2)
    assert einthoven_residual(wrong, FS_HZ) == pytest.approx(expected, rel=1e-6)
    assert np.isnan(einthoven_residual(without(TRUTH_MV, 2), FS_HZ))


def test_failures_are_refusals_and_low_scores() -> None:
    assert failure_rate([None, 9.99, 10.0, 30.0, NAN]) == pytest.approx(3 / 5)
    assert failure_rate([12.0], below_db=15.0) == 1.0
    with pytest.raises(ValueError, match="needs pages"):
        failure_rate([])


def test_ugly_inputs_are_refused() -> None:
    for score in (raw_snr_db, challenge_snr_db, pearson_r, rmse_uv, coverage):
        with pytest.raises(ValueError, match=r"found \(12, 5000\) and \(12, 4999\)"):
            score(TRUTH_MV, TRUTH_MV[:, 1:])
        with pytest.raises(ValueError, match="no printed lead"):
            score(np.full((12, 10), NAN), np.zeros((12, 10)))
        with pytest.raises(ValueError, match="infinite"):
            score(np.zeros((12, 10)), np.full((12, 10), np.inf))
    with pytest.raises(ValueError, match="expected"):
        einthoven_residual(TRUTH_MV[:8], FS_HZ)


def test_flat_leads_and_single_samples_break_nothing() -> None:
    flat = np.zeros((12, 50))
    assert aligned_snr_db(flat, flat + 0.125, FS_HZ) == CEILING_DB  # the offset was all there was
    assert raw_snr_db(flat, flat + 0.1) == -np.inf
    assert np.isnan(challenge_snr_db(flat, flat))
    assert np.isnan(pearson_r(flat, flat))
    one = np.full((12, 50), NAN)
    one[:, 7] = 1.0
    assert aligned_snr_db(one, np.where(np.isnan(one), 5.0, 2.0), FS_HZ) == CEILING_DB
