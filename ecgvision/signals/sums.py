"""The sums of leads that are 0 whatever the heart does, on the leads printed at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.recording import LIMB_LEADS, Calibration, LeadCurve
from ecgvision.types import LEADS, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Leads are compared at this step, their slopes smoothed over so many; so much of each must be read,
# so long must they stand together, and pieces so long err independently of each other.
_STEP_S, _SMOOTH, _LEAST_READ, _LEAST_S, _PIECE_S = 0.004, 5, 0.6, 0.6, 0.2
# Leads are left out where what is left over shrinks to this share. Where leads rise by so many mm
# per mm their samples count half.
_BETTER, _STEEP = 0.3, 1.0

# Each limb lead as a sum of I and II: Einthoven 1913, Goldberger 1942.
_SHARES = ((1.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (-0.5, -0.5), (1.0, -0.5), (-0.5, 1.0))
_FROM_I_AND_II = dict(zip(LIMB_LEADS, _SHARES, strict=True))


@dataclass(frozen=True, slots=True)
class Together:
    """Leads over one stretch: their names and rows, x and y (leads, n) in mm, y finite."""

    leads: tuple[str, ...]
    rows: tuple[int, ...]
    x_mm: Floats
    y_mm: Floats

    def only(self, some: Sequence[int]) -> Together:
        leads, rows = tuple(self.leads[i] for i in some), tuple(self.rows[i] for i in some)
        return Together(leads, rows, self.x_mm[list(some)], self.y_mm[list(some)])


@dataclass(frozen=True, slots=True)
class LeadSum:
    """`factors` times the leads' y, where `x_mm` are their x: (mean, trend) in mm and mm per mm.

    `spread_mm` is what is left over at single samples.
    """

    rows: tuple[int, ...]
    factors: Floats
    x_mm: Floats
    values: Floats
    sigmas: Floats
    spread_mm: float


def standing_together(
    curves: Sequence[LeadCurve], layout: Layout, calibration: Calibration
) -> Iterator[Together]:
    """The limb leads of every column with the strips beside it, and chest leads with theirs."""
    row_of = {b: at for at, row in enumerate(layout.rows) for b in row}
    groups = [LIMB_LEADS, *((lead,) for lead in LEADS if lead not in LIMB_LEADS)]
    for start_s, stop_s in sorted({(b.start_s, b.stop_s) for b in layout.boxes}):
        times_s = np.arange(start_s + _STEP_S / 2, stop_s, _STEP_S)
        for group in groups:
            found = []
            for lead_box, curve in zip(layout.boxes, curves, strict=True):
                if lead_box.lead not in group or len(curve.x_mm) < 2:
                    continue
                after_s = times_s - lead_box.start_s
                x = lead_box.box.left_mm + after_s * calibration.speed_mm_per_s
                y = np.interp(x, curve.x_mm, curve.y_mm, left=np.nan, right=np.nan)
                if np.isfinite(y).mean() >= _LEAST_READ:
                    found.append((lead_box.lead, row_of[lead_box], x, y))
            if len(found) >= 2:
                leads, rows, x_mm, y_mm = (tuple(one) for one in zip(*found, strict=True))
                seen = np.isfinite(y_mm).all(axis=0)
                if seen.sum() * _STEP_S >= _LEAST_S:
                    yield Together(leads, rows, np.array(x_mm)[:, seen], np.array(y_mm)[:, seen])


def best_sums(together: Together, usual_mm: float) -> list[LeadSum]:
    """The sums of leads, without one or two that spoil them: off, swapped or misread.

    `usual_mm` is what leads leave over at their samples where all is well.
    """
    found, count = _independent_sums(together), len(together.leads)
    for fewer in range(count - 1, max(count - 3, 1), -1):
        if not found or spread_of(found) <= usual_mm:
            break
        # All are looked at roughly, and the best of them well.
        kept = [together.only(some) for some in combinations(range(count), fewer)]
        rough = [(_rough_spread(one), at) for at, one in enumerate(kept)]
        best = _independent_sums(kept[min(rough)[1]])
        if best and spread_of(best) < _BETTER * spread_of(found):
            found = best
    return found


def _factors(leads: Sequence[str]) -> Floats:
    """(sums, leads): the sums that are 0 whatever the heart does, square to each other."""
    made_of = np.array([_FROM_I_AND_II.get(lead, (1.0, 0.0)) for lead in leads])
    left, sizes, _ = np.linalg.svd(made_of)
    return left[:, int((sizes > 1e-9).sum()) :].T


def _rough_spread(together: Together) -> float:
    """What the sums leave over, by their medians alone; infinite where there is no sum."""
    total = _factors(together.leads) @ together.y_mm
    off = np.abs(total - np.median(total, axis=1, keepdims=True))
    return float(np.sqrt(np.mean(np.median(off, axis=1) ** 2))) if len(total) else np.inf


def _independent_sums(together: Together) -> list[LeadSum]:
    rises = np.gradient(together.y_mm, axis=1) / np.gradient(together.x_mm, axis=1)
    rises = np.apply_along_axis(np.convolve, 1, rises, np.full(_SMOOTH, 1 / _SMOOTH), "same")
    flat = 1 / (1 + (np.abs(rises).max(axis=0) / _STEEP) ** 2)
    # A row that is late by little adds its own rise. All rises are sums of those of two leads.
    rises -= rises.mean(axis=1, keepdims=True)
    _, sizes, shapes = np.linalg.svd(rises, full_matrices=False)
    late = shapes[:2][sizes[:2] > 0.05 * max(sizes[0], 1e-3)]
    return [_sum(factors, together, flat, late) for factors in _factors(together.leads)]


def spread_of(sums: Sequence[LeadSum]) -> float:
    """What all sums leave over at single samples, in mm."""
    return float(np.sqrt(np.mean([one.spread_mm**2 for one in sums])))


def _sum(factors: Floats, together: Together, flat: Floats, late: Floats) -> LeadSum:
    """One sum by robust regression on 1, x and small delays of leads.

    Its errors are those of pieces that err independently of each other (a sandwich estimate, Liang
    and Zeger, Biometrika 1986;73:13-22).
    """
    total = factors @ together.y_mm
    along = together.x_mm[0]
    middle = float((flat * along).sum() / flat.sum())
    design = np.column_stack([np.ones_like(along), along - middle, *late])
    weight, spread = flat, 0.0
    for _ in range(4):
        weighed = design * weight[:, None]
        inverse = np.linalg.pinv(weighed.T @ design)
        solved = inverse @ (weighed.T @ total)
        off = total - design @ solved
        spread = 1.48 * float(np.median(np.abs(off)))
        # Tukey's biweight: what is read wrong stands out of the rest.
        weight = flat * np.clip(1 - (off / (4.7 * spread + 1e-6)) ** 2, 0.0, 1.0) ** 2
    pieces = np.arange(0, len(along), round(_PIECE_S / _STEP_S))
    scores = np.add.reduceat(weighed * off[:, None], pieces, axis=0)
    few = len(pieces) / max(len(pieces) - 2, 1)
    sigmas = np.sqrt(few * np.diag(inverse @ scores.T @ scores @ inverse))
    at_mm = together.x_mm[:, 0] + middle - along[0]
    return LeadSum(together.rows, factors, at_mm, solved[:2], sigmas[:2], spread)
