"""Where the QRS complexes are on leads printed side by side, and how to cut out whole beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter1d

from ecgvision.trace import STEP_MM, LeadTrace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Two complexes are never closer than this (240 beats a minute).
_REFRACTORY_S = 0.25
# A QRS lasts about this long; its slopes are summed over it.
_QRS_S = 0.1
# Around a complex this much must be seen for it to count as whole.
_WHOLE_S = 0.06


def qrs_times(traces: Sequence[LeadTrace], speed_mm_per_s: float) -> Floats:
    """Seconds from the left edge of their boxes at which simultaneous leads have a QRS complex.

    The steepness of all the leads is added up, so that a complex small in one lead is found by
    the others; a complex is where the sum over 0.1 s stands out.
    """
    step_s = STEP_MM / speed_mm_per_s
    count = max((len(trace.y_mm) for trace in traces), default=0)
    if count < _QRS_S / step_s * 3:
        return np.empty(0)
    steep = np.zeros(count)
    for trace in traces:
        slope = np.abs(np.diff(trace.y_mm, prepend=trace.y_mm[:1]))
        slope = np.nan_to_num(np.minimum(slope, 4.0))
        # A lead that is noisy or jumps where a neighbour begins must not drown the others.
        steep[: len(slope)] += slope / (np.percentile(slope, 99) + 0.2)
    width = max(3, round(_QRS_S / step_s))
    energy = uniform_filter1d(steep, width, mode="constant")
    high = float(np.percentile(energy, 98))
    floor = float(np.median(energy))
    from scipy.signal import find_peaks  # takes as long to load as a page to convert

    peaks, _ = find_peaks(
        energy,
        height=floor + 0.4 * (high - floor),
        prominence=0.3 * (high - floor),
        distance=max(1, round(_REFRACTORY_S / step_s)),
    )
    times_s: Floats = (peaks + 0.5) * step_s
    return times_s


def beats_window(qrs_s: Floats, window_s: float, beats: int) -> tuple[float, float, int]:
    """(start, stop, complexes) in seconds of the first part of a window that shows whole beats.

    It begins and ends between complexes: before the first one's P wave, after the last one's T
    wave where the rhythm leaves room. With fewer than `beats` complexes the whole window comes
    back with the number there are.

    >>> beats_window(np.array([0.5, 1.5, 2.5, 3.5]), 5.0, 3)
    (0.1, 3.1, 3)
    """
    qrs = [float(s) for s in qrs_s if _WHOLE_S <= s <= window_s - _WHOLE_S]
    if len(qrs) < beats:
        return 0.0, window_s, len(qrs)
    first, last = qrs[0], qrs[beats - 1]
    rhythm_s = (qrs[-1] - qrs[0]) / (len(qrs) - 1) if len(qrs) > 1 else 0.8
    cut_before = [s for s in qrs_s if s < first]
    start = max(0.0, first - min(0.4, 0.4 * rhythm_s))
    if cut_before:
        start = max(start, cut_before[-1] + 2 * _WHOLE_S)
    stop = min(window_s, last + min(0.6, 0.6 * rhythm_s))
    following = [s for s in qrs_s if s > last]
    if following:
        stop = min(stop, float(following[0]) - 2 * _WHOLE_S)
    return round(start, 6), round(stop, 6), beats
