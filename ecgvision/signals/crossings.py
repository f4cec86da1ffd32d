"""Lines that run into each other, fitted together to the pixels they share.

Where the rows' QRS overlap, a column's ink no longer says whose ends it has. There the lines of all
rows that meet are moved until the picture a pen draws of them is the picture seen (`places`). The
fit finds the best lines near those it begins with; where these are far off, three kinds of guesses
begin it anew: lines like those of other beats, spikes to where ink ends (`spikes`), and lines with
pieces exchanged (`exchanges`). Lines are taken only where they explain the place better than those
before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.exchanges import exchanges
from ecgvision.signals.fit import Line
from ecgvision.signals.pairs import nodes_of
from ecgvision.signals.pen import Pen
from ecgvision.signals.places import Place, places_of
from ecgvision.signals.settle import NODES_PER_PX
from ecgvision.signals.spikes import best_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The best explained places of the same rows are looked at, so many, if they cost so much less for
# each pixel of ink; their lines are moved by up to so much, in such steps (nodes).
_MODELS, _CLEARLY, _SHIFT, _SHIFT_STEP = 2, 1.03, 8, 2
# Of the exchanges so many are fitted; and again from the best, while that costs this much less, so
# often at most. Where none does, a second one is made in so many of the best.
_FITTED, _BETTER, _EXCHANGES, _TWICE = 2, 0.98, 3, 2
# A place of which this much is left unexplained holds other print than lines: bars between columns.
# Fitted lines would follow that, so those that were there stay.
_OTHER_PRINT = 20.0
# Once all places have been looked at, their lines are tried in each other so often.
_ROUNDS = 2

# A place with its cost that was given the lines of another place with its cost.
_Attempt = tuple[int, float, int, float]


def fitted_crossings(
    dark: NDArray[np.float32],
    inks: Sequence[ColumnInk],
    lines: Sequence[Line],
    pen: Pen,
    px_per_mm: float,
) -> list[Line]:
    """The lines, fitted again where they meet. `dark` is (H, W) from 0 to 1."""
    fitted = list(lines)
    for place in _solved(places_of(dark, inks, lines, pen, px_per_mm), px_per_mm):
        if place.cost_per_ink > _OTHER_PRINT:
            continue
        nodes = slice(place.first * NODES_PER_PX, place.stop * NODES_PER_PX)
        for row, part in zip(place.moving, place.start, strict=True):
            changed = fitted[row].y_px.copy()
            changed[nodes] = part + place.top
            fitted[row] = replace(fitted[row], y_px=changed)
    return fitted


def _solved(places: Sequence[Place], px_per_mm: float) -> list[Place]:
    """The places with their best lines; those that are explained from the start come first.

    The beats repeat: what explains one place most often explains others, and is tried there before
    anything else is guessed.
    """
    found = [place.as_it_is().tried(place.start) for place in places]
    done: list[int] = []
    failed: set[_Attempt] = set()
    for at in _by_cost(found):
        place = found[at]
        if not place.explained:
            place = found[at] = _like_others(found, at, done, failed)
        if not place.explained:
            place = _guessed(place, px_per_mm)
        found[at] = _exchanged(place)
        done.append(at)
    for _ in range(_ROUNDS):
        before = [place.cost for place in found]
        for at in _by_cost(found):
            better = _like_others(found, at, done, failed)
            if better is not found[at]:
                found[at] = _exchanged(better)
        if [place.cost for place in found] == before:
            break
    return found


def _by_cost(places: Sequence[Place]) -> list[int]:
    return sorted(range(len(places)), key=lambda at: places[at].cost_per_ink)


def _like_others(
    found: Sequence[Place], at: int, others: Sequence[int], failed: set[_Attempt]
) -> Place:
    """A place with lines like those of `others` of the same rows that are explained better.

    What did not pay is added to `failed`, and not tried again.
    """
    place = found[at]
    models = [
        other
        for other in sorted(others)
        if found[other].moving == place.moving
        and found[other].cost_per_ink * _CLEARLY < place.cost_per_ink
    ]
    for other in sorted(models, key=lambda one: found[one].cost_per_ink)[:_MODELS]:
        model = found[other]
        # A place's lines are known by their cost: it falls whenever they change.
        attempt = (at, place.cost, other, model.cost)
        if attempt in failed:
            continue
        moved = [
            _moved(model.start, place.start, shift)
            for shift in range(-_SHIFT, _SHIFT + 1, _SHIFT_STEP)
        ]
        better = place.tried(min(moved, key=place.glance))
        if better is place:
            failed.add(attempt)
        place = better
    return place


def _moved(lines: Floats, onto: Floats, shift: int) -> Floats:
    """Lines (k, m') moved to the right by `shift` nodes, with the ends of `onto` (k, m)."""
    nodes = onto.shape[1]
    moved = lines[:, np.clip(np.arange(nodes) - shift, 0, lines.shape[1] - 1)]
    ends = onto[:, [0, -1]] - moved[:, [0, -1]]
    result: Floats = moved + np.linspace(ends[:, 0], ends[:, 1], nodes, axis=1)
    return result


def _guessed(place: Place, px_per_mm: float) -> Place:
    """The place with lines from guesses which ink is whose."""
    columns = _columns(place.start)
    unchanged = place.start
    for shapes in best_shapes(place.seen, place.rest, columns, place.pen, px_per_mm):
        # What was not changed keeps its nodes.
        same = (shapes == columns).all(axis=1)
        if not same.all():
            place = place.tried(np.where(same[:, None], unchanged, nodes_of(shapes)))
        if place.explained:
            break
    return place


def _exchanged(place: Place) -> Place:
    """The place with pieces of its lines exchanged, where that is better: one, or two at once.

    Of three lines that took each other's way no two can be put right alone.
    """
    for _ in range(_EXCHANGES):
        before = place.cost
        once = _best_exchanges(place, [place.start])
        place = _best_of(place, once)
        if place.cost >= _BETTER * before:
            place = _best_of(place, _best_exchanges(place, once[:_TWICE]))
        if place.cost >= _BETTER * before:
            break
    return place


def _best_exchanges(place: Place, lines: Sequence[Floats]) -> list[Floats]:
    """Of all exchanges in any of `lines` those that cost least after a step of the fit."""
    guesses = [
        place.after_a_step(exchanged)
        for some in lines
        for exchanged in exchanges(some, place.pen.width_px, place.rim.width)
    ]
    return [guess for _, guess in sorted(guesses, key=lambda one: one[0])[:_FITTED]]


def _best_of(place: Place, guesses: Sequence[Floats]) -> Place:
    for lines in guesses:
        place = place.tried(lines)
    return place


def _columns(nodes: Floats) -> Floats:
    """(k, n): lines (k, m) in the middle of each column."""
    k, m = nodes.shape
    result: Floats = nodes.reshape(k, m // NODES_PER_PX, NODES_PER_PX).mean(axis=2)
    return result
