"""0 mV of every row against where it was drawn: on whole pages, and on curves with known flaws."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ecgvision.calibration import calibrate
from ecgvision.evidence import upright
from ecgvision.plugins import Format
from ecgvision.recognition import recognise
from ecgvision.recording import Calibration, LeadCurve, ScaleSource
from ecgvision.signals.vector import vector_curves
from ecgvision.signals.zero import RowZero, row_zeros, zero_line
from ecgvision.testing import Ecg, draw_page, synthetic_ecg, trace_points
from ecgvision.types import LEADS, Layout, Page
from tests.conftest import STOCK_LAYOUTS, OpenPage

VECTOR_MM, RASTER_MM = 0.001, 0.05
SKEW = float(np.tan(np.radians(0.1)))
NO_INK = np.full((1, 1), 255, np.uint8)
LIMB = LEADS[:6]
LayoutOf = Callable[[str, str], Layout]


def wandering_ecg(seed: int) -> Ecg:
    """Eight leads with offsets and slow drifts of their own, so that the rows' ink misleads."""
    rng = np.random.default_rng(seed)
    clean = synthetic_ecg(seed=seed, noise_mv=0.01, seconds=12)
    times_s = np.arange(clean.signal_mv.shape[1]) / clean.fs_hz
    turns = rng.uniform(0.05, 0.4, (8, 1)) * times_s + rng.uniform(size=(8, 1))
    drift = rng.normal(0, 0.03, (8, 1)) + rng.normal(0, 0.06, (8, 1)) * np.sin(2 * np.pi * turns)
    eight = clean.signal_mv[[0, 1, *range(6, 12)]] + drift
    return Ecg.from_eight(2 * np.rint(500 * eight), clean.fs_hz)


@pytest.fixture(scope="module")
def wandering() -> Ecg:
    return wandering_ecg(1)


def moved(layout: Layout, shifts_mm: Sequence[float]) -> Layout:
    """The layout with each row moved by itself."""
    by_row = zip(layout.rows, shifts_mm, strict=True)
    shift = {b: by for row, by in by_row for b in row}
    return replace(layout, boxes=tuple(b.shifted(0.0, shift[b]) for b in layout.boxes))


def with_leads(ecg: Ecg, names: Sequence[str], mv: float) -> Ecg:
    """The recording with these leads constant, or NaN."""
    signal_mv = ecg.signal_mv.copy()
    signal_mv[[LEADS.index(name) for name in names]] = mv
    return Ecg(signal_mv, ecg.fs_hz)


def exchanged(ecg: Ecg, one: str, other: str) -> Ecg:
    """What a page shows whose names are those of other rows."""
    order = list(LEADS)
    order[LEADS.index(one)], order[LEADS.index(other)] = other, one
    return Ecg(ecg.signal_mv[[LEADS.index(lead) for lead in order]], ecg.fs_hz)


def read(drawn: Layout, ecg: Ecg, seed: int = 0) -> tuple[tuple[LeadCurve, ...], Layout]:
    """The curves of a page drawn so, and its layout as measured: rows where the ink mostly runs."""
    rng = np.random.default_rng(seed)
    measured = moved(drawn, rng.uniform(-0.5, 0.5, len(drawn.rows)))
    curves = []
    for box, at in zip(measured.boxes, drawn.boxes, strict=True):
        x, y = trace_points(at, drawn, ecg).T
        curves.append(LeadCurve(box, x, y, "vector", 1.0))
    return tuple(curves), measured


def as_scanned(
    curves: Sequence[LeadCurve], layout: Layout, seed: int = 0, late_mm: float = 0.1
) -> tuple[LeadCurve, ...]:
    """The curves as if read off pixels: smooth noise, a rest of skew, rows that are late."""
    rng = np.random.default_rng(seed)
    found = []
    for curve in curves:
        step = float(np.median(np.diff(curve.x_mm)))
        width = max(1, round(0.7 / step))
        kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
        white = rng.normal(0.0, 0.03, len(curve.x_mm) + len(kernel) - 1)
        noise = np.convolve(white, kernel / np.sqrt((kernel**2).sum()), "valid")
        skew = SKEW * (curve.x_mm - layout.page_mm[0] / 2)
        late = rng.uniform(-late_mm, late_mm)
        y = curve.y_mm + noise + skew
        found.append(replace(curve, x_mm=curve.x_mm + late, y_mm=y, origin="raster"))
    return tuple(found)


def scale(layout: Layout, **more: object) -> Calibration:
    return replace(
        Calibration(layout.speed_mm_per_s, layout.gain_mm_per_mv, "layout", "layout"), **more
    )


def feet(drawn: Layout, measured: Layout, skew: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Pulses as `Calibration.zero_mm` has them."""
    tilt = skew * (sum(drawn.pulse_mm or (0.0, 0.0)) / 2 - drawn.page_mm[0] / 2)
    return tuple(
        (row[0].baseline_mm, at[0].baseline_mm + tilt)
        for row, at in zip(measured.rows, drawn.rows, strict=True)
    )


def off_mm(zeros: Sequence[RowZero], drawn: Layout) -> np.ndarray:
    return np.array([z.zero_mm - r[0].baseline_mm for z, r in zip(zeros, drawn.rows, strict=True)])


def worst_mm(zeros: Sequence[RowZero], drawn: Layout) -> float:
    return float(np.abs(off_mm(zeros, drawn)).max())


def assert_honest(zeros: Sequence[RowZero], drawn: Layout) -> None:
    sigma = np.array([zero.sigma_mm for zero in zeros])
    assert (np.abs(off_mm(zeros, drawn)) < 4 * sigma).all()


# --- whole pages --------------------------------------------------------------------------------


def assert_page(page: Page, drawn: Layout, formats: dict[str, Format]) -> None:
    found = recognise(page, list(formats.values()))
    layout = found.match.layout
    level = upright(page, found.match)
    curves = vector_curves(level, layout)
    calibration = calibrate(level, found.match, NO_INK)
    declared = next(one for one in found.format.layouts if one.name == layout.name)
    zeros = row_zeros(curves, layout, declared, calibration)
    assert worst_mm(zeros, drawn) < VECTOR_MM
    assert [z.baseline_mm for z in zeros] == [row[0].baseline_mm for row in layout.rows]
    assert {z.slope for z in zeros} == {0.0}
    if calibration.zero_mm:
        assert {z.source for z in zeros} == {"pulse"}
    no_pulse = replace(calibration, zero_mm=())
    zeros = row_zeros(curves, layout, declared, no_pulse)
    assert worst_mm(zeros, drawn) < VECTOR_MM
    assert {z.source for z in zeros} <= {"physics", "layout"}
    assert max(z.sigma_mm for z in zeros) < 0.02
    zeros = row_zeros(as_scanned(curves, layout), layout, declared, no_pulse)
    assert worst_mm(zeros, drawn) < RASTER_MM
    assert zeros[0].slope == pytest.approx(SKEW, abs=3 * RASTER_MM / layout.page_mm[0])
    assert_honest(zeros, drawn)


@pytest.mark.parametrize(("format_id", "name"), STOCK_LAYOUTS)
def test_every_stock_page(
    format_id: str,
    name: str,
    formats: dict[str, Format],
    layout_of: LayoutOf,
    wandering: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    offset_mm = (1.0, -3.0 + 6.0 * STOCK_LAYOUTS.index((format_id, name)) / len(STOCK_LAYOUTS))
    drawn = draw_page(layout, formats[format_id].info, wandering, offset_mm=offset_mm)
    assert_page(page_of(drawn.pdf), drawn.layout, formats)


@pytest.mark.parametrize(
    ("format_id", "name"), [STOCK_LAYOUTS[1], STOCK_LAYOUTS[5], STOCK_LAYOUTS[8]]
)
def test_real_recordings(
    format_id: str,
    name: str,
    formats: dict[str, Format],
    layout_of: LayoutOf,
    ptbxl: Callable[[int], Ecg],
    page_of: OpenPage,
) -> None:
    layout, info = layout_of(format_id, name), formats[format_id].info
    drawn = draw_page(layout, info, ptbxl(5), offset_mm=(-0.6, 2.4))
    assert_page(page_of(drawn.pdf), drawn.layout, formats)


@pytest.mark.parametrize("name", ["6x2", "3x4", "3x4+1R"])
def test_coordinates_in_steps_cost_little(name: str, layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("edan-se3", name)
    drawn = declared.shifted(0.0, 0.93)
    curves, layout = read(drawn, wandering)
    step_mm = 0.24 * 25.4 / 72
    curves = tuple(replace(c, y_mm=step_mm * np.round(c.y_mm / step_mm)) for c in curves)
    steps = tuple((row, step_mm * round(foot / step_mm)) for row, foot in feet(drawn, layout))
    zeros = row_zeros(curves, layout, declared, scale(layout, zero_mm=steps))
    assert worst_mm(zeros, drawn) < 0.01  # each foot is up to 0.042 mm off
    assert_honest(zeros, drawn)


# --- rows that are not where they are declared --------------------------------------------------

SHIFTS_MM = (2.3, -1.4, 0.6, -2.9, 3.0, 1.1, -0.7)


@pytest.mark.parametrize("name", ["6x2+1R", "6x2", "3x4+1R", "3x4"])
def test_pulses_find_rows_that_were_moved(name: str, layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("edan-se3", name)
    drawn = moved(declared, SHIFTS_MM[: len(declared.rows)])
    curves, layout = read(drawn, wandering)
    zeros = row_zeros(curves, layout, declared, scale(layout, zero_mm=feet(drawn, layout)))
    assert worst_mm(zeros, drawn) < VECTOR_MM
    assert {z.source for z in zeros} == {"pulse"}
    known = scale(layout, zero_mm=feet(drawn, layout, SKEW))
    zeros = row_zeros(as_scanned(curves, layout), layout, declared, known)
    assert worst_mm(zeros, drawn) < RASTER_MM


def test_one_moved_row_without_its_pulse_is_found_by_the_sums(
    layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of("edan-se3", "6x2")
    drawn = moved(declared, (0.0, 0.0, 2.5, 0.0, 0.0, 0.0))
    curves, layout = read(drawn, wandering)
    pulses = feet(drawn, layout)
    known = scale(layout, zero_mm=(*pulses[:2], *pulses[3:]))
    zeros = row_zeros(curves, layout, declared, known)
    assert worst_mm(zeros, drawn) < VECTOR_MM
    assert [z.source for z in zeros] == ["pulse"] * 2 + ["physics"] + ["pulse"] * 3


@pytest.mark.parametrize("declares", [True, False])
def test_columns_beside_a_strip_need_neither_pulse_nor_pattern(
    declares: bool, layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of("ge-muse", "3x4+1R")
    drawn = moved(declared, SHIFTS_MM[:4])
    curves, layout = read(drawn, wandering)
    zeros = row_zeros(curves, layout, declared if declares else None, scale(layout))
    assert worst_mm(zeros, drawn) < VECTOR_MM
    assert {z.source for z in zeros} == {"physics"}


@pytest.mark.parametrize("name", ["6x2", "3x4"])
def test_moved_rows_that_nothing_shows_are_only_their_level(
    name: str, layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of("edan-se3", name)
    drawn = moved(declared, SHIFTS_MM[: len(declared.rows)])
    curves, layout = read(drawn, wandering)
    for read_so in (curves, as_scanned(curves, layout)):
        zeros = row_zeros(read_so, layout, declared, scale(layout))
        assert "level" in {z.source for z in zeros}
        assert worst_mm(zeros, drawn) < 1.5
        assert_honest(zeros, drawn)


# --- the page's scale ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_id", "name"), [STOCK_LAYOUTS[1], STOCK_LAYOUTS[4], STOCK_LAYOUTS[7]]
)
@pytest.mark.parametrize(("printed", "grid"), [(0.97, 0.97), (1.0, 1.009)])
def test_rows_may_or_may_not_follow_the_grid(
    format_id: str, name: str, printed: float, grid: float, layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of(format_id, name)
    shifts_mm = [(printed - 1) * row[0].baseline_mm + 0.8 for row in declared.rows]
    drawn = moved(declared, shifts_mm)
    curves, layout = read(drawn, wandering)
    vote = ScaleSource("grid", grid * layout.gain_mm_per_mv, 0.0)
    zeros = row_zeros(curves, layout, declared, scale(layout, gain_sources=(vote,)))
    if name == "3x4":  # its two sums hold at any scale: only the levels tell
        assert_honest(zeros, drawn)
        assert worst_mm(zeros, drawn) < 0.6
    else:
        assert worst_mm(zeros, drawn) < VECTOR_MM


# --- leads that are not what they seem ----------------------------------------------------------


@pytest.mark.parametrize("pair", [("I", "II"), ("II", "III"), ("aVR", "aVF")])
@pytest.mark.parametrize(
    ("format_id", "name"), [STOCK_LAYOUTS[0], STOCK_LAYOUTS[4], STOCK_LAYOUTS[6], STOCK_LAYOUTS[7]]
)
def test_mislabelled_rows_do_not_mislead(
    format_id: str, name: str, pair: tuple[str, str], layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of(format_id, name)
    drawn = declared.shifted(0.0, 1.6)
    curves, layout = read(drawn, exchanged(wandering, *pair))
    for read_so in (curves, as_scanned(curves, layout)):
        zeros = row_zeros(read_so, layout, declared, scale(layout))
        assert_honest(zeros, drawn)
        assert worst_mm(zeros, drawn) < 1.2
    if declared.pulse_mm:
        zeros = row_zeros(curves, layout, declared, scale(layout, zero_mm=feet(drawn, layout)))
        assert worst_mm(zeros, drawn) < 0.005


@pytest.mark.parametrize("mv", [np.nan, 0.0])
@pytest.mark.parametrize("leads", [("III",), ("aVR", "V2"), ("II", "aVL")])
@pytest.mark.parametrize(
    ("format_id", "name"), [STOCK_LAYOUTS[4], STOCK_LAYOUTS[5], STOCK_LAYOUTS[7]]
)
def test_leads_that_are_missing_or_off(
    format_id: str, name: str, leads: Sequence[str], mv: float, layout_of: LayoutOf, wandering: Ecg
) -> None:
    declared = layout_of(format_id, name)
    drawn = declared.shifted(0.0, -2.2)
    curves, layout = read(drawn, with_leads(wandering, leads, mv))
    zeros = row_zeros(curves, layout, declared, scale(layout))
    assert_honest(zeros, drawn)
    assert worst_mm(zeros, drawn) < (VECTOR_MM if max(z.sigma_mm for z in zeros) < 0.05 else 1.0)


def test_a_page_keeps_its_accuracy_without_one_lead(layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("ge-mac1200", "6x2")
    drawn = declared.shifted(0.0, -2.2)
    for mv in (np.nan, 0.0):
        curves, layout = read(drawn, with_leads(wandering, ["aVR"], mv))
        zeros = row_zeros(curves, layout, declared, scale(layout))
        assert worst_mm(zeros, drawn) < VECTOR_MM
        assert {z.source for z in zeros} == {"layout"}


@pytest.mark.parametrize("declares", [True, False])
def test_chest_leads_alone_say_little(declares: bool, layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("ge-mac1200", "6x2")
    drawn = declared.shifted(0.0, 1.0)
    curves, layout = read(drawn, with_leads(wandering, LIMB, np.nan))
    zeros = row_zeros(curves, layout, declared if declares else None, scale(layout))
    assert {z.source for z in zeros} == {"level"}
    assert min(z.sigma_mm for z in zeros) > 0.3
    assert_honest(zeros, drawn)


def test_an_empty_page_and_one_of_flat_lines(layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("ge-mac1200", "6x2")
    curves, layout = read(declared, with_leads(wandering, LEADS, np.nan))
    none = np.empty(0)
    empty = [replace(c, x_mm=none, y_mm=none, confidence=0.0, reason="no-line") for c in curves]
    for read_so in (curves, empty):
        zeros = row_zeros(read_so, layout, declared, scale(layout))
        assert {z.source for z in zeros} == {"level"}
        assert_honest(zeros, declared)
    flat, layout = read(declared, with_leads(wandering, LEADS, 0.0))
    assert worst_mm(row_zeros(flat, layout, declared, scale(layout)), declared) < VECTOR_MM


def test_sums_that_contradict_pulses_are_told(layout_of: LayoutOf, wandering: Ecg) -> None:
    """A machine that prints each lead about its own middle: no sum holds, though all waves fit."""
    declared = layout_of("ge-muse", "3x4+1R")
    middle = np.median(wandering.signal_mv, axis=1, keepdims=True)
    middle[0] += 0.1
    curves, layout = read(declared, Ecg(wandering.signal_mv - middle, wandering.fs_hz))
    zeros = row_zeros(curves, layout, declared, scale(layout, zero_mm=feet(declared, layout)))
    assert worst_mm(zeros, declared) < 0.02
    assert min(z.sigma_mm for z in zeros) > 0.05
    zeros = row_zeros(curves, layout, declared, scale(layout))
    assert_honest(zeros, declared)
    assert min(z.sigma_mm for z in zeros) > 0.05


# --- curves off pixels --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_are_late_and_complexes_read_wrong(seed: int, layout_of: LayoutOf) -> None:
    declared = layout_of("philips-tc30", "3x4+1R-joined")
    drawn = declared.shifted(0.0, 2.0)
    curves, layout = read(drawn, wandering_ecg(seed + 20), seed)
    cut = [
        replace(c, y_mm=np.maximum(c.y_mm, np.quantile(c.y_mm, 0.04)))
        for c in as_scanned(curves, layout, seed, late_mm=0.3)
    ]
    zeros = row_zeros(cut, layout, declared, scale(layout))
    assert worst_mm(zeros, drawn) < RASTER_MM
    assert_honest(zeros, drawn)


def test_print_that_was_taken_for_the_trace_is_no_bias(layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("philips-tc30", "3x4+1R-joined")
    curves, layout = read(declared, wandering)
    spoilt = list(as_scanned(curves, layout))
    for at in (0, 5):  # I and aVL
        x = spoilt[at].x_mm
        name = (x > x[0] + 8) & (x < x[0] + 14)
        spoilt[at] = replace(spoilt[at], y_mm=np.where(name, spoilt[at].y_mm - 4, spoilt[at].y_mm))
    zeros = row_zeros(spoilt, layout, declared, scale(layout))
    assert worst_mm(zeros, declared) < RASTER_MM


def test_rows_that_are_late_are_no_bias(layout_of: LayoutOf) -> None:
    """Late by up to 12 ms a row, where columns end on a steep part: 0.1 mm if nothing is done."""
    declared = layout_of("philips-tc30", "3x4+1R-joined")
    worst = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        curves, layout = read(declared, wandering_ecg(seed))
        late = tuple(replace(c, x_mm=c.x_mm + rng.uniform(-0.3, 0.3)) for c in curves)
        worst.append(worst_mm(row_zeros(late, layout, declared, scale(layout)), declared))
    assert max(worst) < 0.03


def test_the_zero_line_goes_through_the_page(layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("ge-mac1200", "6x2")
    curves, layout = read(declared, wandering)
    zeros = row_zeros(as_scanned(curves, layout), layout, declared, scale(layout))
    x_mm = np.array([15.0, layout.page_mm[0] / 2, 265.0])
    for zero, row in zip(zeros, declared.rows, strict=True):
        due = row[0].baseline_mm + SKEW * (x_mm - layout.page_mm[0] / 2)
        assert zero_line(zero, layout, x_mm) == pytest.approx(due, abs=RASTER_MM)


def test_it_takes_no_time(layout_of: LayoutOf, wandering: Ecg) -> None:
    declared = layout_of("ge-muse", "3x4+3R")
    curves, layout = read(declared, wandering)
    took_s = []
    for _ in range(5):
        before_s = time.process_time()
        row_zeros(curves, layout, declared, scale(layout))
        took_s.append(time.process_time() - before_s)
    assert min(took_s) < 0.05  # 6 ms alone on a core


def test_curves_of_another_layout_are_refused(layout_of: LayoutOf, wandering: Ecg) -> None:
    layout = layout_of("ge-muse", "3x4")
    curves, measured = read(layout, wandering)
    with pytest.raises(ValueError, match="12 boxes"):
        row_zeros(curves[1:], measured, layout, scale(layout))
