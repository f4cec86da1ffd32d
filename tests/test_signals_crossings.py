"""Rows that run into each other, against the lines that were drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ecgvision.follow import follow_rows
from ecgvision.signals.crossings import _best_exchanges, _exchanged, fitted_crossings
from ecgvision.signals.edges import column_ink
from ecgvision.signals.fit import Line, fitted_line, rim_of
from ecgvision.signals.joint import draw
from ecgvision.signals.pen import Pen
from ecgvision.signals.places import Place, _views
from ecgvision.signals.spikes import best_shapes
from ecgvision.types import Box, LeadBox

PX_PER_MM = 12.0
PEN = Pen(0.3 * PX_PER_MM, 1.0, 0.4)
FACTOR, FINE = 2, 8
LEVELS_MM = (40.0, 58.0)
LEFT_MM, RIGHT_MM = 10.0, 70.0
Spikes = dict[float, tuple[float, ...]]


def line_px(level_mm: float, spikes: Spikes) -> np.ndarray:
    """(n, 2) px: a level line; at each x spikes of those heights in mm follow, 0.6 mm apart."""
    points = [(LEFT_MM, 0.0)]
    for x, heights in sorted(spikes.items()):
        points.append((x - 0.6, 0.0))
        points += [(x + 0.6 * k, height) for k, height in enumerate(heights)]
        points.append((x + 0.6 * len(heights), 0.0))
    points.append((RIGHT_MM, 0.0))
    return np.array([(x, level_mm - height) for x, height in points]) * PX_PER_MM


def drawn(*lines: np.ndarray) -> np.ndarray:
    """(H, W) float32 from 0 to 1: the lines by a round pen, seen by pixels through a blur."""
    height, width = round(90 * PX_PER_MM), round(80 * PX_PER_MM)
    image = np.zeros((height * FINE, width * FINE), np.uint8)
    for line in lines:
        points = np.round(line * FINE * 16).astype(np.int32)
        cv2.polylines(image, [points], False, 255, round(PEN.width_px * FINE), cv2.LINE_8, 4)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return (cv2.GaussianBlur(small, (0, 0), PEN.blur_px) / np.float32(255)).astype(np.float32)


def rows() -> list[list[LeadBox]]:
    return [
        [LeadBox(lead, Box(LEFT_MM, level - 9, RIGHT_MM, level + 9), level, 0.0, 2.4)]
        for lead, level in zip(("V2", "V3"), LEVELS_MM, strict=True)
    ]


def fitted(dark: np.ndarray) -> tuple[list[Line], list[Line]]:
    """Each row's line by itself, and with the crossings fitted together."""
    small = cv2.resize(dark, None, fx=1 / FACTOR, fy=1 / FACTOR, interpolation=cv2.INTER_AREA)
    ways = follow_rows(small > 0.4, rows(), PX_PER_MM / FACTOR)
    inks = column_ink(
        dark,
        ways,
        np.zeros(small.shape, bool),
        FACTOR,
        PX_PER_MM,
        PEN.width_px,
        PEN.blur_px,
        PEN.darkness,
    )
    alone = [fitted_line(ink, PEN) for ink in inks]
    return alone, fitted_crossings(dark, inks, alone, PEN, PX_PER_MM)


def off_px(found: Line, line: np.ndarray, first_mm: float, last_mm: float) -> float:
    inside = (found.x_px > first_mm * PX_PER_MM) & (found.x_px < last_mm * PX_PER_MM)
    truth = np.interp(found.x_px[inside], line[:, 0], line[:, 1])
    return float(np.sqrt(np.mean((found.y_px[inside] - truth) ** 2)))


CROSSED: dict[str, tuple[Spikes, Spikes]] = {
    "an R wave through the row above": ({}, {40.0: (24.0,)}),
    "S and R in one place": ({40.0: (-13.0,)}, {40.0: (13.0,)}),
    "S and R, one in the other": ({30.0: (-12.0,)}, {30.1: (16.0,)}),
    "only a tip in a line": ({}, {40.0: (18.3,), 50.0: (17.8,)}),
}


@pytest.mark.parametrize("name", CROSSED)
def test_crossing_rows_come_back(name: str) -> None:
    upper, lower = CROSSED[name]
    lines = [
        line_px(level, spikes) for level, spikes in zip(LEVELS_MM, (upper, lower), strict=True)
    ]
    _, found = fitted(drawn(*lines))
    for one, line in zip(found, lines, strict=True):
        assert off_px(one, line, 15, 65) < 1.5


@pytest.mark.parametrize(("high_mm", "apart_mm"), [(12, 0.2), (12, 0.8), (14, 0.4), (16, 0.4)])
def test_tips_that_overlap_come_back(high_mm: float, apart_mm: float) -> None:
    """An S wave above and an R wave below, 2 mm wide, that reach far past each other."""
    lines = []
    for level, x, height in zip(LEVELS_MM, (30, 30 + apart_mm), (-high_mm, high_mm), strict=True):
        knots = [(LEFT_MM, 0.0), (x - 1, 0.0), (x, height), (x + 1, 0.0), (RIGHT_MM, 0.0)]
        lines.append(np.array([(x, level - up) for x, up in knots]) * PX_PER_MM)
    _, (upper, lower) = fitted(drawn(*lines))
    assert upper.y_px.max() == pytest.approx(lines[0][:, 1].max(), abs=2)
    assert lower.y_px.min() == pytest.approx(lines[1][:, 1].min(), abs=2)
    assert max(off_px(upper, lines[0], 15, 65), off_px(lower, lines[1], 15, 65)) < 1.5


def test_rows_that_do_not_meet_stay_as_they_were() -> None:
    lines = [line_px(40, {30.0: (10.0, -4.0)}), line_px(58, {45.0: (8.0,)})]
    alone, found = fitted(drawn(*lines))
    for before, after in zip(alone, found, strict=True):
        assert np.array_equal(before.y_px, after.y_px)


def test_the_fit_together_is_what_makes_it_right() -> None:
    lines = [line_px(40, {40.0: (-13.0,)}), line_px(58, {40.0: (13.0,)})]
    alone, found = fitted(drawn(*lines))
    before = sum(off_px(one, line, 38, 42) for one, line in zip(alone, lines, strict=True))
    after = sum(off_px(one, line, 38, 42) for one, line in zip(found, lines, strict=True))
    assert after < before / 4


def test_what_cannot_be_told_apart_is_not_made_worse() -> None:
    """Beats of both rows in one place: R and S waves that any of them could have."""
    upper = dict.fromkeys((20.0, 40.0, 60.0), (6.0, -14.0))
    lower = dict.fromkeys((20.3, 40.4, 59.9), (15.0, -5.0))
    lines = [line_px(40, upper), line_px(58, lower)]
    alone, found = fitted(drawn(*lines))
    for before, after, line in zip(alone, found, lines, strict=True):
        assert off_px(after, line, 15, 65) < 0.85 * off_px(before, line, 15, 65)


def test_a_letter_on_a_crossing_draws_no_line_to_it() -> None:
    """Print beside the crossing is not explained by either row, and must not bend them."""
    lines = [line_px(40, {40.0: (-14.0,)}), line_px(58, {40.4: (14.0,)})]
    dark = drawn(*lines)
    at = (round(37.2 * PX_PER_MM), round(50 * PX_PER_MM))
    shade = np.zeros(dark.shape, np.uint8)
    cv2.putText(shade, "V3", at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2)
    _, found = fitted(np.maximum(dark, shade / np.float32(255)))
    for one, line in zip(found, lines, strict=True):
        assert off_px(one, line, 15, 36) < 0.5
        assert off_px(one, line, 15, 65) < 6.0


def test_guesses_begin_with_the_best() -> None:
    """Two flat lines and ink that only spikes to its tips explain."""
    lines = [line_px(40, {40.0: (-13.0,)}), line_px(58, {40.5: (13.0,)})]
    first, stop = round(38 * PX_PER_MM), round(43 * PX_PER_MM)
    seen = np.minimum(drawn(*lines)[:, first:stop] / PEN.darkness, 1.0).astype(np.float64)
    columns = np.arange(first, stop) + 0.5
    truth = np.stack([np.interp(columns, line[:, 0], line[:, 1]) for line in lines])
    flat = np.repeat(np.array(LEVELS_MM)[:, None] * PX_PER_MM, stop - first, axis=1)
    guesses = best_shapes(seen, np.zeros_like(seen), flat, PEN, PX_PER_MM)
    assert 1 < len(guesses) <= 3
    assert np.abs(guesses[0] - truth).mean() < 0.25 * np.abs(flat - truth).mean()


def test_a_guess_goes_up_and_down() -> None:
    """One row's QRS has an R and an S wave; the S ends within the other row's R wave."""
    lines = [line_px(40, {40.0: (9.0, -15.0)}), line_px(58, {40.6: (14.0,)})]
    first, stop = round(38 * PX_PER_MM), round(43 * PX_PER_MM)
    seen = np.minimum(drawn(*lines)[:, first:stop] / PEN.darkness, 1.0).astype(np.float64)
    columns = np.arange(first, stop) + 0.5
    truth = np.stack([np.interp(columns, line[:, 0], line[:, 1]) for line in lines])
    flat = np.repeat(np.array(LEVELS_MM)[:, None] * PX_PER_MM, stop - first, axis=1)
    best = best_shapes(seen, np.zeros_like(seen), flat, PEN, PX_PER_MM)[0]
    for one, line in zip(best, truth, strict=True):  # to less than a millimetre of 15
        assert one.min() == pytest.approx(line.min(), abs=9)
        assert one.max() == pytest.approx(line.max(), abs=9)


@pytest.mark.parametrize("up_mm", [0.0, 1.2])
def test_a_letter_that_hangs_on_a_line_is_no_tip(up_mm: float) -> None:
    """The bars of the name II touch a line from below, beside a notch; a deep S wave is a tip."""
    line = line_px(40, {14.0: (up_mm,), 30.0: (-14.0,)})
    bars = [np.array([[x, 40.0], [x, 43.0]]) * PX_PER_MM for x in (14.9, 15.8)]
    dark = drawn(line, *bars)
    small = cv2.resize(dark, None, fx=1 / FACTOR, fy=1 / FACTOR, interpolation=cv2.INTER_AREA)
    ways = follow_rows(small > 0.4, rows()[:1], PX_PER_MM / FACTOR)
    names = [Box(14.0, 38.8, 22.0, 42.8), Box(29.0, 38.8, 37.0, 42.8)]
    nowhere = np.zeros(small.shape, bool)
    how = (FACTOR, PX_PER_MM, PEN.width_px, PEN.blur_px, PEN.darkness, names)
    (ink,) = column_ink(dark, ways, nowhere, *how)
    one = fitted_line(ink, PEN)
    x_mm = one.x_px / PX_PER_MM
    for around, deepest in (((14.4, 16.4), 0.0), ((29.0, 31.0), 14.0)):
        part = (x_mm > around[0]) & (x_mm < around[1])
        assert one.y_px[part].max() == pytest.approx((40 + deepest) * PX_PER_MM, abs=8)


# --- exchanges --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
def test_pieces_that_lines_took_of_each_other_are_given_back(order: tuple[int, ...]) -> None:
    """Three lines meet twice. Where each has another's piece in between, it takes two exchanges."""
    columns = 120
    x = (np.arange(2 * columns) + 0.5) / 2
    bow = (x - 35) * (x - 85) / 600
    lines = np.stack([100 + size * bow for size in (-30.0, 12.0, 34.0)])
    seen, rest = np.zeros((230, columns)), np.zeros((230, columns))
    draw(lines, PEN.sharp_px, *rim_of(PEN).numbers, seen)
    taken = np.where((x > 35) & (x < 85), lines[list(order)], lines)
    inked = int(np.count_nonzero(seen > 0.5))
    place = Place(
        0, columns, 0, (0, 1, 2), seen, rest, taken, PEN, rim_of(PEN), _views(seen, rest), inked
    ).as_it_is()
    np.testing.assert_allclose(_exchanged(place).start, lines, atol=1.0)

    def off_px(guesses: list[np.ndarray]) -> float:
        return min(float(np.abs(guess - lines).max()) for guess in guesses)

    once = _best_exchanges(place, [taken])
    if all(a != b for a, b in enumerate(order)):
        assert off_px(once) > 10
        assert off_px(_best_exchanges(place, once)) < 2
    elif order != (0, 1, 2):
        assert off_px(once) < 2
