"""Finds the machine's own samples in the points of a vector page: their distance, place and unit.

A machine draws sample k of a lead at x0 + k * step. Where the page's coordinates are rounded, x is
too, and several samples may share one x; a point that repeats the one before is not even kept, and
printer drivers leave out points on a straight line. What cannot be is that two samples stand
nearer to each other than a step, so the widest step that has room for all points is the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.recording import Calibration, Lattice, LeadCurve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Points

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Usual rates of what machines print. Only looked for where coordinates are rounded so much that
# the points do not show their distance by themselves.
_USUAL_HZ = (62.5, 75, 100, 120, 125, 150, 180, 200, 240, 250, 256, 300, 360, 400, 500, 600, 1000)
# PDF libraries keep coordinates as 32-bit floats: this much noise in mm on a large page.
_NOISE_MM = 1e-4
_PT_MM = 25.4 / 72
# A path with fewer points says little about its sampling; the longest ones are enough.
_LEAST_POINTS = 20
_MOST_PATHS = 16
_PHASES = 25
# Room for noise, in samples.
_SLACK = 0.01
# A step this near to a usual one may be it; one that near is it.
_NEAR, _STEADY = 5e-3, 1e-4
# Share of the points that must fit: print that was taken for a trace may not.
_FITTING = 0.995
# No two samples of a standard ECG are nearer on paper or further apart (mm).
_LEAST_STEP_MM, _MOST_STEP_MM = 0.01, 1.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """Samples every `step_mm` across the page, their x rounded to multiples of `rounding_mm`.

    `rounding_mm` is 0 where x is as fine as the steps need.
    """

    step_mm: float
    rounding_mm: float = 0.0

    def rate_hz(self, speed_mm_per_s: float) -> float:
        """Samples per second, as a whole number where it is one to 0.1 %."""
        rate = speed_mm_per_s / self.step_mm
        whole = float(round(rate))
        return whole if abs(whole - rate) <= 1e-3 * rate else rate


def find_sampling(paths: Sequence[Points], speed_mm_per_s: float) -> Sampling | None:
    """The sampling of paths (n, 2) in mm, x rising; None where their points show none."""
    long = sorted((p for p in paths if len(p) >= _LEAST_POINTS), key=len, reverse=True)
    if not long:
        return None
    long = long[:_MOST_PATHS]
    seen = _step_of_points([p[:, 0] for p in long])
    rounding = _rounding_mm(long)
    if rounding > 0 and (seen is None or rounding > 0.2 * seen):
        wide = _widest_step([p[:, 0] for p in long], rounding, speed_mm_per_s)
        if wide is not None and (seen is None or wide > 1.01 * seen):
            return Sampling(wide, rounding)
    if seen is None or not _LEAST_STEP_MM <= seen <= _MOST_STEP_MM:
        return None
    return Sampling(seen)


def _step_of_points(xs: Sequence[Floats]) -> float | None:
    """The step that the points show by themselves: all their distances are multiples of it."""
    steps = [np.diff(x) for x in xs]
    every = np.concatenate(steps)
    if (every < 10 * _NOISE_MM).mean() > 1 - _FITTING:
        return None
    shortest = float(np.quantile(every, 0.1))
    near = every[np.abs(every - shortest) < 0.3 * shortest]
    step = float(near.mean())
    # Longer and longer distances make the step surer, whose multiples they are.
    for most in (1.5, 8.0, 64.0, np.inf):
        used = every[every < most * step]
        off = np.abs(used / step - np.round(used / step))
        fitted = _fitted_unit(used, step)
        if fitted is None or (off > 0.3).mean() > 1 - _FITTING:
            return None
        step = fitted
    return _fitted_step(xs, [np.cumsum(np.r_[0, np.round(d / step)]) for d in steps])


def _fitted_unit(distances: Floats, unit: float) -> float | None:
    """The unit that distances are nearest multiples of; None where all are under half of it."""
    times = np.round(distances / unit)
    squares = float((times**2).sum())
    return float((distances * times).sum()) / squares if squares > 0 else None


def _fitted_step(xs: Sequence[Floats], indices: Sequence[Floats]) -> float:
    """The common slope of x over the samples' numbers, each path with a start of its own."""
    k = np.concatenate([i - i.mean() for i in indices])
    x = np.concatenate([x - x.mean() for x in xs])
    return float((k * x).sum() / (k**2).sum())


def _rounding_mm(paths: Sequence[Points]) -> float:
    """What both x and y are multiples of; 0 where there is nothing like that."""
    up = np.abs(np.concatenate([np.diff(p[:, 1]) for p in paths]))
    along = np.abs(np.concatenate([np.diff(p[:, 0]) for p in paths]))
    moved = up[up > 10 * _NOISE_MM]
    if len(moved) < _LEAST_POINTS:
        return 0.0
    unit = float(np.quantile(moved, 0.005))
    for most in (1.5, 8.0, 64.0):
        fitted = _fitted_unit(moved[moved < most * unit], unit)
        if fitted is None:
            return 0.0
        unit = fitted
    for distances in (moved[moved < 64 * unit], along[along < 64 * unit]):
        off = np.abs(distances - unit * np.round(distances / unit))
        if not len(off) or (off > 0.05 * unit + _NOISE_MM).mean() > 1 - _FITTING:
            return 0.0
    return unit


def _widest_step(xs: Sequence[Floats], rounding: float, speed_mm_per_s: float) -> float | None:
    """The widest step that has room for all points, of the usual ones and those counted."""
    usual = [speed_mm_per_s / rate for rate in _USUAL_HZ]
    # A path that only goes up and down has no step.
    counted = [float(np.ptp(x)) / (len(x) - 1) for x in xs[:6] if np.ptp(x) > 0]
    # Points that were left out make a counted step too wide by a little: the usual one goes first.
    tried = [(step, step, 0) for step in usual]
    for step in counted:
        nearest = min(usual, key=lambda one: abs(one / step - 1))
        tried.append((nearest if abs(nearest / step - 1) < _NEAR else step, step, 1))
    for _, step, _ in sorted(tried, key=lambda one: (-one[0], one[2])):
        if step <= rounding / 8:
            continue
        placed = _all_placed(xs, step, rounding)
        if placed is not None:
            fitted = _fitted_step(xs, placed)
            return fitted if _STEADY < abs(fitted / step - 1) < _NEAR else step
    return None


def _all_placed(xs: Sequence[Floats], step: float, rounding: float) -> list[Floats] | None:
    """The numbers of all paths' points; None where the step has no room on one of them."""
    placed = []
    for x in xs:
        share, numbers = _best_room(x, step, rounding)
        if share < _FITTING:
            return None
        placed.append(numbers)
    return placed


def _best_room(x: Floats, step: float, rounding: float) -> tuple[float, Floats]:
    """The share of a path's points that fit one to a sample at the best start, and which."""
    starts = x[0] + np.linspace(-0.5, 0.5, _PHASES) * rounding
    half = 0.5 * rounding * (1 + 1 / _PHASES) / step + _SLACK
    best, numbers = -1.0, x
    for start in starts:
        low, high = _in_turn((x - start) / step, half)
        share = float((low <= high).mean())
        if share > best:
            best, numbers = share, (low + high) / 2
            if share == 1.0:
                break
    return best, numbers


@dataclass(frozen=True, slots=True)
class Run:
    """A path of a lead whose samples are numbered from `least` to `most` (None: beyond either)."""

    points: Points
    least: int | None = None
    most: int | None = None


def sample_numbers(
    run: Run, start_mm: float, sampling: Sampling, slack_mm: float = 0.0
) -> tuple[Ints, Ints]:
    """The first and the last sample that each point of a path can be, `start_mm` being sample 0.

    They differ where one point stands for several samples that were rounded to the same place;
    the first is above the last where the point has no room.
    """
    at = (run.points[:, 0] - start_mm) / sampling.step_mm
    half = 0.5 * sampling.rounding_mm / sampling.step_mm
    if half < 0.25:
        nearest = np.round(at).astype(np.int64)
        return nearest, nearest
    half += _SLACK + slack_mm / sampling.step_mm
    return _in_turn(at, half, run.least, run.most)


def _in_turn(
    at: Floats, half: float, least: int | None = None, most: int | None = None
) -> tuple[Ints, Ints]:
    """The lowest and the highest numbers within `half` of `at` that rise by 1 or more."""
    order = np.arange(len(at))
    low = np.ceil(at - half).astype(np.int64)
    high = np.floor(at + half).astype(np.int64)
    low = low if least is None else np.maximum(low, least)
    high = high if most is None else np.minimum(high, most)
    low = np.maximum.accumulate(low - order) + order
    high = np.minimum.accumulate((high - order)[::-1])[::-1] + order
    return low, high


def fitted_start(
    runs: Sequence[Run], start_mm: float, sampling: Sampling, reach_mm: float | None = None
) -> float:
    """`start_mm`, the x of sample 0, freed of its rounding by all points of a column.

    It is no further off than `reach_mm`; left out, `start_mm` is as printed and rounded.
    """
    if not runs:
        return start_mm
    if sampling.rounding_mm < 0.5 * sampling.step_mm:
        x = np.concatenate([run.points[:, 0] for run in runs])
        off = (x - start_mm) / sampling.step_mm
        turn = np.exp(2j * np.pi * off).mean()
        return start_mm + sampling.step_mm * float(np.angle(turn)) / (2 * np.pi)
    reach = 0.5 * sampling.rounding_mm if reach_mm is None else reach_mm
    found = start_mm
    for _ in range(2):  # coarse, then fine: what is left to the start may be very little
        starts = found + np.linspace(-1, 1, 2 * _PHASES + 1) * reach
        between = reach / _PHASES
        room = np.array([_room(runs, start, sampling, between / 2) for start in starts])
        best = np.flatnonzero(room >= room.max())
        # Of several places that do, the one nearest to what was printed.
        groups = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
        middles = [float(starts[group].mean()) for group in groups]
        found = min(middles, key=lambda middle: abs(middle - found))
        reach = 1.5 * between
    return found


def _room(runs: Sequence[Run], start_mm: float, sampling: Sampling, slack_mm: float) -> int:
    """How many points have room where sample 0 stands within `slack_mm` of `start_mm`."""
    pairs = [sample_numbers(run, start_mm, sampling, slack_mm) for run in runs]
    return sum(int((low <= high).sum()) for low, high in pairs)


def sampled(run: Run, start_mm: float, sampling: Sampling) -> tuple[int, Floats]:
    """One path's y at its samples: the number of the first one, and (m,) y in mm.

    Between two points of a path the line is straight.
    """
    low, high = sample_numbers(run, start_mm, sampling)
    first, last = int(min(low[0], high[0])), int(max(low[-1], high[-1]))
    total, count = np.zeros(last - first + 1), np.zeros(last - first + 1)
    for more in range(int(np.clip(high - low, 0, 64).max()) + 1):
        held = np.flatnonzero(low + more <= np.maximum(high, low))
        slot = np.clip(low[held] + more - first, 0, last - first)
        np.add.at(total, slot, run.points[held, 1])
        np.add.at(count, slot, 1.0)
    known = np.flatnonzero(count)
    every: Floats = np.interp(np.arange(len(total)), known, total[known] / count[known])
    return first, every


def lattice_of(curves: Sequence[LeadCurve], calibration: Calibration) -> Lattice | None:
    """The machine's own sampling, from curves that stand on their samples; None without such.

    The unit is looked for in the steps between neighbouring samples. Where the page's coordinates
    are rounded to hundredths of a point or coarser, those are its steps and not the machine's:
    `step_uv` is None then, and `residual_uv` what that rounding does to y. It is 0 where y is as
    fine as can be.
    """
    known = [c for c in curves if c.sample_mm is not None and np.isfinite(c.y_mm).any()]
    if not known or known[0].sample_mm is None:
        return None
    fs_hz = Sampling(known[0].sample_mm).rate_hz(calibration.speed_mm_per_s)
    # In microvolt: the leads' gains may differ.
    signals_uv = [1000 * c.y_mm / calibration.gain_of(c.lead_box.lead) for c in known]
    unit = _unit_uv(signals_uv, 1000 / calibration.gain_of(known[0].lead_box.lead))
    if unit is None:
        return Lattice(fs_hz, None, 0.0)
    hundredths = unit * calibration.gain_of(known[0].lead_box.lead) / 1000 / (_PT_MM / 100)
    if abs(hundredths - round(hundredths)) < 2e-3 * hundredths:
        return Lattice(fs_hz, None, unit / 12**0.5)
    return Lattice(fs_hz, unit, _off_lattice_uv(signals_uv, unit))


_LEAST_UNIT_UV, _MOST_UNIT_UV = 0.2, 40.0
_CLEAR = 0.95  # how much of all steps must agree on a unit; chance gives next to nothing
# So many of them tell first whether it is worth asking all. Where those agree clearly, the mean of
# these is within 0.02 of theirs; the margin is several times that.
_ASKED_FIRST, _MAYBE = 250, 0.8


def _unit_uv(signals_uv: Sequence[Floats], uv_per_mm: float) -> float | None:
    """The largest unit of which all steps between samples are multiples."""
    steps = np.abs(np.concatenate([np.diff(s) for s in signals_uv]))
    noise = 10 * _NOISE_MM * uv_per_mm
    steps = np.sort(steps[np.isfinite(steps) & (steps > noise)])
    best = None
    for unit in np.geomspace(_MOST_UNIT_UV, max(_LEAST_UNIT_UV, 3 * noise), 1500):
        small = steps[: np.searchsorted(steps, 12 * unit)]
        if len(small) <= max(50, 0.2 * len(steps)):
            continue
        if _agreement(small[:: -(-len(small) // _ASKED_FIRST)], unit) < _MAYBE:
            continue
        if _agreement(small, unit) > _CLEAR:
            best = float(unit)
            break
    if best is None:
        return None
    for most in (4.0, 12.0, 64.0, 512.0):
        best = _fitted_unit(steps[steps < most * best], best)
        if best is None:
            return None
    return best if _agreement(steps[steps < 12 * best], best) > _CLEAR else None


def _agreement(steps: Floats, unit: float) -> float:
    """1 where all steps are multiples of the unit, 0 where they are anything, or less than it."""
    return float(np.where(steps < unit / 2, 0.0, np.cos(2 * np.pi * steps / unit)).mean())


def _off_lattice_uv(signals_uv: Sequence[Floats], unit: float) -> float:
    """Root of the mean square distance from the nearest multiple, each lead with its own zero."""
    off = []
    for signal in signals_uv:
        at = signal[np.isfinite(signal)] / unit
        zero = np.angle(np.exp(2j * np.pi * at).mean()) / (2 * np.pi)
        off.append(at - zero - np.round(at - zero))
    return float(unit * np.sqrt(np.mean(np.concatenate(off) ** 2)))
