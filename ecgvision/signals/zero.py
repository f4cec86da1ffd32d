"""Finds where 0 mV is in every row of a page, to far less than the pen's width.

The ink of a row mostly runs beside 0 mV: T waves, ST segments and wander lift it. What tells 0 mV
are the feet of the calibration pulses, the limb leads' sums, which hold for 0 mV and nothing else,
and the distances of the rows that the format declares. All enter one weighted least squares fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.recording import Calibration, LeadCurve
from ecgvision.signals.sums import best_sums, spread_of, standing_together
from ecgvision.types import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Source = Literal["pulse", "physics", "layout", "level"]

# A row's usual level is that far from 0 mV; a pattern that is not borne out counts no more.
_WEAK_MM = 1.0
# Rows' levels must be this near to the pattern: where nothing else confirms it, where one sum or
# pulse does, where more do.
_MOST_STRAY_MM = (0.8, 1.5, 3.0)
# Machines that move single rows (a row slack over the usual) must show that they did not.
_USUAL_SLACK_MM = 5.0
# A row's 0 mV is known from what gives it to this. What skew is left is 0.1 degrees.
_KNOWN_MM, _SKEW = 0.3, 0.00175
# More than that times what is expected of the squares, and observations contradict each other.
_CONTRADICT = 4.0
# The paper may be printed so much off its size. Of two scales the better one must be so much
# better, with rows' levels that are sure to this.
_MOST_OFF, _CLEARLY, _LEVEL_MM = 0.08, 9.0, 0.5
# A vector page's y differs by more than its noise, or not at all. Of its rounding, that much is
# left in a mean.
_LEAST_STEP_MM, _ROUNDED = 1e-3, 0.05
# Leads whose factors add up to less say nothing of the slope; others do to the error of a mean at
# either end of so much paper.
_LEAST_FACTOR, _LONG_MM = 0.1, 50.0


@dataclass(frozen=True, slots=True)
class RowZero:
    """Where 0 mV is in one row: `zero_mm` in the middle of the page, as y in mm.

    `baseline_mm` is the nominal one of the measured layout's row. `slope` is mm of y per mm of x,
    common to the page. `sigma_mm` is the standard deviation of `zero_mm`. `source` is what it
    comes from: the row's own pulse; the sums of limb leads; the row's declared place beside rows
    that are known; or only the usual level of the ink.
    """

    baseline_mm: float
    zero_mm: float
    slope: float
    sigma_mm: float
    source: Source


@dataclass(frozen=True, slots=True)
class _Errors:
    """What a kind of page tells, to how many mm: a pulse, the pattern, a sum at best.

    `spread` is what leads leave over at their samples where all is well, `scale` how sure a
    measured scale of the pattern is and `unscaled` a scale of 1. One that is within `same` of 1
    cannot be told from it. `slopes` tells whether some skew may be left.
    """

    pulse: float
    pattern: float
    least: float
    spread: float
    scale: float
    unscaled: float
    same: float
    slopes: bool


_VECTOR = _Errors(0.002, 0.01, 0.0002, 0.05, 2e-5, 2e-5, 2e-4, slopes=False)
_RASTER = _Errors(0.03, 0.03, 0.01, 0.15, 5e-4, 5e-3, 3e-3, slopes=True)


def _errors(curves: Sequence[LeadCurve]) -> _Errors:
    """What the page tells at best: its pulses are no finer than the least step of its curves."""
    if any(c.origin == "raster" for c in curves):
        return _RASTER
    steps = np.abs(np.concatenate([np.empty(0), *(np.diff(c.y_mm) for c in curves)]))
    steps = steps[steps > _LEAST_STEP_MM]
    unit = float(np.quantile(steps, 0.02)) if len(steps) else 0.0
    pulse = float(np.hypot(_VECTOR.pulse, unit / 12**0.5))
    return replace(_VECTOR, pulse=pulse, least=_VECTOR.least + _ROUNDED * unit)


@dataclass(frozen=True, slots=True)
class _Observation:
    """`terms` times the unknowns is `value`, in mm (a trend's: mm per mm), to `sigma`.

    The unknowns are the 0 mV of every row, the shift of the page, the pattern's scale, the slope.
    """

    kind: Literal["pulse", "sum", "trend", "other"]
    terms: Floats
    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class _Fit:
    """The unknowns and their standard deviations, the sum of squares and how many were free."""

    values: Floats
    sigmas: Floats
    squares: float
    free: int

    @property
    def contradicts(self) -> float:
        """The share by which sigmas are too small; 1 where nothing contradicts."""
        high = self.free > 0 and self.squares > _CONTRADICT * self.free
        return float(np.sqrt(self.squares / self.free)) if high else 1.0


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The rows' declared places at the page's scale, and how sure they and the scale are."""

    places_mm: Floats
    scale_sigma: float
    sigma_mm: float

    def observed(self) -> list[_Observation]:
        count = len(self.places_mm)
        arms = self.places_mm - self.places_mm.mean()
        found = [_Observation("other", _unknown(count, count + 1), 0.0, self.scale_sigma)]
        for at, place in enumerate(self.places_mm):
            terms = _unknown(count, at)
            terms[count], terms[count + 1] = -1.0, -arms[at]
            found.append(_Observation("other", terms, float(place), self.sigma_mm))
        return found


def zero_line(zero: RowZero, layout: Layout, x_mm: Floats) -> Floats:
    """The y of 0 mV at `x_mm`, both in mm, in the row of `zero` on a page of `layout`."""
    line: Floats = zero.zero_mm + zero.slope * (x_mm - layout.page_mm[0] / 2)
    return line


def row_zeros(
    curves: Sequence[LeadCurve], layout: Layout, declared: Layout | None, calibration: Calibration
) -> tuple[RowZero, ...]:
    """The 0 mV of each of `layout.rows`, in their order.

    `curves` are one per box of `layout`, the layout as measured on the page; `declared` is the
    same layout as its format declares it, None where nothing is known of its rows' distances.

    Sums of leads that leave a wave over, as they do where rows are mislabelled, count less by as
    much. Sums that contradict the pulses give way to them. The declared pattern counts only as far
    as pulses and sums, or else the rows' levels, bear it out.

    Raises `ValueError` where the curves are not those of the layout's boxes.
    """
    if [c.lead_box.lead for c in curves] != [b.lead for b in layout.boxes]:
        raise ValueError(
            f"layout {layout.name!r}: expected one curve for each of {len(layout.boxes)} boxes, "
            f"in their order, found {len(curves)}"
        )
    errors = _errors(curves)
    count = len(layout.rows)
    pulses = list(_pulses(layout, calibration, errors))
    sums, off_pulses_mm = _beside_pulses(list(_sums(curves, layout, calibration, errors)), pulses)
    direct = [*pulses, *sums]
    levels = _levels(curves, layout)
    pattern, off_pattern_mm = _pattern(direct, levels, layout, declared, calibration, errors)
    # Where every row has its pulse, it matters little that the pattern is not theirs.
    doubt_mm = off_pulses_mm if len(pulses) > count else max(off_pulses_mm, off_pattern_mm)
    # Without a strong pattern: what pulses, sums and levels say.
    weak = replace(pattern, sigma_mm=_WEAK_MM).observed() if pattern else []
    without = np.hypot(_fit([*direct, *levels, *weak]).sigmas, doubt_mm)
    fit = _fit([*direct, *levels, *(pattern.observed() if pattern else [])])
    sigmas = np.hypot(fit.sigmas, doubt_mm)
    slope = float(fit.values[-1]) if errors.slopes else 0.0
    pulsed = {int(np.argmax(o.terms[:count])) for o in pulses if o.kind == "pulse"}
    found = []
    for at, row in enumerate(layout.rows):
        source: Source = "layout" if sigmas[at] < _KNOWN_MM else "level"
        if at in pulsed or without[at] < _KNOWN_MM:
            source = "pulse" if at in pulsed else "physics"
        zero_mm, sigma_mm = float(fit.values[at]), float(sigmas[at])
        found.append(RowZero(row[0].baseline_mm, zero_mm, slope, sigma_mm, source))
    return tuple(found)


def _unknown(rows: int, at: int) -> Floats:
    terms = np.zeros(rows + 3)
    terms[at] = 1.0
    return terms


def _pulses(layout: Layout, calibration: Calibration, errors: _Errors) -> Iterator[_Observation]:
    """What is usual of the skew, and the feet of the rows' pulses beside their first leads."""
    count, rows = len(layout.rows), layout.rows
    yield _Observation("other", _unknown(count, count + 2), 0.0, _SKEW)
    for baseline_mm, foot_mm in calibration.zero_mm:
        at = int(np.argmin([abs(row[0].baseline_mm - baseline_mm) for row in rows]))
        terms = _unknown(count, at)
        if errors.slopes:
            x = sum(layout.pulse_mm) / 2 if layout.pulse_mm else rows[at][0].box.left_mm
            terms[count + 2] = x - layout.page_mm[0] / 2
        yield _Observation("pulse", terms, foot_mm, errors.pulse)


def _levels(curves: Sequence[LeadCurve], layout: Layout) -> list[_Observation]:
    """The usual level of every row; without any ink its nominal baseline, which is less sure."""
    ink = {b: c.y_mm[np.isfinite(c.y_mm)] for b, c in zip(layout.boxes, curves, strict=True)}
    found = []
    for at, row in enumerate(layout.rows):
        y, terms = np.concatenate([ink[b] for b in row]), _unknown(len(layout.rows), at)
        value = float(np.median(y)) if len(y) else row[0].baseline_mm
        found.append(_Observation("other", terms, value, _WEAK_MM if len(y) else 2 * _WEAK_MM))
    return found


def _sums(
    curves: Sequence[LeadCurve], layout: Layout, calibration: Calibration, errors: _Errors
) -> Iterator[_Observation]:
    """What leads that were printed at the same time say of their rows' 0 mV, and of the slope.

    All that the limb leads' definitions leave no freedom for, such as I + III = II; and that a
    rhythm strip is its lead a second time. A group of leads has one gain, so mm do for mV.
    """
    count = len(layout.rows)
    for together in standing_together(curves, layout, calibration):
        found = best_sums(together, errors.spread)
        # Leads that leave a wave over are not what they are taken for: that is no noise.
        spread = spread_of(found) if found else 0.0
        unlike, more = 1 + (spread / errors.spread) ** 2, max(0.0, spread - errors.spread)
        least = np.hypot(errors.least, more) * np.array([1.0, 1 / _LONG_MM])
        for one in found:
            mean_sigma, trend_sigma = np.maximum(one.sigmas, least) * unlike
            terms = np.zeros(count + 3)
            np.add.at(terms, list(one.rows), one.factors)
            rises = float(one.factors.sum()) * _unknown(count, count + 2)
            if errors.slopes:
                terms[count + 2] = one.factors @ (one.x_mm - layout.page_mm[0] / 2)
                if abs(rises[-1]) > _LEAST_FACTOR:
                    yield _Observation("trend", rises, float(one.values[1]), float(trend_sigma))
            yield _Observation("sum", terms, float(one.values[0]), float(mean_sigma))


def _fit(observed: Sequence[_Observation]) -> _Fit:
    sigma = np.array([o.sigma for o in observed])
    terms = np.stack([o.terms for o in observed]) / sigma[:, None]
    value = np.array([o.value for o in observed]) / sigma
    # Millimetres and scales are not of one size.
    size = np.maximum(np.linalg.norm(terms, axis=0), 1e-12)
    left, sizes, right = np.linalg.svd(terms / size, full_matrices=False)
    known = sizes > 1e-8 * sizes[0]
    inverse = (right[known].T / sizes[known]) @ left[:, known].T / size[:, None]
    values: Floats = inverse @ value
    off = value - terms @ values
    sigmas: Floats = np.sqrt((inverse**2).sum(axis=1))
    return _Fit(values, sigmas, float(off @ off), len(observed) - int(known.sum()))


def _beside_pulses(
    sums: list[_Observation], pulses: Sequence[_Observation]
) -> tuple[list[_Observation], float]:
    """The sums, less sure where they contradict the pulses, and by how many mm they then do."""
    fit = _fit([*pulses, *sums])
    if fit.contradicts == 1:
        return sums, 0.0
    for _ in range(6):
        sums = [replace(o, sigma=o.sigma * fit.contradicts) for o in sums]
        fit = _fit([*pulses, *sums])
    off = [float(o.terms @ fit.values) - o.value for o in sums if o.kind == "sum"]
    return sums, float(np.sqrt(np.mean(np.square(off))))


def _pattern(
    direct: Sequence[_Observation],
    levels: Sequence[_Observation],
    layout: Layout,
    declared: Layout | None,
    calibration: Calibration,
    errors: _Errors,
) -> tuple[_Pattern | None, float]:
    """The declared rows as far as the page bears them out, at the scale that fits it best.

    With the mm by which sums contradict rows that look as if they stood where they are declared:
    nobody knows which of the two is wrong.
    """
    if declared is None or _names(declared) != _names(layout):
        return None, 0.0
    places = np.array([row[0].baseline_mm for row in declared.rows])
    sure = [replace(o, sigma=_LEVEL_MM * o.sigma) for o in levels]
    tried = []
    for scale, sigma in _scales(declared, calibration, errors):
        # Rows that were moved are no reason to prefer a scale.
        loose = _Pattern(scale * places, sigma, _LEVEL_MM).observed()
        tried.append((_fit([*direct, *sure, *loose]).squares, scale, sigma))
    least, scale, sigma = min(tried)
    doubt = max(abs(other - scale) / 2 for squares, other, _ in tried if squares < least + _CLEARLY)
    pattern = _Pattern(scale * places, max(sigma, doubt), errors.pattern)
    borne_out = pattern
    for _ in range(6):
        share = _fit([*direct, *borne_out.observed()]).contradicts
        borne_out = replace(borne_out, sigma_mm=min(_WEAK_MM, borne_out.sigma_mm * share))
    # How far the row that is furthest off has its level from its place, all moved together.
    off = np.array([o.value - place for o, place in zip(levels, pattern.places_mm, strict=True)])
    stray = float(np.abs(off - np.median(off)).max())
    if not _trusted(pattern, direct, stray, layout):
        return replace(pattern, sigma_mm=_WEAK_MM), 0.0
    contradicted = borne_out.sigma_mm > pattern.sigma_mm and stray <= _MOST_STRAY_MM[0]
    return borne_out, borne_out.sigma_mm if contradicted else 0.0


def _names(layout: Layout) -> list[list[str]]:
    return [[b.lead for b in row] for row in layout.rows]


def _scales(
    declared: Layout, calibration: Calibration, errors: _Errors
) -> list[tuple[float, float]]:
    """Scales at which the page may have been printed, with their standard deviations.

    A machine's rows may follow its grid, its columns or neither, so 1 is among them.
    """
    downwards = ("grid",) if errors.slopes else ("grid", "pulse")
    gains = [one.value for one in calibration.gain_sources if one.source in downwards]
    known = [gain / declared.gain_mm_per_mv for gain in gains]
    speeds = [one.value for one in calibration.speed_sources if one.source == "layout"]
    known += [speed / declared.speed_mm_per_s for speed in speeds]
    known = [scale for scale in known if 0 < abs(scale - 1) < _MOST_OFF]
    apart = [scale for scale in known if abs(scale - 1) > errors.same]
    if errors.slopes and known and not apart:
        return [(known[0], errors.scale)]
    return [(1.0, errors.unscaled), *((scale, errors.scale) for scale in apart)]


def _trusted(
    pattern: _Pattern, direct: Sequence[_Observation], stray_mm: float, layout: Layout
) -> bool:
    """Whether the page bears the pattern out: its pulses and sums, or at least the rows' levels."""
    # What is itself not sure confirms nothing, nor does a trend.
    sure = [o for o in direct if o.kind == "other" or (o.kind != "trend" and o.sigma < _KNOWN_MM)]
    confirming = _fit([*sure, *pattern.observed()]).free
    # One sum may agree by chance with rows that were moved; two do not.
    if confirming < 2 and layout.row_slack_mm > _USUAL_SLACK_MM:
        return confirming == 1 and stray_mm <= _MOST_STRAY_MM[0]
    return stray_mm <= _MOST_STRAY_MM[min(confirming, 2)]
