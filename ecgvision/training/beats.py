"""Signals as the networks of single beats take them: one beat of each lead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from ecgvision.models.settings import ModelSettings

Floats = NDArray[np.float32]

_QRS_S = 0.1
_REFRACTORY_S = 0.25
# The steepness of a lead is cut at this multiple of its own 99th percentile: a jump is no QRS.
_STEEPEST = 2.0
# A flat line must not be blown up to noise: the study standardises by the standard deviation.
_LEAST_SPREAD_MV = 0.01


def lead_beats(signals: Floats, fs_hz: float, settings: ModelSettings) -> Floats:
    """(12, T) mV on the page's time axis, NaN where not printed, as one beat of each lead.

    (12, `settings.beat_samples`): from `before_s` before an R peak, standardised. Each lead takes
    the beat of which it shows most, the first of them; NaN is what it does not show. The study
    filled that from the next samples there were; here the network leaves it out.
    """
    count = settings.beat_samples
    beats = np.full((len(signals), count), np.nan, np.float32)
    peaks_s = r_peaks_s(signals, fs_hz)
    time_s = np.arange(signals.shape[1]) / fs_hz
    offsets_s = np.arange(count) / settings.fs_hz - settings.before_s
    for number, lead in enumerate(signals):
        seen = np.isfinite(lead)
        if not seen.any():
            continue
        first_s, last_s = time_s[seen][[0, -1]]
        # Where no peak was found the window begins where the lead does.
        starts_s = peaks_s if len(peaks_s) else np.array([first_s + settings.before_s])
        end_s = starts_s + settings.beat_s - settings.before_s
        shown_s = np.minimum(end_s, last_s) - np.maximum(starts_s - settings.before_s, first_s)
        wanted_s = starts_s[int(np.argmax(np.round(shown_s, 3)))] + offsets_s
        beat = np.interp(wanted_s, time_s[seen], lead[seen], left=np.nan, right=np.nan)
        spread = max(float(np.nanstd(beat)), _LEAST_SPREAD_MV) if np.isfinite(beat).any() else 1.0
        level = float(np.nanmean(beat)) if np.isfinite(beat).any() else 0.0
        beats[number] = (beat - level) / spread
    return beats


def r_peaks_s(signals: Floats, fs_hz: float) -> NDArray[np.float64]:
    """Seconds at which the leads printed at that time have a QRS complex together.

    Where the mean steepness of the leads, over 0.1 s, stands out, as in `ecgvision.qrs`.
    """
    steep = np.abs(np.diff(signals, axis=1, prepend=signals[:, :1]))
    seen = np.isfinite(steep)
    steep = np.where(seen, steep, 0)
    scale = np.array(
        [np.percentile(s[k], 99) if k.any() else 0 for s, k in zip(steep, seen, strict=True)]
    )
    steep = np.minimum(steep / (scale[:, None] + 1e-3), _STEEPEST)
    mean = steep.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    energy = uniform_filter1d(mean, max(3, round(_QRS_S * fs_hz)), mode="constant")
    high, floor = float(np.percentile(energy, 98)), float(np.median(energy))
    if high <= floor:
        return np.empty(0)
    peaks, _ = find_peaks(
        energy,
        height=floor + 0.4 * (high - floor),
        prominence=0.3 * (high - floor),
        distance=max(1, round(_REFRACTORY_S * fs_hz)),
    )
    return np.asarray(peaks / fs_hz, dtype=np.float64)
