"""Made-up ECGs in which scar and a weak left ventricle show as far as they are told to.

The heart vector of `ecgvision.testing.synthetic` is bent: a scar turns the first part of the QRS
away from its territory (Q waves, loss of R), inverts T there, breaks the QRS up, widens it and
takes voltage; a low ejection fraction widens the QRS, takes voltage, turns it backwards and inverts
the lateral T. All of it stays one vector, so that Einthoven's and Goldberger's sums hold. How large
the changes are is made up. Nothing here is fitted to patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.testing.synthetic import DOWER, WAVES, Ecg, Wave, beat_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Territory = Literal["none", "anterior", "inferior", "lateral"]
TERRITORIES: tuple[Territory, ...] = ("anterior", "inferior", "lateral")

_ATRIA, _QRS, _T = slice(0, 2), slice(2, 5), slice(5, 7)
# Frank's x to the left, y to the feet, z to the back: the way that the vector is pushed by the loss
# of each territory, in mV for the whole extent: during the first part of the QRS, at its peak, and
# during T.
_SCAR: dict[Territory, tuple[tuple[float, float, float], ...]] = {
    "anterior": ((-0.10, 0.00, 0.70), (-0.15, 0.00, 0.35), (-0.05, 0.00, 0.42)),
    "inferior": ((0.05, -0.75, 0.00), (0.00, -0.25, 0.00), (0.00, -0.42, 0.00)),
    "lateral": ((-0.75, 0.00, 0.05), (-0.40, 0.00, 0.00), (-0.50, 0.00, 0.00)),
}
_FRAGMENTS = 3
# A ventricle that throws out this share or more, in percent, shows nothing; at the lower one all.
_LVEF_SHOWS, _LVEF_WHOLE = 55.0, 30.0


@dataclass(frozen=True, slots=True)
class Effects:
    """How strongly scar and low LVEF show in the ECG: 0 not at all, 1 as described here."""

    scar: float = 1.0
    lvef: float = 1.0


@dataclass(frozen=True, slots=True)
class Disease:
    """What an ECG's heart has: scar of a territory, and its ejection fraction in percent."""

    territory: Territory = "none"
    lvef_percent: float = 65.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """How long and how well it is recorded; `noise_mv` white, `wander_mv` slow, of each lead."""

    seconds: float = 10.0
    fs_hz: float = 250.0
    noise_mv: float = 0.008
    wander_mv: float = 0.03


@dataclass(frozen=True)
class _Heart:
    """What differs between people, whatever they have; drawn in full for everyone."""

    size: float
    width: float
    repolarisation: float
    turn: Floats
    quirk_mv: Floats
    extent: float
    severity: float
    fragments_mv: Floats
    fragments_s: Floats
    heart_rate_bpm: float


def simulated_ecg(
    heart_seed: Sequence[int],
    beat_seed: Sequence[int],
    disease: Disease,
    effects: Effects,
    recorded: Recorded | None = None,
) -> Ecg:
    """The same ECG for the same arguments; with effects of 0 the same whatever the disease.

    `heart_seed` is the patient's, `beat_seed` that of one recording. All leads are whole
    microvolts, and the limb leads' sums hold exactly.
    """
    how = recorded or Recorded()
    heart = _heart(np.random.default_rng(list(heart_seed)))
    rng = np.random.default_rng(list(beat_seed))
    weak = _weakness(disease.lvef_percent) * heart.severity * effects.lvef
    rate_bpm = heart.heart_rate_bpm * float(rng.normal(1.0, 0.04)) + 10.0 * weak
    peaks_s = beat_times(rng, 60.0 / min(max(rate_bpm, 40.0), 150.0), how.seconds)
    times_s = np.arange(round(how.seconds * how.fs_hz)) / how.fs_hz
    waves = _waves(heart, disease, effects, weak)
    beats = rng.normal(1.0, 0.02, (len(WAVES), len(peaks_s)))
    eight_mv = np.array(DOWER) @ _vector(waves, beats, times_s, peaks_s)
    eight_mv += _wander(rng, times_s, how.wander_mv)
    eight_mv += how.noise_mv * rng.standard_normal(eight_mv.shape)
    step_uv = np.array([2.0, 2.0, 1, 1, 1, 1, 1, 1])[:, None]
    eight_uv = np.rint(eight_mv * 1000 / step_uv) * step_uv
    inside = peaks_s[(peaks_s >= 0) & (peaks_s < how.seconds)]
    return Ecg.from_eight(eight_uv, how.fs_hz, inside.tolist())


def _heart(rng: np.random.Generator) -> _Heart:
    """One in twelve has flat T waves and one in twenty a wide QRS, for no reason that is asked."""
    repolarisation = float(np.exp(rng.normal(0.0, 0.22))) * (0.4 if rng.random() < 1 / 12 else 1.0)
    width = float(np.exp(rng.normal(0.0, 0.06))) * (1.25 if rng.random() < 1 / 20 else 1.0)
    return _Heart(
        size=float(np.exp(rng.normal(0.0, 0.17))),
        width=width,
        repolarisation=repolarisation,
        turn=_turn(*np.deg2rad(rng.normal(0.0, 11.0, 2))),
        quirk_mv=rng.normal(0.0, 0.04, 3),
        extent=float(rng.uniform(0.5, 1.0)),
        severity=float(rng.uniform(0.75, 1.25)),
        fragments_mv=rng.normal(0.0, 1.0, (_FRAGMENTS, 3)),
        fragments_s=rng.uniform(-0.012, 0.036, _FRAGMENTS),
        heart_rate_bpm=float(np.clip(rng.normal(72.0, 11.0), 48.0, 110.0)),
    )


def _turn(frontal: float, level: float) -> Floats:
    """A turn of the heart about the axis to the back, then about that to the feet."""
    a, b, c, d = np.cos(frontal), np.sin(frontal), np.cos(level), np.sin(level)
    about_feet = np.array([[c, 0, -d], [0, 1, 0], [d, 0, c]])
    about_back = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]])
    return np.asarray(about_feet @ about_back, dtype=np.float64)


def _weakness(lvef_percent: float) -> float:
    """From 0, where the ejection fraction shows nothing, to 1, where it shows all."""
    share = (_LVEF_SHOWS - lvef_percent) / (_LVEF_SHOWS - _LVEF_WHOLE)
    return float(np.clip(share, 0.0, 1.0))


def _waves(heart: _Heart, disease: Disease, effects: Effects, weak: float) -> list[Wave]:
    """The healthy waves, turned and sized; then what scar and weakness add to them."""
    scarred = heart.extent * effects.scar if disease.territory != "none" else 0.0
    width = heart.width * (1 + 0.18 * scarred + 0.40 * weak)
    voltage = heart.size * max(0.3, (1 - 0.15 * scarred) * (1 - 0.22 * weak))
    healthy = list(WAVES)
    waves = [_turned(wave, heart, 1.0) for wave in healthy[_ATRIA]]
    waves += [_wider(_turned(wave, heart, voltage), width) for wave in healthy[_QRS]]
    waves += [_turned(wave, heart, heart.repolarisation) for wave in healthy[_T]]
    late = healthy[_T][0]
    pushes = [
        (Wave(-0.016, 0.0115, _mv(heart.quirk_mv)), 1.0),
        (Wave(0.008, 0.016, (-0.05, -0.10, 0.35)), weak),
        (replace(late, peak_mv=(-0.38, -0.05, 0.05)), weak),
    ]
    if disease.territory != "none":
        first, peak, t = _SCAR[disease.territory]
        pushes += [
            (Wave(-0.015, 0.0125, first), scarred),
            (Wave(0.002, 0.0110, peak), scarred),
            (replace(late, peak_mv=t), scarred),
        ]
    broken = 0.09 * scarred + 0.04 * weak
    pushes += [
        (Wave(float(at_s), 0.0045, _mv(push)), broken)
        for at_s, push in zip(heart.fragments_s, heart.fragments_mv, strict=True)
    ]
    return waves + [
        wave if wave.stretches else _wider(wave, width)
        for wave in (replace(w, peak_mv=_mv(np.array(w.peak_mv) * much)) for w, much in pushes)
    ]


def _turned(wave: Wave, heart: _Heart, times: float) -> Wave:
    return replace(wave, peak_mv=_mv(times * (heart.turn @ np.array(wave.peak_mv))))


def _wider(wave: Wave, width: float) -> Wave:
    return replace(wave, delay_s=wave.delay_s * width, sigma_s=wave.sigma_s * width)


def _mv(vector: Floats) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z


def _vector(waves: Sequence[Wave], beats: Floats, times_s: Floats, peaks_s: Floats) -> Floats:
    """(3, n) mV: the sum of all waves of all beats, which differ in size as `beats` has it."""
    lengths_s = np.diff(peaks_s, append=2 * peaks_s[-1] - peaks_s[-2])
    vector = np.zeros((3, len(times_s)))
    for number, wave in enumerate(waves):
        longer = np.sqrt(lengths_s) if wave.stretches else np.ones_like(lengths_s)
        centres_s, sigmas_s = peaks_s + wave.delay_s * longer, wave.sigma_s * longer
        far = (times_s - centres_s[:, None]) / sigmas_s[:, None]
        shape = beats[number % len(beats)] @ np.exp(-0.5 * far**2)
        vector += np.outer(wave.peak_mv, shape)
    return vector


def _wander(rng: np.random.Generator, times_s: Floats, wander_mv: float) -> Floats:
    """(8, n) mV: breathing and slow drift of each electrode."""
    wander = np.zeros((8, len(times_s)))
    for low_hz, high_hz in ((0.05, 0.15), (0.2, 0.35)):
        frequency_hz = rng.uniform(low_hz, high_hz)
        phases = rng.uniform(0, 2 * np.pi, (8, 1))
        size_mv = wander_mv * np.abs(rng.standard_normal((8, 1)))
        wander += size_mv * np.sin(2 * np.pi * frequency_hz * times_s + phases)
    return wander
