"""Heartbeats of a recording, cut out around their R peaks as 1-D models take them.

The windows are those of Boribalburephan et al., Sci Rep 14:7523 (2024): from 0.5 s before the R
peak to 1.5 s after it at 200 Hz, and what was not read takes the next value there is. The R peaks
are found by NeuroKit2 (Makowski et al., Behav Res Methods 2021;53:1689-1696), which comes with
``pip install "ecgvision[beats]"``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ecgvision.errors import UsageError
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import Recording

    Floats = NDArray[np.float64]

DETECTORS = (
    *("neurokit", "christov2004", "pantompkins1985", "hamilton2002", "kalidas2017"),
    "rodrigues2021",
)
"""Detectors of NeuroKit2 that can be asked for; docs/signals.md has their figures.

Left out are those that need 10 s of signal, and those that missed more than one beat in twenty of
twelve leads printed side by side.
"""

DEFAULT_DETECTOR = "neurokit"

# The band in which a QRS complex stands out from P and T waves, wander and muscle.
_QRS_BAND_HZ = (5.0, 40.0)
# Two beats are never closer than this (240 a minute).
_REFRACTORY_S = 0.25
# Detectors are off by up to the width of their filters; the true peak is the largest this near.
_NEAR_S = 0.12
# Detectors learn how large a beat is; this much of the signal is mirrored at both ends for that.
_RUN_UP_S = 2.0
# Leads read over this much of the time axis run through the page.
_RUNS_THROUGH = 0.9
# A peak much smaller than the others is a T wave or noise, not a beat.
_LEAST_HEIGHT = 0.4
# Less than this is too little to tell a beat from a bump.
_SHORTEST_S = 1.0
# No lead whose band-passed QRS stays under this is worth looking at: half a unit of most machines.
_FLAT_MV = 0.0025
# From the start of P to the end of T, roughly: so much of a beat must be printed.
_BEFORE_WHOLE_S, _AFTER_WHOLE_S = 0.2, 0.4
# Leads that share this much of their time are printed side by side.
_SAME_COLUMN = 0.8


@dataclass(frozen=True, slots=True)
class Beats:
    """Windows around R peaks, all of one length w = (before_s + after_s) * fs_hz samples.

    `signal_mv` is (b, 12, w) float32 in the order of `LEADS`, the R peak at sample
    before_s * fs_hz; mV, or standard deviations where `standardised`. Where leads are printed at
    different times, the b-th window of a lead shows the b-th beat of its own column:
    `lead_peaks_s` (b, 12) says when that was, `peaks_s` (b,) is the earliest of a row. `coverage`
    (b, 12) is the fraction of each window that was read; the rest was filled. A lead that shows
    nothing of a beat is NaN there, with coverage 0.
    """

    signal_mv: NDArray[np.float32] = field(repr=False)
    peaks_s: Floats
    lead_peaks_s: Floats = field(repr=False)
    coverage: NDArray[np.float32] = field(repr=False)
    fs_hz: float
    before_s: float
    after_s: float
    detector: str
    standardised: bool = False
    leads: tuple[str, ...] = LEADS

    @property
    def present(self) -> NDArray[np.bool_]:
        """(b, 12): whether a lead shows that beat."""
        found: NDArray[np.bool_] = self.coverage > 0
        return found


def beats(
    recording: Recording,
    *,
    fs_hz: float = 200.0,
    before_s: float = 0.5,
    after_s: float = 1.5,
    detector: str = DEFAULT_DETECTOR,
    standardise: bool = False,
) -> Beats:
    """The heartbeats of a recording, in the order of time; none where no R peak can be found.

    A beat counts where its lead is printed from 0.2 s before its R peak to 0.4 s after it. Where
    the leads stand in columns, there are as many beats as in the column with the fewest. NaN
    within what was read of a lead, and before it, takes the next value there is; after it, where
    there is no next one, the last. `standardise` gives every window of every lead zero mean and
    unit variance; flat ones become 0.

    Raises `UsageError` for arguments that cannot be and where NeuroKit2 is not installed.
    """
    if not (10 <= fs_hz <= 10_000 and before_s >= 0 and after_s > 0 and before_s + after_s <= 60):
        raise UsageError(
            f"expected 10 to 10000 Hz and a window of at most 60 s around the peak, "
            f"found {fs_hz} Hz, {before_s} s before and {after_s} s after it"
        )
    peaks_s = r_peaks_s(recording, detector)
    lead_peaks_s = _paired(peaks_s, _columns(recording))
    steps_s = np.arange(round((before_s + after_s) * fs_hz)) / fs_hz - before_s
    signal_mv = np.full((len(lead_peaks_s), len(LEADS), len(steps_s)), np.nan, dtype=np.float32)
    coverage = np.zeros(lead_peaks_s.shape, dtype=np.float32)
    for lead, row in enumerate(recording.signal_mv):
        rows = np.flatnonzero(np.isfinite(lead_peaks_s[:, lead]))
        times_s = lead_peaks_s[rows, lead, None] + steps_s
        signal_mv[rows, lead], coverage[rows, lead] = _windows(row, recording.fs_hz, times_s, fs_hz)
    missing = coverage == 0
    signal_mv[missing], lead_peaks_s[missing] = np.nan, np.nan
    kept = ~missing.all(axis=1)
    return Beats(
        signal_mv=_standardised(signal_mv[kept]) if standardise else signal_mv[kept],
        peaks_s=np.nanmin(lead_peaks_s[kept], axis=1) if kept.any() else np.empty(0),
        lead_peaks_s=lead_peaks_s[kept],
        coverage=coverage[kept],
        fs_hz=float(fs_hz),
        before_s=float(before_s),
        after_s=float(after_s),
        detector=detector,
        standardised=standardise,
    )


# --- R peaks ----------------------------------------------------------------------------------


def r_peaks_s(recording: Recording, detector: str = DEFAULT_DETECTOR) -> Floats:
    """(p,) seconds at which there are R peaks on the recording's time axis, rising.

    All leads printed at a time are looked at together, rhythm strips too, see `qrs_strength`. The
    detector's peaks are moved to the largest strength within 0.12 s; of two within 0.25 s the
    larger stays, and those under 0.4 of the median strength go. Where leads run through the whole
    page, they alone say when exactly: in V1 to V3 the largest wave is the S, 20 ms after the R.

    Raises `UsageError` for a detector that is not in `DETECTORS` or not installed.
    """
    if detector not in DETECTORS:
        raise UsageError(f"there is no detector {detector!r}; choose one of {', '.join(DETECTORS)}")
    neurokit = _neurokit()
    fs_hz = recording.fs_hz
    rows = np.concatenate([recording.signal_mv, recording.rhythm_mv]).astype(np.float64)
    strength = qrs_strength(rows, fs_hz)
    if len(strength) < _SHORTEST_S * fs_hz or not strength.any():
        return np.empty(0)
    # Detectors need a run-up: without it they miss the beats at both ends.
    run_up = min(round(_RUN_UP_S * fs_hz), len(strength) - 1)
    padded = np.pad(strength, run_up, mode="reflect")
    # NeuroKit wants whole numbers of samples a second; the times stay those of the recording.
    rate = max(1, round(fs_hz))
    clean = neurokit.ecg_clean(padded, sampling_rate=rate, method="neurokit")
    found = neurokit.ecg_findpeaks(clean, sampling_rate=rate, method=detector)["ECG_R_Peaks"]
    peaks = [int(peak) - run_up for peak in np.asarray(found, dtype=np.float64) if peak == peak]
    kept = _plausible(_moved(peaks, strength, round(_NEAR_S * fs_hz)), strength, fs_hz)
    through = [row for row in rows if np.isfinite(row).mean() >= _RUNS_THROUGH]
    if through:
        kept = _moved(kept, qrs_strength(np.array(through), fs_hz), round(_NEAR_S / 2 * fs_hz))
    return np.array(kept, dtype=np.float64) / fs_hz


def qrs_strength(rows_mv: Floats, fs_hz: float) -> Floats:
    """(n,) how strongly (m, n) leads show a QRS complex at each time, 0 where none is printed.

    Each lead is band-passed (5 to 40 Hz, without delay) and divided by the 98th percentile of its
    size; then comes the root of the mean square over the leads. It has no sign, so that leads in
    which the complex points down count like the others and columns join without a step.
    """
    squares, counts = np.zeros(rows_mv.shape[1]), np.zeros(rows_mv.shape[1])
    low_hz, high_hz = _QRS_BAND_HZ
    if fs_hz <= 2.5 * low_hz:
        return squares
    band = butter(2, (low_hz, min(high_hz, 0.45 * fs_hz)), "bandpass", fs=fs_hz, output="sos")
    for row in rows_mv:
        extent = _extent(row)
        if extent is None or extent.stop - extent.start < 0.5 * fs_hz:
            continue
        size = np.abs(_filtered(band, _bridged(row[extent])))
        large = float(np.percentile(size, 98))
        if large > _FLAT_MV:
            squares[extent] += (size / large) ** 2
            counts[extent] += 1
    strength: Floats = np.sqrt(squares / np.maximum(counts, 1))
    return strength


def _moved(peaks: list[int], strength: Floats, near: int) -> list[int]:
    """The samples of the largest strength within `near` samples of each peak, each once."""
    inside = (peak for peak in peaks if 0 <= peak < len(strength))
    spans = ((max(0, peak - near), peak, peak + near + 1) for peak in inside)
    return sorted(
        {
            low + int(np.argmax(strength[low:high])) if strength[low:high].any() else peak
            for low, peak, high in spans
        }
    )


def _plausible(peaks: list[int], strength: Floats, fs_hz: float) -> list[int]:
    """The peaks without those too close to a larger one or much smaller than the others."""
    if not peaks:
        return []
    least = _LEAST_HEIGHT * float(np.median([strength[peak] for peak in peaks]))
    kept: list[int] = []
    for peak in sorted(peaks, key=lambda one: (-strength[one], one)):
        apart = all(abs(peak - other) >= _REFRACTORY_S * fs_hz for other in kept)
        if apart and strength[peak] > least:
            kept.append(peak)
    return sorted(kept)


def _neurokit() -> Any:
    try:
        import neurokit2
    except ImportError as error:
        raise UsageError('heartbeats need NeuroKit2: pip install "ecgvision[beats]"') from error
    return neurokit2


# --- which beat of which lead -----------------------------------------------------------------


def _columns(recording: Recording) -> list[tuple[float, float, list[int]]]:
    """(start, stop, leads) in seconds for each set of leads that are printed at the same time.

    A lead's time is that of its printed box, or, without boxes, that of its first to last value.
    """
    boxes = {b.lead: (b.start_s, b.stop_s) for b in recording.boxes if not b.rhythm_strip}
    columns: list[tuple[float, float, list[int]]] = []
    for lead, row in enumerate(recording.signal_mv):
        extent = _extent(row)
        if extent is None:
            continue
        read_s = (extent.start / recording.fs_hz, extent.stop / recording.fs_hz)
        start_s, stop_s = boxes.get(LEADS[lead], read_s)
        for column in columns:
            shared_s = min(stop_s, column[1]) - max(start_s, column[0])
            if shared_s >= _SAME_COLUMN * max(stop_s - start_s, column[1] - column[0]):
                column[2].append(lead)
                break
        else:
            columns.append((start_s, stop_s, [lead]))
    return columns


def _paired(peaks_s: Floats, columns: list[tuple[float, float, list[int]]]) -> Floats:
    """(b, 12) seconds: the peak of each lead's b-th beat, NaN for leads without any beat."""
    inside = [
        peaks_s[(peaks_s >= start_s + _BEFORE_WHOLE_S) & (peaks_s <= stop_s - _AFTER_WHOLE_S)]
        for start_s, stop_s, _ in columns
    ]
    count = min((len(found) for found in inside if len(found)), default=0)
    paired = np.full((count, len(LEADS)), np.nan)
    for (_, _, leads), found in zip(columns, inside, strict=True):
        if len(found):
            paired[:, leads] = found[:count, None]
    return paired


# --- windows ----------------------------------------------------------------------------------


def _windows(
    row: NDArray[np.float32], from_hz: float, times_s: Floats, to_hz: float
) -> tuple[Floats, Floats]:
    """The lead at (b, w) times, gaps filled, and (b,) the fraction of each window that was read."""
    extent = _extent(row)
    if extent is None or not times_s.size:
        return np.full(times_s.shape, np.nan), np.zeros(len(times_s))
    filled = _next_value(row[extent].astype(np.float64))
    if to_hz < 0.99 * from_hz:
        # What the new rate cannot hold must go, or it comes back as another frequency.
        filled = _filtered(butter(4, 0.4 * to_hz, fs=from_hz, output="sos"), filled)
    samples_s = np.arange(extent.start, extent.stop) / from_hz
    values: Floats = np.interp(times_s, samples_s, filled)
    nearest = np.rint(times_s * from_hz).astype(np.int64)
    there = (nearest >= 0) & (nearest < len(row))
    read = there & np.isfinite(row[np.clip(nearest, 0, len(row) - 1)])
    return values, read.mean(axis=1)


def _extent(row: NDArray[Any]) -> slice | None:
    """From the first to the last value that is a number; None where there is none."""
    finite = np.flatnonzero(np.isfinite(row))
    return slice(int(finite[0]), int(finite[-1]) + 1) if len(finite) else None


def _next_value(values: Floats) -> Floats:
    """NaN replaced by the next value; the last one must be a number.

    >>> _next_value(np.array([1.0, np.nan, np.nan, 4.0]))
    array([1., 4., 4., 4.])
    """
    finite = np.flatnonzero(np.isfinite(values))
    return values[finite[np.searchsorted(finite, np.arange(len(values)))]]


def _bridged(values: Floats) -> Floats:
    """NaN replaced by a straight line: a step would look like a QRS complex."""
    finite = np.flatnonzero(np.isfinite(values))
    line: Floats = np.interp(np.arange(len(values)), finite, values[finite])
    return line


def _filtered(sos: Floats, values: Floats) -> Floats:
    """Filtered forwards and backwards, which leaves every wave at its time."""
    padding = min(6 * len(sos) + 3, len(values) - 1)
    result: Floats = sosfiltfilt(sos, values, padlen=padding)
    return result


def _standardised(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance along the last axis; 0 where it is flat, NaN where it was."""
    wide = signal.astype(np.float64)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    flat = spread < 1e-6
    result = np.where(
        flat, np.where(np.isnan(wide), np.nan, 0.0), centred / np.where(flat, 1, spread)
    )
    return result.astype(np.float32)
