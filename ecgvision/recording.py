"""The shapes of what is read off a page: curves in mm, calibrated signals, and how they came about.

All are frozen. Times are seconds on the page's one time axis, which starts with its first column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.types import LEADS, LeadBox, Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Origin = Literal["vector", "raster"]

LIMB_LEADS = LEADS[:6]


@dataclass(frozen=True, slots=True)
class Lattice:
    """The machine's own samples, where a vector page still has them.

    `fs_hz` is the sampling rate, `step_uv` the height of one unit of the machine's converter (None
    where no steps were found), `residual_uv` how far the page's points lie off the lattice (root
    of the mean square).
    """

    fs_hz: float
    step_uv: float | None
    residual_uv: float


@dataclass(frozen=True, slots=True)
class LeadCurve:
    """One box's line as read off the upright page, before any scale: `x_mm` rises, (n,) float64.

    `y_mm` is NaN where nothing could be read. `sample_mm` is the distance of the machine's own
    samples where `x_mm` are those. `confidence` runs from 0 to 1. `reason` is a code that says why
    there is no line, or only part of one; None where all is well.
    """

    lead_box: LeadBox
    x_mm: Floats
    y_mm: Floats
    origin: Origin
    confidence: float
    reason: str | None = None
    sample_mm: float | None = None


@dataclass(frozen=True, slots=True)
class ScaleSource:
    """What one source says of a scale, in mm of the page per s or per mV.

    `off` is how far that is from what was used, as a fraction: 0.031 is 3.1 % more.
    """

    source: Literal["text", "grid", "pulse", "layout", "given"]
    value: float
    off: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scale of one page: `speed_mm_per_s` and `gain_mm_per_mv` in mm of the page as measured.

    `chest_gain_mm_per_mv` is that of V1 to V6 where the page prints them at another gain than the
    limb leads. `zero_mm` gives, for those rows whose pulse was measured, the height of 0 mV: the
    nominal baseline of the row and the level found. `speed_from` and `gain_from` name the source
    that was used; the others are in `speed_sources` and `gain_sources`, with how far they are off.
    """

    speed_mm_per_s: float
    gain_mm_per_mv: float
    speed_from: str
    gain_from: str
    speed_sources: tuple[ScaleSource, ...] = ()
    gain_sources: tuple[ScaleSource, ...] = ()
    chest_gain_mm_per_mv: float | None = None
    zero_mm: tuple[tuple[float, float], ...] = ()
    notices: tuple[Notice, ...] = ()

    def gain_of(self, lead: str) -> float:
        """The gain of one lead in mm/mV."""
        if self.chest_gain_mm_per_mv is not None and lead not in LIMB_LEADS:
            return self.chest_gain_mm_per_mv
        return self.gain_mm_per_mv


@dataclass(frozen=True, slots=True)
class LeadSignal:
    """One printed box as a signal: `signal_mv` is (k,) float32, its first sample at `start_s`.

    `coverage` is the fraction of the box's window that was read; where it is under 1, `signal_mv`
    has NaN and `reason` says why. `origin` is None where nothing was read at all.
    """

    lead: str
    rhythm_strip: bool
    start_s: float
    stop_s: float
    signal_mv: NDArray[np.float32] = field(repr=False)
    origin: Origin | None
    confidence: float
    coverage: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Calibrated signals of one page.

    `signal_mv` is (12, n) float32 in the order of `LEADS`, sample i at i / fs_hz seconds; NaN where
    a lead is not printed or could not be read. `rhythm_mv` is (m, n) float32 on the same axis, its
    leads named in `rhythm_leads`; where a strip repeats a lead, `signal_mv` has the longer of the
    two. `boxes` has every printed box by itself, in the layout's order: where it came from, how
    sure, how complete, and why not. `lattice` is the machine's own sampling, where it was found.
    """

    signal_mv: NDArray[np.float32] = field(repr=False)
    fs_hz: float
    rhythm_mv: NDArray[np.float32] = field(repr=False)
    rhythm_leads: tuple[str, ...] = ()
    leads: tuple[str, ...] = LEADS
    boxes: tuple[LeadSignal, ...] = field(default=(), repr=False)
    lattice: Lattice | None = None

    @property
    def seconds(self) -> float:
        """How long the time axis is."""
        return float(self.signal_mv.shape[1] / self.fs_hz)

    def lead(self, name: str) -> NDArray[np.float32]:
        """(n,) float32, mV, of one of the twelve leads."""
        signal: NDArray[np.float32] = self.signal_mv[self.leads.index(name)]
        return signal
