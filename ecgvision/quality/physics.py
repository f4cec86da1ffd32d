"""What must hold between limb leads printed at the same time, whatever the heart does.

Six leads are made of three electrodes, so that two of them give the others (Einthoven 1913,
Goldberger 1942): III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2. A rhythm
strip shows its lead a second time. What is left over is an error of the page or of its reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.quality.rows import FS_HZ, LEAST_S, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FROM_I_AND_II: Mapping[str, tuple[float, float]] = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
"""Each limb lead as a sum of I and II."""

_EQUATIONS: tuple[tuple[str, Mapping[str, float]], ...] = (
    ("I + III = II", {"I": 1, "III": 1, "II": -1}),
    ("aVR = -(I + II) / 2", {"aVR": 1, "I": 0.5, "II": 0.5}),
    ("aVL = I - II / 2", {"aVL": 1, "I": -1, "II": 0.5}),
    ("aVF = II - I / 2", {"aVF": 1, "II": -1, "I": 0.5}),
    ("aVR + aVL + aVF = 0", {"aVR": 1, "aVL": 1, "aVF": 1}),
)

_REACH_S = 0.02
# A shift is believed where it takes away this much of what is left over.
_WORTH = 0.25


@dataclass(frozen=True, slots=True)
class Residual:
    """One equation on one stretch of the page.

    `rms_uv` is the root of the mean square of what is left over, without `offset_uv`, its mean;
    `fraction` is its power over that of the leads in the equation, pooled.
    """

    equation: str
    start_s: float
    stop_s: float
    rms_uv: float
    fraction: float
    offset_uv: float


@dataclass(frozen=True, slots=True)
class Physics:
    """`fraction` pools all that stands together: 0 is perfect, 1 is what unrelated rows give.

    None where fewer than three limb rows stand at the same time. `shifts_ms` are the rows that
    fit better when moved, and by how much.
    """

    residuals: tuple[Residual, ...]
    fraction: float | None
    shifts_ms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Rows over one stretch of time: `mv` is (k, n), without the means; `means_mv` is (k,)."""

    rows: tuple[Row, ...]
    first: int
    mv: Floats
    means_mv: Floats


def stretches(rows: Sequence[Row]) -> tuple[tuple[int, int], ...]:
    """(first, last) samples of each column of the page, from the boxes that are no strips."""
    found: list[tuple[int, int]] = []
    tolerance = round(0.1 * FS_HZ)
    for row in rows:
        window = (row.first, row.last)
        if row.rhythm_strip or any(
            abs(window[0] - a) <= tolerance and abs(window[1] - b) <= tolerance for a, b in found
        ):
            continue
        found.append(window)
    return tuple(sorted(found))


def standing_together(rows: Sequence[Row]) -> tuple[Together, ...]:
    """The limb rows of every column with the strips beside it, where that are two or more."""
    found = []
    tolerance = round(0.1 * FS_HZ)
    for first, last in stretches(rows):
        members = [
            row
            for row in rows
            if row.lead in FROM_I_AND_II
            and row.first <= first + tolerance
            and row.last >= last - tolerance
        ]
        if len(members) < 2:
            continue
        start, stop = max(row.first for row in members), min(row.last for row in members)
        cuts = [row.cut(start, stop) for row in members]
        seen = np.logical_and.reduce([part for _, part in cuts])
        if seen.sum() < LEAST_S * FS_HZ:
            continue
        mv = np.stack([part for part, _ in cuts])
        means = mv[:, seen].mean(axis=1)
        off = means + np.array([row.middle_mv for row in members])
        found.append(Together(tuple(members), start, (mv - means[:, None]) * seen, off))
    return tuple(found)


def check_physics(rows: Sequence[Row]) -> Physics:
    """All equations on all stretches of a page."""
    residuals: list[Residual] = []
    shifts: dict[str, float] = {}
    left = whole = 0.0
    for together in standing_together(rows):
        together, moved = _lined_up(together)
        for row, lag in zip(together.rows, moved, strict=True):
            if lag:
                shifts[row.name] = 1000.0 * lag / FS_HZ
        residuals += _equations(together)
        count = len(together.rows)
        projector = off_plane([row.lead for row in together.rows])
        free = float(np.trace(projector))
        if free > 0.5:
            scatter = together.mv @ together.mv.T
            left += float(np.sum(projector * scatter)) * count / free
            whole += float(np.trace(scatter))
    fraction = left / whole if whole > 1e-9 else None
    return Physics(tuple(residuals), fraction, tuple(sorted(shifts.items())))


def at_their_times(rows: Sequence[Row], physics: Physics) -> tuple[Row, ...]:
    """The rows with those moved that fit better so."""
    lags = {name: round(ms * FS_HZ / 1000) for name, ms in physics.shifts_ms}
    return tuple(
        replace(row, mv=np.roll(row.mv, -lags[row.name]), seen=np.roll(row.seen, -lags[row.name]))
        if row.name in lags
        else row
        for row in rows
    )


def off_plane(leads: Sequence[str]) -> Floats:
    """(k, k): takes from k limb leads what I and II can explain, and leaves the rest."""
    plane = np.array([FROM_I_AND_II[lead] for lead in leads])
    projector: Floats = np.eye(len(leads)) - plane @ np.linalg.pinv(plane)
    return projector


def _equations(together: Together) -> list[Residual]:
    names = [row.lead for row in together.rows]
    boxes = {row.lead: at for at, row in enumerate(together.rows) if not row.rhythm_strip}
    strips = {row.lead: at for at, row in enumerate(together.rows) if row.rhythm_strip}
    found: list[tuple[str, dict[int, float]]] = []
    for text, terms in _EQUATIONS:
        places = {lead: boxes.get(lead, strips.get(lead)) for lead in terms}
        known = {at: terms[lead] for lead, at in places.items() if at is not None}
        if len(known) == len(terms):
            found.append((text, known))
    found += [
        (f"{names[at]} strip = {names[at]}", {at: 1.0, boxes[lead]: -1.0})
        for lead, at in strips.items()
        if lead in boxes
    ]
    return [_residual(together, text, terms) for text, terms in found]


def _residual(together: Together, text: str, terms: Mapping[int, float]) -> Residual:
    places, weights = list(terms), np.array(list(terms.values()))
    part = together.mv[places]
    left = weights @ part
    power = float(np.sum((weights[:, None] * part) ** 2))
    return Residual(
        equation=text,
        start_s=together.first / FS_HZ,
        stop_s=(together.first + part.shape[1]) / FS_HZ,
        rms_uv=1000.0 * float(np.sqrt(np.mean(left**2))),
        fraction=float(np.sum(left**2)) / power if power > 1e-9 else 0.0,
        offset_uv=1000.0 * float(weights @ together.means_mv[places]),
    )


def _lined_up(together: Together) -> tuple[Together, tuple[int, ...]]:
    """Rows moved by up to 20 ms where that takes much away of what is left over."""
    reach = round(_REACH_S * FS_HZ)
    mv = together.mv.copy()
    projector = off_plane([row.lead for row in together.rows])
    lags = [0] * len(mv)
    if np.trace(projector) < 0.5 or mv.shape[1] < 10 * reach:
        return together, tuple(lags)
    inner = slice(reach, mv.shape[1] - reach)
    for _ in range(2):
        for at in range(len(mv)):
            others = projector[at] @ mv - projector[at, at] * mv[at]
            now = float(np.sum(projector * (mv[:, inner] @ mv[:, inner].T)))
            costs = [
                projector[at, at] * float(moved @ moved) + 2 * float(moved @ others[inner])
                for moved in (
                    together.mv[at, reach + lag : mv.shape[1] - reach + lag]
                    for lag in range(-reach, reach + 1)
                )
            ]
            best = int(np.argmin(costs)) - reach
            gain = costs[lags[at] + reach] - costs[best + reach]
            if best != lags[at] and gain > _WORTH * now:
                lags[at] = best
                mv[at] = np.roll(together.mv[at], -best)
    if not any(lags):
        return together, tuple(lags)
    return Together(together.rows, together.first, mv, together.means_mv), tuple(lags)
