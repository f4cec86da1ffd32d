"""Finds out how long a second and how high a millivolt is on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ecgvision.calibration.compare import CONTRADICT, GAIN, SPEED, Decision, Quantity, decide
from ecgvision.calibration.grid_pitch import GridPitch, grid_pitch
from ecgvision.calibration.pulse import Pulses, measured_pulses
from ecgvision.calibration.text import PrintedScale, printed_scale
from ecgvision.calibration.time_axis import columns_scale
from ecgvision.errors import UsageError
from ecgvision.recording import Calibration, ScaleSource
from ecgvision.types import Layout, Match, Notice, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# Columns and grid of one page differ by less than this: more is another kind of column.
_COLUMNS_UNLIKE = 0.03
# Chest leads at another gain: a machine offers steps of a half.
_CHEST_UNLIKE = 0.1


@dataclass(frozen=True, slots=True)
class _Measured:
    """All that was measured on a page. `across` and `down` are mm of page per mm of paper."""

    text: PrintedScale
    grid: GridPitch | None
    pulses: Pulses | None
    columns: float | None

    @property
    def across(self) -> float:
        if self.columns is not None:
            return self.columns
        return self.grid.across_mm if self.grid else 1.0

    @property
    def down(self) -> float:
        return self.grid.down_mm if self.grid else 1.0


def calibrate(
    page: Page,
    match: Match,
    ink: Pixels,
    *,
    speed_mm_per_s: float | None = None,
    gain_mm_per_mv: float | None = None,
) -> Calibration:
    """The scale of a recognised page, by its printed text, grid, pulse and its format's word.

    `page` is upright and level, `match.layout` the layout as measured on it, and `ink` the page
    without its grid, (H, W) ``uint8`` at `page.px_per_mm`; a vector page does not use it. A speed
    or gain that is given is used as it is, in mm of the page; what the page says is still told.

    Raises `PageError` "calibration-conflict" where the sources contradict each other and nothing
    tells which is right, `UsageError` where what is given is not a positive number.
    """
    for name, given in (("paper speed", speed_mm_per_s), ("gain", gain_mm_per_mv)):
        if given is not None and not 0 < given < 1e4:
            raise UsageError(f"the {name} must be a positive number, found {given}")
    layout = match.layout
    seen = _measured(page, layout, ink)
    speed_votes, speed_notices = _speed_votes(seen, layout)
    gain_votes, gain_notices = _gain_votes(seen, layout, exact=page.origin == "vector")
    speed_declared = ScaleSource("layout", layout.speed_mm_per_s * (seen.columns or 1.0), 0.0)
    gain_declared = ScaleSource("layout", layout.gain_mm_per_mv, 0.0)
    speed = _decided(SPEED, speed_votes, speed_declared, page, speed_mm_per_s)
    gain = _decided(GAIN, gain_votes, gain_declared, page, gain_mm_per_mv)
    if seen.columns and seen.grid:  # the columns tell the time: the grid is only reported
        grid = ScaleSource("grid", layout.speed_mm_per_s * seen.grid.across_mm, 0.0)
        speed_votes = [*speed_votes, grid]
    notices = [*speed_notices, *gain_notices, *speed.notices, *gain.notices]
    return Calibration(
        speed_mm_per_s=speed.value,
        gain_mm_per_mv=gain.value,
        speed_from=speed.source,
        gain_from=gain.source,
        speed_sources=_told([*speed_votes, speed_declared], speed_mm_per_s, speed.value),
        gain_sources=_told([*gain_votes, gain_declared], gain_mm_per_mv, gain.value),
        chest_gain_mm_per_mv=_chest_gain(seen, gain, gain_votes),
        zero_mm=_zeros(seen.pulses, gain),
        notices=tuple(notices),
    )


def _measured(page: Page, layout: Layout, ink: Pixels) -> _Measured:
    grid = grid_pitch(page, ink)
    columns = columns_scale(page, layout, ink)
    if columns and grid and abs(columns / grid.across_mm - 1) > _COLUMNS_UNLIKE:
        columns = None
    return _Measured(printed_scale(page.texts), grid, measured_pulses(page, layout, ink), columns)


def _speed_votes(seen: _Measured, layout: Layout) -> tuple[list[ScaleSource], list[Notice]]:
    """The votes on the speed, the most exact first: printed text, then the grid."""
    votes = []
    printed, notices = _single(SPEED, seen.text.speeds_mm_per_s)
    if printed:
        votes.append(ScaleSource("text", printed * seen.across, 0.0))
    if seen.grid and seen.columns is None:
        votes.append(ScaleSource("grid", layout.speed_mm_per_s * seen.grid.across_mm, 0.0))
    return votes, notices


def _gain_votes(
    seen: _Measured, layout: Layout, *, exact: bool
) -> tuple[list[ScaleSource], list[Notice]]:
    """The votes on the gain, the most exact first.

    A vector page's pulse is exact. On a page of pixels a grid is measured over the whole page and
    is ten times as exact as a pulse; without a grid nobody knows how large the page was printed,
    and the pulse shows it.
    """
    votes = []
    printed, notices = _single(GAIN, seen.text.gains_mm_per_mv)
    if printed:
        votes.append(ScaleSource("text", printed * seen.down, 0.0))
    if seen.grid:
        votes.append(ScaleSource("grid", layout.gain_mm_per_mv * seen.grid.down_mm, 0.0))
    if seen.pulses:
        pulse = ScaleSource("pulse", seen.pulses.height_mm, 0.0)
        votes.insert(len(votes) if seen.grid and not exact else 0, pulse)
    return votes, notices


def _single(what: Quantity, values: Sequence[float]) -> tuple[float | None, list[Notice]]:
    """The printed value, if there is one and no other beside it."""
    if len(values) < 2:
        return (values[0] if values else None), []
    told = " and ".join(f"{value:g}" for value in values)
    message = f"the page prints {told} {what.unit}: its {what.name} is not taken from the text"
    return None, [Notice("calibration-text-unclear", message)]


def _decided(
    what: Quantity,
    votes: Sequence[ScaleSource],
    declared: ScaleSource,
    page: Page,
    given: float | None,
) -> Decision:
    if given is not None:
        return Decision(float(given), "given")
    return decide(what, votes, declared, page)


def _told(
    sources: Sequence[ScaleSource], given: float | None, used: float
) -> tuple[ScaleSource, ...]:
    """All sources, and how far each is off what is used."""
    users = [] if given is None else [ScaleSource("given", float(given), 0.0)]
    return tuple(replace(one, off=one.value / used - 1) for one in [*users, *sources])


def _chest_gain(seen: _Measured, gain: Decision, votes: Sequence[ScaleSource]) -> float | None:
    """The gain of the chest leads where the text has one of their own, and is not outvoted."""
    chest = seen.text.chest_gains_mm_per_mv
    if gain.source == "given" or len(chest) != 1:
        return None
    text = next((vote.value for vote in votes if vote.source == "text"), None)
    if text is not None and abs(text / gain.value - 1) > _CHEST_UNLIKE:
        return None
    # Off by the same share as that of the limb leads, where the page tells better than its text.
    share = 1.0 if text is None else gain.value / text
    value = chest[0] * seen.down * share
    return value if abs(value / gain.value - 1) > _CHEST_UNLIKE else None


def _zeros(pulses: Pulses | None, gain: Decision) -> tuple[tuple[float, float], ...]:
    """Where 0 mV is, by pulses that are about as high as what is used: others may be no pulses."""
    if pulses is None or abs(pulses.height_mm / gain.value - 1) > CONTRADICT:
        return ()
    return tuple((p.baseline_mm, p.foot_mm) for p in pulses.rows)


def described(calibration: Calibration) -> dict[str, Any]:
    """The calibration as plain data for a JSON: what is used, from where, and what each says.

    `off_percent` is how far a source is off what is used.
    """
    return {
        "speed_mm_per_s": round(calibration.speed_mm_per_s, 3),
        "speed_from": calibration.speed_from,
        "speed_sources": [_described(one) for one in calibration.speed_sources],
        "gain_mm_per_mv": round(calibration.gain_mm_per_mv, 3),
        "chest_gain_mm_per_mv": (
            None
            if calibration.chest_gain_mm_per_mv is None
            else round(calibration.chest_gain_mm_per_mv, 3)
        ),
        "gain_from": calibration.gain_from,
        "gain_sources": [_described(one) for one in calibration.gain_sources],
        "rows_with_zero_level": len(calibration.zero_mm),
    }


def _described(source: ScaleSource) -> dict[str, Any]:
    return {
        "source": source.source,
        "value": round(source.value, 3),
        "off_percent": round(100 * source.off, 2) + 0.0,
    }
