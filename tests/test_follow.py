"""Rows are followed through their own ink, also where others cross it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ecgvision.follow import _stretches, follow_rows
from ecgvision.layouts import regular_layout
from ecgvision.types import Layout
from ecgvision.ways import Way, exchange_back

PX_PER_MM = 6.0


def two_rows(pitch_mm: float = 18.0) -> Layout:
    """Two rows of one lead each, 60 mm long."""
    return regular_layout(
        "2x1",
        page_mm=(80, 90),
        rows=[("I",), ("II",)],
        left_mm=10,
        baselines_mm=[40, 40 + pitch_mm],
        column_s=2.4,
    )


def mask_of(*lines_mm: np.ndarray) -> np.ndarray:
    """The ink of lines drawn with a 0.3 mm pen."""
    ink = np.zeros((540, 480), np.uint8)
    for line in lines_mm:
        points = (line * PX_PER_MM * 16).round().astype(np.int32)
        cv2.polylines(ink, [points[:, None]], False, 255, 2, cv2.LINE_8, 4)
    return ink > 0


def spiky(level_mm: float, peaks: dict[float, float]) -> np.ndarray:
    """A flat line with spikes 2 mm wide: height in mm (up) by the x they stand at."""
    x = np.arange(10, 70.01, 0.05)
    y = np.full_like(x, level_mm)
    for at, height in peaks.items():
        y -= height * np.clip(1 - np.abs(x - at), 0, None)
    return np.column_stack([x, y])


def strays_px(way: Way, line_mm: np.ndarray) -> np.ndarray:
    """How far the way runs from the line in each column, given the line's own slope there."""
    x = np.arange(way.first, way.last) + 0.5
    inside = (x > line_mm[0, 0] * PX_PER_MM + 2) & (x < line_mm[-1, 0] * PX_PER_MM - 2)
    near = np.stack(
        [np.interp(x + d, line_mm[:, 0] * PX_PER_MM, line_mm[:, 1] * PX_PER_MM)
         for d in np.linspace(-2, 2, 9)]
    )  # fmt: skip
    above = np.clip(near.min(axis=0) - (way.top + way.bottom + 1) / 2, 0, None)
    below = np.clip((way.top + way.bottom + 1) / 2 - near.max(axis=0), 0, None)
    return (above + below)[inside]


def test_rows_that_do_not_meet() -> None:
    lines = spiky(40, {25: 12, 50: -8}), spiky(58, {30: 6})
    ways = follow_rows(mask_of(*lines), two_rows().rows, PX_PER_MM)
    for way, line in zip(ways, lines, strict=True):
        assert strays_px(way, line).max() < 2.5
        assert not way.astray.any()


@pytest.mark.parametrize("height", [14, 22, 30])
def test_a_spike_crosses_the_row_above_and_stays_its_own(height: float) -> None:
    lines = spiky(40, {20: 8}), spiky(58, {40: height})
    ways = follow_rows(mask_of(*lines), two_rows().rows, PX_PER_MM)
    for way, line in zip(ways, lines, strict=True):
        assert strays_px(way, line).max() < 3.5
    tip = ways[1].top[(ways[1].first + np.arange(len(ways[1].top)) > 38 * PX_PER_MM)].min()
    assert tip == pytest.approx((58 - height) * PX_PER_MM, abs=6)


def test_spikes_that_run_into_each_other_explain_all_ink() -> None:
    """The upper row's S wave and the lower one's R wave overlap by 6 mm in the same columns.

    Which of the blot's pixels is whose the coarse ways need not tell (test_signals_crossings asks
    for the tips of such waves to two of its smaller pixels), but they leave none of it to nobody,
    and each reaches over the other.
    """
    mask = mask_of(spiky(40, {30: -12}), spiky(58, {30.4: 12}))
    upper, lower = follow_rows(mask, two_rows().rows, PX_PER_MM)
    level = np.arange(len(mask))[:, None]
    explained = np.zeros(mask.shape, np.uint8)
    for way in (upper, lower):
        inside = (level >= way.top) & (level <= way.bottom)
        explained[:, way.first : way.last] |= inside
    beside = cv2.dilate(explained, np.ones((9, 9), np.uint8)) > 0  # a limb is wider than its way
    assert np.count_nonzero(mask & ~beside) < 0.01 * np.count_nonzero(mask)
    assert upper.bottom.max() == pytest.approx(52 * PX_PER_MM, abs=12)
    assert lower.top.min() == pytest.approx(46 * PX_PER_MM, abs=12)
    assert upper.bottom.max() > lower.top.min() + 2 * PX_PER_MM


def test_a_row_that_is_not_printed_is_astray() -> None:
    line = spiky(58, {20: 10, 40: 10, 60: 10})
    above, below = follow_rows(mask_of(line), two_rows().rows, PX_PER_MM)
    covered = [column for column in range(above.first, above.last) if not on_paper(above, column)]
    on_the_other = above.astray[[column - above.first for column in covered]]
    assert not covered or on_the_other.mean() > 0.9
    assert not below.astray.any()
    assert strays_px(below, line).max() < 2.5


def on_paper(way: Way, column: int) -> bool:
    """Whether the way runs where the only line, at 58 mm, is not near."""
    return bool(way.bottom[column - way.first] < 46 * PX_PER_MM)


def test_a_gap_is_crossed_level() -> None:
    line = spiky(40, {20: 10})
    left, right = line[line[:, 0] < 35], line[line[:, 0] > 47]
    way = follow_rows(mask_of(left, right), two_rows().rows[:1], PX_PER_MM)[0]
    assert strays_px(way, line).max() < 3.5


def test_no_ink_gives_a_level_way() -> None:
    (way,) = follow_rows(np.zeros((540, 480), bool), two_rows().rows[:1], PX_PER_MM)
    assert np.ptp(way.left) <= 2
    assert abs(way.left.mean() - 240) < 3


@pytest.mark.parametrize(("long_mm", "is_exchanged"), [(2.5, False), (12.0, True)])
def test_rows_that_took_each_others_line_are_exchanged_back(
    long_mm: float, is_exchanged: bool
) -> None:
    """A wide wave may lead below the next row for a while, a whole beat not."""
    columns = np.arange(360)
    upper, lower = (np.full(360, level) for level in (240, 348))
    own = [Way(60, y, y, np.zeros(360, bool)) for y in (upper, lower)]
    swapped = (columns >= 120) & (columns < 120 + round(long_mm * PX_PER_MM))
    mixed = [np.where(swapped, lower, upper), np.where(swapped, upper, lower)]
    ways = [Way(60, y, y, np.zeros(360, bool)) for y in mixed]
    changed = exchange_back(ways, [240.0, 348.0], PX_PER_MM, width=480)
    assert changed.any() == is_exchanged
    for way, mine, as_given in zip(ways, own, mixed, strict=True):
        assert np.array_equal(way.left, mine.left if is_exchanged else as_given)
    if is_exchanged:  # only where the exchange began and ended is looked at again
        assert changed[60 + 120]
        assert changed[60 + 191]
        assert not changed[:140].any()
        assert not changed[300:].any()


@pytest.mark.parametrize(("wave_mm", "is_exchanged"), [(10.0, True), (40.0, False)])
def test_between_two_fast_beats_little_is_flat(wave_mm: float, is_exchanged: bool) -> None:
    """From an S wave over a T wave to the next R, 7 mm on; or one wide, deep ventricular beat."""
    columns = np.arange(360)
    inside = (columns >= 120) & (columns < 120 + round(7 * PX_PER_MM))
    wave = np.where(inside, np.sin((columns - 120) / 42 * np.pi), 0) * wave_mm * PX_PER_MM

    def way(line: np.ndarray) -> Way:
        y, before = line.astype(np.int64), np.roll(line, 1).astype(np.int64)
        return Way(60, before, y, np.zeros(360, bool))

    upper, lower = np.full(360, 240.0), np.full(360, 348.0)
    if is_exchanged:
        upper, lower = upper - wave, lower - wave
        drawn = np.where(inside, lower, upper), np.where(inside, upper, lower)
    else:  # the upper row's own wave dips below the lower row's line
        drawn = upper + wave, lower
        upper, lower = drawn
    ways = [way(line) for line in drawn]
    assert exchange_back(ways, [240.0, 348.0], PX_PER_MM, width=480).any() == is_exchanged
    for found, due in zip(ways, (upper, lower), strict=True):
        # The limbs where they change over are found again afterwards.
        assert np.array_equal(
            np.delete(found.left, (120, 162)), np.delete(due, (120, 162)).astype(int)
        )


@pytest.mark.parametrize("seed", range(5))
def test_pieces_are_those_that_labels_tell(seed: int) -> None:
    """Specks of all sizes, with columns between them that have none."""
    rng = np.random.default_rng(seed)
    part = cv2.GaussianBlur(rng.random((60, 200)), (0, 0), 1.5) > 0.54
    part[:, rng.random(200) < 0.1] = False
    touching = cv2.GaussianBlur(rng.random((60, 200)), (0, 0), 4) > 0.5
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8))
    for near in (None, touching):
        seen = np.unique(labels[part if near is None else part & near])
        expected = [
            (left, left + width) for left, _, width, _, area in stats[seen].tolist() if area >= 12
        ]
        assert len(expected) > 5
        assert sorted(_stretches(part, near, 12)) == sorted(expected)


@pytest.mark.parametrize(
    ("level_mm", "tip_mm", "name_mm"), [(46, 38, 38), (44, 52, 40), (42, 34, 38)]
)
def test_a_way_leaves_a_letter_for_its_own_ink(
    level_mm: float, tip_mm: float, name_mm: float
) -> None:
    """A lead begins flat beside the V of its name, and its first spike touches that."""
    layout = regular_layout(
        "1x2",
        page_mm=(80, 90),
        rows=[("I", "V1")],
        left_mm=10,
        baselines_mm=[42],
        column_s=1.2,
        name_offset_mm=(0.7, name_mm - 42.5),
    )
    before = np.array([[10.0, 40.0], [40.0, 40.0]])
    knots = [(40.2, level_mm), (42.2, level_mm), (42.8, tip_mm), (43.9, level_mm), (70, level_mm)]
    lead, letter = np.array(knots, float), name_mm + np.array([[0, 0], [0, 2.4], [0, 0]])
    letter[:, 0] = (40.4, 41.4, 42.4)
    (way,) = follow_rows(mask_of(before, lead, letter), layout.rows, PX_PER_MM)
    assert strays_px(way, lead).max() < 3.5
