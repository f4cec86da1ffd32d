"""A made-up 12-lead ECG whose every sample and beat is known: no patient stands behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Frank axes: x to the patient's left, y to the feet, z to the back. Rows I, II, V1 to V6.
# Dower GE, Machado HB, Osborne JA. On deriving the electrocardiogram from vectorcardiographic
# leads. Clin Cardiol 1980;3(2):87-95.
DOWER = (
    (0.632, -0.235, 0.059),
    (0.235, 1.066, -0.132),
    (-0.515, 0.157, -0.917),
    (0.044, 0.164, -1.387),
    (0.882, 0.098, -1.277),
    (1.213, 0.127, -0.601),
    (1.125, 0.127, -0.086),
    (0.831, 0.076, 0.230),
)
"""How I, II and V1 to V6 see the heart vector."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One Gaussian bump of the heart vector: `peak_mv` in Frank's x, y, z.

    `delay_s` counts from the R peak. With `stretches` it is that of a heart at 60 beats per
    minute and shrinks with the square root of the beat's length, as Bazett has it for QT.
    """

    delay_s: float
    sigma_s: float
    peak_mv: tuple[float, float, float]
    stretches: bool = False


# Amplitudes and times of a healthy adult at rest. The atria fire front first, then back; the
# septum from left to right (Q), then the left ventricle (R), its base last (S); repolarisation
# rises slowly and falls fast (T from two bumps).
WAVES = (
    Wave(-0.168, 0.020, (0.060, 0.055, -0.045)),
    Wave(-0.138, 0.021, (0.070, 0.065, 0.030)),
    Wave(-0.019, 0.0085, (-0.160, -0.080, -0.340)),
    Wave(0.000, 0.0105, (1.150, 0.650, 0.250)),
    Wave(0.018, 0.0120, (-0.080, -0.120, 0.780)),
    Wave(0.245, 0.050, (0.160, 0.100, -0.100), stretches=True),
    Wave(0.290, 0.030, (0.150, 0.110, -0.090), stretches=True),
)
"""Two waves of the atria, three of the ventricles, two of their repolarisation."""


@dataclass(frozen=True, eq=False)
class Ecg:
    """A 12-lead recording: `signal_mv` is (12, n) float32 in the order of `LEADS`.

    Sample i is at i / fs_hz seconds; NaN where a lead was not recorded. `r_peaks_s` are the
    times of the R peaks, empty where they are not known.
    """

    signal_mv: NDArray[np.float32]
    fs_hz: float
    r_peaks_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape, kind = self.signal_mv.shape, self.signal_mv.dtype
        if len(shape) != 2 or shape[0] != len(LEADS) or kind != np.float32:
            raise ValueError(f"an Ecg needs (12, n) float32 in mV, found {shape} {kind}")
        if not 0 < self.fs_hz < 1e6:
            raise ValueError(f"the sampling rate must be positive, found {self.fs_hz} Hz")

    @property
    def seconds(self) -> float:
        return float(self.signal_mv.shape[1] / self.fs_hz)

    def lead(self, name: str) -> NDArray[np.float32]:
        """(n,) float32, mV, of one lead."""
        lead: NDArray[np.float32] = self.signal_mv[LEADS.index(name)]
        return lead

    def window(
        self, name: str, start_s: float, stop_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times in seconds and mV of a lead's samples with start_s <= time < stop_s."""
        slack = 1e-6  # of a sample: 2.5 s at 500 Hz must not lose or gain one to rounding
        first = max(0, math.ceil(start_s * self.fs_hz - slack))
        last = min(self.signal_mv.shape[1], math.ceil(stop_s * self.fs_hz - slack))
        times_s = np.arange(first, max(first, last)) / self.fs_hz
        return times_s, self.lead(name)[first : max(first, last)]

    @classmethod
    def from_eight(cls, leads8_uv: ArrayLike, fs_hz: float, r_peaks_s: Sequence[float] = ()) -> Ecg:
        """From (8, n) microvolt: I, II, V1 to V6. The other limb leads follow from I and II.

        Einthoven and Goldberger: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2,
        aVF = II - I / 2.
        """
        eight = np.asarray(leads8_uv, dtype=np.float64)
        if eight.ndim != 2 or eight.shape[0] != 8:
            raise ValueError(f"expected (8, n) for I, II, V1 to V6, found {eight.shape}")
        i, ii = eight[0], eight[1]
        limb = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
        signal_mv = np.concatenate([limb, eight[2:]]) / 1000
        return cls(signal_mv.astype(np.float32), float(fs_hz), tuple(map(float, r_peaks_s)))


def synthetic_ecg(
    seed: int = 0,
    heart_rate_bpm: float = 72.0,
    seconds: float = 10.0,
    fs_hz: float = 500.0,
    noise_mv: float = 0.0,
) -> Ecg:
    """A healthy-looking sinus rhythm, the same for the same arguments.

    A heart vector of Gaussian bumps (after McSharry et al., IEEE Trans Biomed Eng 2003;50(3):
    289-294, who use one lead's worth of them) is seen by the eight independent leads through the
    lead vectors of Dower, Machado and Osborne (Clin Cardiol 1980;3(2):87-95). Beats differ by a
    few per cent in length and size; `seed` also varies the heart a little. `noise_mv` is the
    standard deviation of white noise on each of the eight leads.

    I and II are whole multiples of 2 microvolt and V1 to V6 of 1, so that all twelve leads are
    whole microvolts and the limb leads' sums hold exactly.
    """
    if not 20 <= heart_rate_bpm <= 250:
        raise ValueError(f"the heart rate must lie in 20 to 250 per minute, found {heart_rate_bpm}")
    if not seconds > 0 or not 50 <= fs_hz <= 10_000 or noise_mv < 0:
        raise ValueError(
            f"expected seconds > 0, 50 to 10000 Hz, noise >= 0 mV; "
            f"found {seconds} s, {fs_hz} Hz, {noise_mv} mV"
        )
    rng = np.random.default_rng(seed)
    peaks_s = beat_times(rng, 60.0 / heart_rate_bpm, seconds)
    times_s = np.arange(round(seconds * fs_hz)) / fs_hz
    eight_mv = np.array(DOWER) @ _heart_vector(rng, times_s, peaks_s)
    if noise_mv > 0:
        eight_mv += rng.normal(0.0, noise_mv, eight_mv.shape)
    step_uv = np.array([2.0, 2.0, 1, 1, 1, 1, 1, 1])[:, None]
    eight_uv = np.rint(eight_mv * 1000 / step_uv) * step_uv
    inside = peaks_s[(peaks_s >= 0) & (peaks_s < seconds)]
    return Ecg.from_eight(eight_uv, fs_hz, inside.tolist())


def beat_times(rng: np.random.Generator, mean_s: float, seconds: float) -> NDArray[np.float64]:
    """R peaks in seconds, from two beats before the recording to two after it.

    Breathing (15 a minute) lengthens and shortens the beats by 2 %, chance by 0.7 %.
    """
    beats = math.ceil(seconds / mean_s) + 5
    first_s = rng.uniform(0.35, 0.65) * mean_s - 2 * mean_s
    even_s = first_s + np.arange(beats) * mean_s
    breath_s = 0.02 * mean_s * np.cumsum(np.sin(2 * np.pi * (even_s / 4 + rng.uniform())))
    chance_s = 0.007 * mean_s * rng.standard_normal(beats)
    return np.asarray(even_s + breath_s + chance_s, dtype=np.float64)


def _heart_vector(
    rng: np.random.Generator, times_s: NDArray[np.float64], peaks_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(3, n) mV: the sum of all waves of all beats."""
    lengths_s = np.diff(peaks_s, append=2 * peaks_s[-1] - peaks_s[-2])
    heart = rng.normal(1.0, 0.04, (len(WAVES), 1))
    beats = rng.normal(1.0, 0.02, (len(WAVES), len(peaks_s)))
    vector = np.zeros((3, len(times_s)))
    for wave, sizes in zip(WAVES, heart * beats, strict=True):
        stretch = np.sqrt(lengths_s) if wave.stretches else np.ones_like(lengths_s)
        for peak_s, size, longer in zip(peaks_s, sizes, stretch, strict=True):
            distance = (times_s - peak_s - wave.delay_s * longer) / (wave.sigma_s * longer)
            vector += np.outer(wave.peak_mv, size * np.exp(-0.5 * distance**2))
    return vector
