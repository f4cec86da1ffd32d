"""How well a read ECG agrees with the truth: the scores of the field, each defined once.

Everywhere `truth_mv` and `estimate_mv` are (leads, n) float arrays in mV at one sampling rate and
on one time axis, twelve leads as a rule. The truth is NaN where a lead is not printed, the estimate
where it was not read; samples that are not printed never count. An SNR is
10 log10(signal power / noise power) in dB, the noise being the estimate less the truth. All raise
`ValueError` for shapes that differ, for infinite numbers and where no lead is printed.

>>> import numpy as np
>>> truth_mv = np.tile(np.sin(np.arange(1000) / 20), (12, 1))
>>> print(round(raw_snr_db(truth_mv, 0.9 * truth_mv), 3))  # a tenth of the size is missing
20.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import correlate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MAX_SHIFT_S = 0.2
"""How far `aligned_snr_db` may move a lead: MAX_TIME_SHIFT of the Kaggle metric."""

CEILING_DB = 60.0
"""The most `aligned_snr_db` gives: the Kaggle metric caps the ratio of powers at 10^6."""

FAILED_BELOW_DB = 10.0
"""A page with an aligned SNR under this counts as failed: its noise has a tenth of its power."""

_LEAST_S = 1.0


def aligned_snr_db(truth_mv: ArrayLike, estimate_mv: ArrayLike, fs_hz: float) -> float:
    """SNR of one page after the best shift and offset of every lead; at most `CEILING_DB`.

    This is the page score of "PhysioNet - Digitization of ECG Images" (Kaggle 2025, metric
    notebook kaggle.com/code/metric/physionet-ecg-signal-extraction-metric):

    1. Each lead's estimate is cut to the time its truth spans and moved by the whole number of
       samples, at most 0.2 s either way, at which both, their means taken off, correlate best.
    2. The constant that leaves the least noise is taken off the estimate. The truth keeps its
       mean, and this mean is part of the signal power.
    3. What is missing, and what was moved out of the window, then counts as an estimate of 0 mV:
       its whole truth is noise.
    4. Signal and noise are summed over the samples of all leads, then divided.

    The competition takes no NaN, where we apply rule 3, and puts the mean of the pages' ratios,
    not of their dB, on its leaderboard. A page of flat lines at 0 mV gives -inf.

    >>> import numpy as np
    >>> beat = np.exp(-0.5 * ((np.arange(1000) - 500) / 8) ** 2)
    >>> moved = np.roll(beat, 30) + 0.4
    >>> aligned_snr_db([beat], [moved], 500.0) > 50 > 0 > raw_snr_db([beat], [moved])
    True
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    signal = noise = 0.0
    for lead, read in _leads(truth, estimate):
        printed = np.isfinite(lead)
        moved = align_lead(lead, read, fs_hz).estimate_mv
        signal += float(np.sum(lead[printed] ** 2))
        noise += float(np.sum((lead - np.nan_to_num(moved))[printed] ** 2))
    return min(_decibel(signal, noise), CEILING_DB)


def raw_snr_db(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> float:
    """SNR of one page as it stands: no shift, no offset, powers summed over all leads.

    What is missing counts as an estimate of 0 mV. inf where there is no noise at all.

    >>> raw_snr_db([[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [float("nan")] * 2])  # half is noise
    3.01...
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    printed = np.isfinite(truth)
    noise = (np.nan_to_num(estimate) - truth)[printed]
    return _decibel(float(np.sum(truth[printed] ** 2)), float(np.sum(noise**2)))


def challenge_snr_db(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> float:
    """Mean over leads of SNR in dB times coverage, as in the PhysioNet Challenge 2024.

    The digitisation score of the George B. Moody PhysioNet Challenge 2024
    (github.com/physionetchallenges/evaluation-2024): per lead the SNR over the samples that truth
    and estimate both have, the truth's mean left in, times the share of the printed samples that
    were read, then the mean over leads. Ours is the stricter in two ways: the Challenge first
    moves every lead by up to 0.5 s and 1 mV to where it fits best, we do not; it leaves out a
    lead with no sample read, here that is 0 dB. A lead printed flat at 0 mV has no SNR and is
    left out; NaN if all are. A lead without any noise makes the mean inf, as it does there.

    >>> round(challenge_snr_db([[1.0, -1.0]] * 2, [[1.1, -1.1], [1.1, float("nan")]]), 6)
    15.0
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    scores = []
    for lead, read in _leads(truth, estimate):
        printed = np.isfinite(lead)
        both = printed & np.isfinite(read)
        if not np.any(lead[printed]):
            continue
        if not np.any(lead[both]):
            scores.append(0.0)
            continue
        power = float(np.mean(lead[both] ** 2))
        noise = float(np.mean((read[both] - lead[both]) ** 2))
        scores.append(_decibel(power, noise) * float(both.sum() / printed.sum()))
    return float(np.mean(scores)) if scores else float("nan")


def pearson_r(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> float:
    """Pearson's correlation of each lead over the samples both have, then the mean over leads.

    A lead that was not read, or was read as a flat line, counts as 0. A lead printed flat has no
    correlation and is left out; NaN if all are.

    >>> pearson_r([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0]], [[5.0, 7.0, 9.0], [float("nan")] * 3])
    0.5
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    found = []
    for lead, read in _leads(truth, estimate):
        if np.nanmax(lead) == np.nanmin(lead):
            continue
        both = np.isfinite(lead) & np.isfinite(read)
        one, other = lead[both], read[both]
        varied = len(one) > 1 and np.ptp(one) > 0 and np.ptp(other) > 0
        found.append(float(np.corrcoef(one, other)[0, 1]) if varied else 0.0)
    return float(np.mean(found)) if found else float("nan")


def rmse_uv(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> float:
    """Root of the mean square error in microvolt over all samples that both have; NaN if none.

    What was not read is no part of it: give `coverage` beside it.

    >>> round(rmse_uv([[0.0, 0.0, 1.0]], [[0.003, 0.004, float("nan")]]), 3)
    3.536
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    error = (estimate - truth)[np.isfinite(truth) & np.isfinite(estimate)]
    return float(np.sqrt(np.mean(error**2)) * 1000) if error.size else float("nan")


def coverage(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> float:
    """The share of the printed samples that were read.

    >>> coverage([[0.1, 0.2, float("nan")]], [[0.1, float("nan"), 0.3]])
    0.5
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    printed = np.isfinite(truth)
    return float(np.isfinite(estimate)[printed].mean())


def gain_error(truth_mv: ArrayLike, estimate_mv: ArrayLike, fs_hz: float) -> float:
    """How much too large the estimate is, as a fraction: 0.02 is 2 % too large.

    The slope of the estimate over the truth by least squares, one slope for all leads and each
    lead aligned as in `aligned_snr_db`, less 1. NaN where nothing but flat lines was printed or
    nothing was read.
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    along = power = 0.0
    for lead, read in _leads(truth, estimate):
        moved = align_lead(lead, read, fs_hz).estimate_mv
        both = np.isfinite(lead) & np.isfinite(moved)
        if np.any(both):
            centred = lead[both] - lead[both].mean()
            along += float(centred @ (moved[both] - moved[both].mean()))
            power += float(centred @ centred)
    return along / power - 1.0 if power > 0 else float("nan")


def delays_ms(truth_mv: ArrayLike, estimate_mv: ArrayLike, fs_hz: float) -> Floats:
    """(leads,) by how much each lead's estimate is late, in ms; negative is early.

    Where truth and estimate correlate best within 0.2 s, to parts of a sample by a parabola
    through the peak. NaN for leads that are not printed, not read or flat.
    """
    truth, estimate = _checked(truth_mv, estimate_mv)
    late = [
        align_lead(lead, read, fs_hz).late_s * 1000 if np.any(np.isfinite(lead)) else np.nan
        for lead, read in zip(truth, estimate, strict=True)
    ]
    return np.array(late)


def einthoven_residual(signal_mv: ArrayLike, fs_hz: float) -> float:
    """Power of I + III - II as a fraction of the power of these three leads; needs no truth.

    `signal_mv` is (12, n) in standard order. Einthoven's law makes it 0. Taken over the samples
    that all three leads have, their means taken off, as the height of a row's zero is not known
    on most pages. Three unrelated signals give 1. NaN with less than a second in common.
    """
    signal = np.asarray(signal_mv, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != 12:
        raise ValueError(f"expected (12, n) in mV, found {signal.shape}")
    three = signal[:3, np.isfinite(signal[:3]).all(axis=0)]
    if three.shape[1] < _LEAST_S * fs_hz:
        return float("nan")
    three = three - three.mean(axis=1, keepdims=True)
    power = float(np.sum(three**2))
    residual = three[0] + three[2] - three[1]
    return float(residual @ residual) / power if power > 0 else float("nan")


def failure_rate(aligned_db: Sequence[float | None], below_db: float = FAILED_BELOW_DB) -> float:
    """The share of pages that were not converted (None) or have an aligned SNR under `below_db`.

    >>> failure_rate([25.0, 9.0, None, 31.0])
    0.5
    """
    if not aligned_db:
        raise ValueError("a failure rate needs pages, found none")
    return sum(value is None or not value >= below_db for value in aligned_db) / len(aligned_db)


# --- alignment --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlignedLead:
    """One lead's estimate put where it fits its truth best.

    `estimate_mv` is (n,), moved by whole samples and by a constant, NaN where it has nothing;
    `late_s` is how late it was, to parts of a sample, NaN where nothing could be compared.
    """

    estimate_mv: Floats
    late_s: float
    offset_mv: float


def align_lead(truth_mv: ArrayLike, estimate_mv: ArrayLike, fs_hz: float) -> AlignedLead:
    """Steps 1 and 2 of `aligned_snr_db` for one lead, (n,) each; the truth needs a finite sample.

    Of several shifts that fit alike the smallest is taken.
    """
    truth = np.asarray(truth_mv, dtype=np.float64)
    printed = np.flatnonzero(np.isfinite(truth))
    window = slice(printed[0], printed[-1] + 1)
    read = np.full_like(truth, np.nan)
    read[window] = np.asarray(estimate_mv, dtype=np.float64)[window]
    shift, late = _best_shift(truth[window], read[window], fs_hz)
    moved = np.full_like(truth, np.nan)
    start, stop = window.start, window.stop
    moved[start + max(shift, 0) : stop + min(shift, 0)] = read[
        start + max(-shift, 0) : stop - max(shift, 0)
    ]
    both = np.isfinite(truth) & np.isfinite(moved)
    offset = float(np.mean((moved - truth)[both])) if np.any(both) else 0.0
    return AlignedLead(moved - offset, late / fs_hz, offset)


def _best_shift(truth: Floats, read: Floats, fs_hz: float) -> tuple[int, float]:
    """By how many samples to move `read`, and how late it is, in parts of a sample (or NaN)."""
    if not np.any(np.isfinite(read)):
        return 0, float("nan")
    one, other = _centred(truth), _centred(read)
    if not np.any(one) or not np.any(other):
        return 0, float("nan")
    reach = min(math.floor(MAX_SHIFT_S * fs_hz + 1e-9), len(truth) - 1)
    middle = len(truth) - 1
    match = correlate(one, other, mode="full")[middle - reach : middle + reach + 1]
    best = np.flatnonzero(match == match.max()) - reach
    shift = int(best[np.argmin(np.abs(best))])
    if abs(shift) == reach:
        return shift, -float(shift)
    before, at, after = match[shift + reach - 1 : shift + reach + 2]
    bend = before - 2 * at + after
    return shift, -(shift + (float((before - after) / (2 * bend)) if bend < 0 else 0.0))


def _centred(signal: Floats) -> Floats:
    """Its mean taken off, and 0 where it is not known."""
    return np.nan_to_num(signal - np.nanmean(signal))


# --- shared -----------------------------------------------------------------------------------


def _checked(truth_mv: ArrayLike, estimate_mv: ArrayLike) -> tuple[Floats, Floats]:
    truth = np.asarray(truth_mv, dtype=np.float64)
    estimate = np.asarray(estimate_mv, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != estimate.shape:
        raise ValueError(
            f"truth and estimate must both be (leads, n), found {truth.shape} and {estimate.shape}"
        )
    if np.any(np.isinf(truth)) or np.any(np.isinf(estimate)):
        raise ValueError("truth and estimate must be finite or NaN, found an infinite number")
    if not np.any(np.isfinite(truth)):
        raise ValueError("the truth has no printed lead: all of it is NaN")
    return truth, estimate


def _leads(truth: Floats, estimate: Floats) -> list[tuple[Floats, Floats]]:
    """Truth and estimate of the leads that are printed."""
    pairs = zip(truth, estimate, strict=True)
    return [(lead, read) for lead, read in pairs if np.any(np.isfinite(lead))]


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
