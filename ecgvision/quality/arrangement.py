"""Whether each signal stands under its own name.

Two tests, both on one average beat per lead, so that columns of different seconds can be compared.
The limb leads must obey the equations of `ecgvision.quality.physics`: a swap breaks them. What
obeys them all the same (electrodes reversed on the patient, chest leads among themselves) is put
to a small table learned from natural pages: it gives each arrangement a score, and a page is
suspicious where another arrangement scores much higher than the printed one.

The table, `arrangement.npz`, has the weights of a network of one hidden layer that sees the beats
and the products of every two leads, learned on folds 1 to 8 of PTB-XL 1.0.3 (Wagner et al.,
Scientific Data 2020;7:154; CC BY 4.0) by `docs/quality_table.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.quality.features import EIGHT, eight_leads, features, products
from ecgvision.quality.physics import FROM_I_AND_II, off_plane
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.quality.physics import Together
    from ecgvision.types import Layout

    Floats = NDArray[np.float64]

# What reversed electrodes make of I and II; the chest leads stay, as Wilson's terminal does.
_REVERSED: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "LA/RA": ((-1, 0), (-1, 1)),
    "RA/LL": ((1, -1), (0, -1)),
}
REVERSALS = tuple(_REVERSED)
CHEST_SWAPS = tuple(combinations(range(2, 8), 2))


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another arrangement: its kind, the leads it concerns, and how much better it is."""

    kind: str
    leads: tuple[str, ...]
    margin: float


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How well the printed arrangement does against others.

    `limb_fraction` is what the equations leave over in the average beats of the limb leads, 0 for
    nothing and 1 for what unrelated leads give; `limb_best` is the arrangement that leaves least,
    `limb_kept` the one that does of those that suit the leads printed at the same time, too.
    `reversal` and `chest` are the best of the learned alternatives; a margin over 0 says that it
    looks more natural than the printed one. None where leads are missing for a test.
    """

    limb_fraction: float | None
    limb_best: Alternative | None
    limb_kept: Alternative | None
    reversal: Alternative | None
    chest: Alternative | None


def check_arrangement(
    average_mv: Floats, layout: Layout, together: Sequence[Together] = ()
) -> Arrangement:
    """Both tests, from (12, k) average beats; leads without a beat are NaN.

    `together` are the limb leads printed at the same time.
    """
    fraction, best, kept = check_limb_leads(average_mv, layout, together)
    eight = eight_leads(average_mv)
    if eight is None:
        return Arrangement(fraction, best, kept, None, None)
    scores = natural_scores(features(eight)[None])[0]
    above = scores[1:] - scores[0]
    turned, swapped = above[: len(REVERSALS)], above[len(REVERSALS) :]
    pair = CHEST_SWAPS[int(swapped.argmax())]
    return Arrangement(
        fraction,
        best,
        kept,
        Alternative(REVERSALS[int(turned.argmax())], LEADS[:6], float(turned.max())),
        Alternative("swap", (EIGHT[pair[0]], EIGHT[pair[1]]), float(swapped.max())),
    )


def arrangements() -> Floats:
    """(1 + reversals + swaps, 8, 8): what each does to I, II, V1 to V6; the first changes nothing.

    Each undoes itself.
    """
    found = [np.eye(8)]
    for matrix in _REVERSED.values():
        turned = np.eye(8)
        turned[:2, :2] = matrix
        found.append(turned)
    for one, other in CHEST_SWAPS:
        swapped = np.eye(8)
        swapped[[one, other]] = swapped[[other, one]]
        found.append(swapped)
    return np.stack(found)


def natural_scores(described: Floats, table: Mapping[str, Floats] | None = None) -> Floats:
    """(n, arrangements) scores of (n, 8, BINS) features: the higher, the more natural.

    By the table that comes with the package unless another is given.
    """
    known = _table() if table is None else table
    every = np.einsum("kij,njt->nkit", arrangements(), described)
    inputs = table_inputs(every, known)
    scores: Floats = np.tanh(inputs @ known["inner"] + known["bias"]) @ known["outer"]
    return scores


def table_inputs(described: Floats, table: Mapping[str, Floats]) -> Floats:
    """(..., 8 * BINS + PRODUCTS) of (..., 8, BINS): all of it in units of its usual size."""
    scaled = described * table["scale"]
    flat = scaled.reshape(*described.shape[:-2], -1)
    return np.concatenate([flat, products(described) * table["product_scale"]], axis=-1)


@cache
def _table() -> Mapping[str, Floats]:
    with (
        files("ecgvision.quality").joinpath("arrangement.npz").open("rb") as file,
        np.load(file) as table,
    ):
        return {name: table[name].astype(np.float64) for name in table.files}


def check_limb_leads(
    average_mv: Floats, layout: Layout, together: Sequence[Together] = ()
) -> tuple[float | None, Alternative | None, Alternative | None]:
    """`limb_fraction`, `limb_best` and `limb_kept` of an `Arrangement`."""
    known = [at for at in range(len(LEADS)) if np.isfinite(average_mv[at]).all()]
    limb = [at for at in known if LEADS[at] in FROM_I_AND_II]
    if len(limb) < 3:
        return None, None, None
    projector = off_plane([LEADS[at] for at in limb])
    free = float(np.trace(projector)) / len(limb)
    if free < 1e-6:
        return None, None, None
    beats = np.nan_to_num(average_mv - average_mv.mean(axis=1, keepdims=True))
    scatter = beats @ beats.T

    def left(order: Sequence[int]) -> float:
        part = scatter[np.ix_([order[at] for at in limb], [order[at] for at in limb])]
        whole = float(np.trace(part))
        return float(np.sum(projector * part)) / whole / free if whole > 1e-9 else 0.0

    printed = left(range(len(LEADS)))
    others = [
        (Alternative(kind, leads, printed - left(order)), order)
        for kind, leads, order in _other_orders(known, layout)
    ]
    ordered = [one for one, _ in sorted(others, key=lambda other: -other[0].margin)]
    suited = {id(one) for one, order in others if one.margin > 0 and _suits(order, together)}
    kept = (one for one in ordered if id(one) in suited)
    return printed, next(iter(ordered), None), next(kept, None)


def _suits(order: Sequence[int], together: Sequence[Together]) -> bool:
    """Whether the rows printed at the same time keep their equations as well in another order.

    An average beat is made of few beats, and of other ones in every column; what is printed at the
    same time is exact. A lead that trades places with one of another column cannot be tried so.
    """
    printed = other = 0.0
    for rows in together:
        leads = [row.lead for row in rows.rows]
        projector = off_plane(leads)
        boxes = {row.lead: at for at, row in enumerate(rows.rows) if not row.rhythm_strip}
        places: list[int] = []
        for at, row in enumerate(rows.rows):
            shown = at if row.rhythm_strip else boxes.get(LEADS[order[LEADS.index(row.lead)]])
            if shown is None:
                return False
            places.append(shown)
        scatter = rows.mv @ rows.mv.T
        printed += float(np.sum(projector * scatter))
        other += float(np.sum(projector * scatter[np.ix_(places, places)]))
    return bool(together) and other <= printed * (1 + 1e-9)


def _other_orders(
    known: Sequence[int], layout: Layout
) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Kind, leads, and from which box each lead is taken, for every swap and for rows moved."""
    found: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = []
    for one, other in combinations(known, 2):
        if one > 5:
            break  # both are chest leads: the equations do not tell
        order = list(range(len(LEADS)))
        order[one], order[other] = other, one
        found.append(("swap", (LEADS[one], LEADS[other]), tuple(order)))
    rows = [[LEADS.index(b.lead) for b in row if not b.rhythm_strip] for row in layout.rows]
    rows = [row for row in rows if row]
    for step in (1, -1):
        order = list(range(len(LEADS)))
        for at, row in enumerate(rows):
            for mine, theirs in zip(rows[(at + step) % len(rows)], row, strict=False):
                order[mine] = theirs
        if len(rows) > 1 and all(order[at] in known for at in known):
            found.append(("rows", LEADS, tuple(order)))
    return found
