"""Vector pages give back the samples that were drawn: when, how high, and where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest

from ecgvision.evidence import upright
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format
from ecgvision.recognition import recognise
from ecgvision.recording import Calibration, Lattice, LeadCurve
from ecgvision.signals.lattice import find_sampling, lattice_of
from ecgvision.signals.vector import vector_curves
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, synthetic_ecg, trace_points
from ecgvision.trace import STEP_MM, trace_leads
from ecgvision.types import LEADS, Box, Layout, LeadBox, Page
from tests.conftest import STOCK_LAYOUTS, OpenPage

PT_MM = 25.4 / 72
FINE_DB = 60.0
NEAR_THE_LIMIT_DB = 2.0


def calibration(layout: Layout) -> Calibration:
    return Calibration(layout.speed_mm_per_s, layout.gain_mm_per_mv, "layout", "layout")


def found_curves(page: Page, formats: dict[str, Format]) -> tuple[LeadCurve, ...]:
    """As the pipeline has it: the page is recognised first, its layout measured on it."""
    match = recognise(page, list(formats.values())).match
    return vector_curves(upright(page, match), match.layout)


def read_mm(curve: LeadCurve, layout: Layout, times_s: np.ndarray) -> np.ndarray:
    """y at times of the recording, by the rule that the docstring states; NaN without a line."""
    lead_box = curve.lead_box
    at = (curve.x_mm - lead_box.box.left_mm) / layout.speed_mm_per_s + lead_box.start_s
    if not len(at):
        return np.full(len(times_s), np.nan)
    ends = at[0] - 1e-6, at[-1] + 1e-6
    y = np.interp(times_s, at, curve.y_mm)
    y[(times_s < ends[0]) | (times_s > ends[1])] = np.nan
    return y


def times_and_y(lead_box: LeadBox, drawn: DrawnPage) -> tuple[np.ndarray, np.ndarray]:
    times_s, _ = drawn.ecg.window(lead_box.lead, lead_box.start_s, lead_box.stop_s)
    return times_s, trace_points(lead_box, drawn.layout, drawn.ecg)[:, 1]


def snr_db(got: np.ndarray, truth: np.ndarray) -> float:
    """With the best constant offset taken out."""
    both = np.isfinite(got) & np.isfinite(truth)
    off = (got - truth)[both]
    wave = truth[both] - truth[both].mean()
    return float(10 * np.log10((wave**2).sum() / max(((off - off.mean()) ** 2).sum(), 1e-12)))


def rounded_db(y_mm: np.ndarray, snap_pt: float) -> float:
    """What is left of the truth when only its y is rounded."""
    step = snap_pt * PT_MM
    return snr_db(np.round(y_mm / step) * step, y_mm)


def assert_read(
    curves: Sequence[LeadCurve], drawn: DrawnPage, least_db: Callable[[np.ndarray], float]
) -> None:
    """Every lead is whole, sits on its samples and is as good as `least_db` says of its truth."""
    assert [c.lead_box.lead for c in curves] == [b.lead for b in drawn.layout.boxes]
    step_mm = drawn.layout.speed_mm_per_s / drawn.ecg.fs_hz
    for curve, lead_box in zip(curves, drawn.layout.boxes, strict=True):
        times_s, truth = times_and_y(lead_box, drawn)
        got = read_mm(curve, drawn.layout, times_s)
        assert np.isfinite(got).mean() > 0.997, lead_box.lead
        assert snr_db(got, truth) >= least_db(truth), lead_box.lead
        assert curve.sample_mm == pytest.approx(step_mm, rel=1e-4), lead_box.lead
        assert (curve.confidence, curve.reason) == (1.0, None), lead_box.lead
        assert curve.origin == "vector"


def fine(_: np.ndarray) -> float:
    return FINE_DB


def near_limit(snap_pt: float) -> Callable[[np.ndarray], float]:
    return lambda truth: min(rounded_db(truth, snap_pt), 90.0) - NEAR_THE_LIMIT_DB


# --- every format's pages -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_id", "name", "way"),
    [
        *((*one, {"offset_mm": (1.3, -0.7)}) for one in STOCK_LAYOUTS),
        *((*one, {"join_rows": True}) for one in STOCK_LAYOUTS[1::2]),
        *((*one, {"trace_pieces": 127}) for one in STOCK_LAYOUTS[::2]),
    ],
)
def test_what_was_drawn_comes_back(
    format_id: str,
    name: str,
    way: dict[str, object],
    formats: dict[str, Format],
    layout_of: Callable[[str, str], Layout],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    drawn = draw_page(layout_of(format_id, name), formats[format_id].info, ecg, **way)
    assert_read(found_curves(page_of(drawn.pdf), formats), drawn, fine)


@pytest.mark.parametrize("snap_pt", [0.24, 0.12])
@pytest.mark.parametrize(("format_id", "name"), STOCK_LAYOUTS[2::3])
def test_rounded_coordinates_cost_no_more_than_their_y(
    format_id: str,
    name: str,
    snap_pt: float,
    formats: dict[str, Format],
    layout_of: Callable[[str, str], Layout],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """0.24 pt is 0.085 mm: up to two samples of 500 Hz share one x."""
    drawn = draw_page(layout_of(format_id, name), formats[format_id].info, ecg, snap_pt=snap_pt)
    assert_read(found_curves(page_of(drawn.pdf), formats), drawn, near_limit(snap_pt))


@pytest.mark.parametrize(
    ("way", "limit_pt"),
    [
        ({"decimals": 2}, 0.01),
        ({"snap_pt": 0.24, "join_rows": True}, 0.24),
    ],
)
@pytest.mark.parametrize("format_id", ["edan-se3", "ge-mac1200", "ge-muse", "philips-tc30"])
def test_rounded_paths_of_every_kind(
    format_id: str,
    way: dict[str, object],
    limit_pt: float,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    one = formats[format_id]
    drawn = draw_page(one.layouts[0], one.info, ecg, **way)
    assert_read(found_curves(page_of(drawn.pdf), formats), drawn, near_limit(limit_pt))


@pytest.mark.parametrize("limit_pt", [0.12])
def test_a_path_for_every_sample(
    limit_pt: float, formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    layout = formats["philips-tc30"].layouts[1]
    info = formats["philips-tc30"].info
    drawn = draw_page(layout, info, ecg, grid=False, trace_pieces=2, snap_pt=limit_pt)
    curves = vector_curves(page_of(drawn.pdf), layout)
    assert_read(curves, drawn, near_limit(limit_pt))


@pytest.mark.parametrize("snap_pt", [None, 0.12, 0.24])
@pytest.mark.parametrize("number", [44])
def test_real_signals_come_back(
    number: int,
    snap_pt: float | None,
    formats: dict[str, Format],
    ptbxl: Callable[[int], Ecg],
    page_of: OpenPage,
) -> None:
    one = formats["ge-muse"]
    drawn = draw_page(one.layouts[0], one.info, ptbxl(number), snap_pt=snap_pt)
    limit = near_limit(snap_pt) if snap_pt else fine
    assert_read(found_curves(page_of(drawn.pdf), formats), drawn, limit)


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("kind", ["rotate", "content"])
def test_turned_pages(
    kind: str, turn: int, formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["philips-tc30"]
    drawn = draw_page(one.layouts[1], one.info, ecg, join_rows=turn == 180)
    with pymupdf.open(stream=drawn.pdf) as before, pymupdf.open() as after:
        width, height = before[0].rect.width, before[0].rect.height
        size = (height, width) if turn != 180 and kind == "content" else (width, height)
        page = after.new_page(width=size[0], height=size[1])
        angle = turn if kind == "content" else 0
        page.show_pdf_page(page.rect, before, 0, rotate=angle)
        page.set_rotation(turn if kind == "rotate" else 0)
        turned = after.tobytes()
    assert_read(found_curves(page_of(turned), formats), drawn, fine)


# --- other scales and rates ---------------------------------------------------------------------


def plain_layout(speed: float, gain: float) -> Layout:
    """3x4 and a rhythm strip without any gap, 2 s per column at 50 mm/s."""
    names = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
    wide = 62.5
    seconds = wide / speed
    boxes = [
        LeadBox(
            lead,
            Box(12 + k * wide, 30 + 35 * row, 12 + (k + 1) * wide, 65 + 35 * row),
            k * seconds,
            (k + 1) * seconds,
        )
        for row, leads in enumerate(names)
        for k, lead in enumerate(leads)
    ]
    strip = LeadBox("II", Box(12, 135, 262, 170), 0, 4 * seconds, rhythm_strip=True)
    return Layout("plain", (279.4, 215.9), (*boxes, strip), speed, gain, pulse_mm=(5.0, 10.0))


@pytest.mark.parametrize(
    ("speed", "gain", "fs_hz", "snap_pt"),
    [
        (50.0, 10.0, 500.0, None),
        (50.0, 20.0, 250.0, 0.24),
        (25.0, 5.0, 300.0, None),
        (25.0, 20.0, 300.0, 0.12),
        (25.0, 5.0, 500.0, 0.12),
        (25.0, 10.0, 1000 / 14, None),
        (25.0, 10.0, 1000 / 14, 0.24),
        (25.0, 10.0, 1000.0, None),
        (25.0, 20.0, 1000.0, 0.12),
    ],
)
def test_speeds_gains_and_rates(
    speed: float,
    gain: float,
    fs_hz: float,
    snap_pt: float | None,
    formats: dict[str, Format],
    page_of: OpenPage,
) -> None:
    layout = plain_layout(speed, gain)
    ecg = synthetic_ecg(seed=5, noise_mv=0.01, fs_hz=fs_hz)
    drawn = draw_page(layout, formats["philips-tc30"].info, ecg, grid=True, snap_pt=snap_pt)
    curves = vector_curves(page_of(drawn.pdf), layout)
    limit = near_limit(snap_pt) if snap_pt else fine
    for curve, lead_box in zip(curves, layout.boxes, strict=True):
        assert curve.sample_mm == pytest.approx(speed / fs_hz, rel=1e-4)
        times_s, truth = times_and_y(lead_box, drawn)
        # A column may begin between two samples; its first path then says nothing of the rest.
        late_s = times_s[0] - lead_box.start_s
        first_s = (curve.x_mm[0] - lead_box.box.left_mm) / speed
        assert abs(late_s - first_s) < 1e-5 + (1 / fs_hz if fs_hz < 100 else 0)
        got = read_mm(curve, layout, times_s - late_s + first_s)
        assert snr_db(got, truth) >= limit(truth), lead_box.lead


def drawn_lines(
    layout: Layout, ecg: Ecg, keep: Callable[[LeadBox, np.ndarray], Sequence[np.ndarray]]
) -> bytes:
    """A page with nothing but what `keep` makes of each lead's points."""
    canvas = PdfCanvas(layout.page_mm)
    for lead_box in layout.boxes:
        for points in keep(lead_box, trace_points(lead_box, layout, ecg)):
            canvas.polyline(points, 0.3)
    return canvas.tobytes()


def as_drawn(layout: Layout, ecg: Ecg) -> DrawnPage:
    """The truth of a page that was drawn by hand."""
    return DrawnPage(b"", layout, ecg, 0.3, None, None)


def without_straight_points(points: np.ndarray) -> np.ndarray:
    """What a printer driver leaves of a line: points between equal slopes are gone."""
    slope = np.diff(points[:, 1])
    bend = np.abs(np.diff(slope)) > 1e-6
    return points[np.r_[True, bend, True]]


def test_points_on_straight_lines_may_be_left_out(page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    full = synthetic_ecg(seed=5)
    signal_mv = full.signal_mv.copy()
    signal_mv[6] = 0.0  # V1 is off: two points are left of it
    ecg = Ecg(signal_mv, full.fs_hz)
    kept: list[float] = []

    def thinned(_: LeadBox, points: np.ndarray) -> list[np.ndarray]:
        few = without_straight_points(points)
        kept.append(len(few) / len(points))
        return [few]

    page = page_of(drawn_lines(layout, ecg, thinned))
    assert np.median(kept) < 0.8  # else this test would show nothing
    curves = vector_curves(page, layout)
    assert_read([c for c in curves if c.lead_box.lead != "V1"],
                as_drawn(replace(layout, boxes=tuple(b for b in layout.boxes if b.lead != "V1")),
                         ecg), fine)  # fmt: skip
    flat = next(c for c in curves if c.lead_box.lead == "V1")
    assert (flat.reason, flat.confidence) == (None, 1.0)
    assert np.nanmax(np.abs(flat.y_mm - flat.lead_box.baseline_mm)) < 0.01


def test_paper_that_is_not_quite_to_scale(page_of: OpenPage) -> None:
    """As MUSE's: 0.14175 pt a sample are 25.003 mm/s."""
    real = 25.4 / 72 * 0.14175 * 500
    layout = replace(plain_layout(25.0, 10.0), speed_mm_per_s=real)
    ecg = synthetic_ecg(seed=6)
    content = drawn_lines(layout, ecg, lambda _, points: [points])
    curves = vector_curves(page_of(content), plain_layout(25.0, 10.0))
    for curve in curves:
        assert curve.sample_mm == pytest.approx(real / 500, rel=2e-6)
    found = lattice_of(curves, calibration(layout))
    assert found is not None
    assert found.fs_hz == 500.0
    assert found.step_uv == pytest.approx(1.0, rel=1e-4)
    assert found.residual_uv < 0.02


def test_boxes_are_only_nearly_where_the_leads_are(page_of: OpenPage) -> None:
    """A measured box may be 0.2 mm off; what begins with its lead begins at its time."""
    layout = plain_layout(25.0, 10.0)
    ecg = synthetic_ecg(seed=7)
    content = drawn_lines(layout, ecg, lambda _, points: [points])
    moved = layout.shifted(0.17, -0.4)
    curves = vector_curves(page_of(content), moved)
    assert_read(curves, as_drawn(layout, ecg), fine)
    assert all(c.x_mm[0] == c.lead_box.box.left_mm for c in curves)


def test_traces_without_any_sampling(page_of: OpenPage) -> None:
    """Points at no regular distance are taken as they are."""
    layout = plain_layout(25.0, 10.0)
    ecg = synthetic_ecg(seed=8)
    rng = np.random.default_rng(1)

    def uneven(_: LeadBox, points: np.ndarray) -> list[np.ndarray]:
        x = points[0, 0] + np.r_[0, np.cumsum(rng.uniform(0.02, 0.11, 960))]
        x = x[x < points[-1, 0]]
        return [np.column_stack([x, np.interp(x, points[:, 0], points[:, 1])])]

    curves = vector_curves(page_of(drawn_lines(layout, ecg, uneven)), layout)
    assert {c.sample_mm for c in curves} == {None}
    assert lattice_of(curves, calibration(layout)) is None
    for curve in curves[:12]:
        times_s, truth = times_and_y(curve.lead_box, as_drawn(layout, ecg))
        got = read_mm(curve, layout, times_s)
        inside = np.isfinite(got)
        if curve.x_mm[-1] > curve.lead_box.box.right_mm - 0.5:
            assert inside.mean() > 0.98
            assert curve.reason is None
        assert snr_db(got, truth) > 25
        assert (np.diff(curve.x_mm) >= 0).all()


# --- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize("snap_pt", [None, 0.24])
@pytest.mark.parametrize("join_rows", [False, True])
@pytest.mark.parametrize("layout_number", [0, 1])
def test_gaps_stay_gaps(
    layout_number: int,
    join_rows: bool,
    snap_pt: float | None,
    formats: dict[str, Format],
    page_of: OpenPage,
) -> None:
    one = formats["philips-tc30"]
    full = synthetic_ecg(seed=3, noise_mv=0.01)
    signal_mv = full.signal_mv.copy()
    signal_mv[9] = np.nan  # V4 was off
    signal_mv[7, 3000:3375] = np.nan  # V2 came off for 0.75 s,
    signal_mv[7, 3450:3490] = np.nan  # and again, leaving a short piece
    signal_mv[4, 1250:1400] = np.nan  # aVL begins 0.3 s late
    signal_mv[2, 1200:1250] = np.nan  # III ends 0.1 s early
    signal_mv[11, 4000:4002] = np.nan  # V6 lacks two samples
    ecg = Ecg(signal_mv, full.fs_hz)
    drawn = draw_page(
        one.layouts[layout_number], one.info, ecg, join_rows=join_rows, snap_pt=snap_pt
    )
    curves = found_curves(page_of(drawn.pdf), formats)
    for curve, lead_box in zip(curves, drawn.layout.boxes, strict=True):
        lead = lead_box.lead
        times_s, truth = times_and_y(lead_box, drawn)
        got = read_mm(curve, drawn.layout, times_s)
        if lead == "V4":
            assert (curve.reason, curve.confidence) == ("no-line", 0.0)
            assert not np.isfinite(got).any()
            continue
        missing = np.isnan(truth) if lead != "V6" else np.zeros(len(truth), bool)
        wrong = np.isfinite(got) == missing
        assert wrong.sum() <= (8 if snap_pt else 3), lead
        assert snr_db(got, truth) >= (near_limit(snap_pt) if snap_pt else fine)(truth), lead
        if lead in ("V2", "aVL", "III"):
            assert curve.reason == "partly-missing"
            assert curve.confidence == pytest.approx(1 - missing.mean(), abs=0.01)
        else:
            assert (curve.reason, curve.confidence) == (None, 1.0)


def test_leads_that_are_off_are_flat_and_not_missing(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    for format_id in ("edan-se3", "ge-muse"):
        one = formats[format_id]
        full = synthetic_ecg(seed=3)
        signal_mv = full.signal_mv.copy()
        signal_mv[[0, 3, 6]] = 0.0
        drawn = draw_page(one.layouts[-1], one.info, Ecg(signal_mv, full.fs_hz), snap_pt=0.12)
        for curve, lead_box in zip(
            found_curves(page_of(drawn.pdf), formats), drawn.layout.boxes, strict=True
        ):
            assert curve.reason is None
            times_s, truth = times_and_y(lead_box, drawn)
            got = read_mm(curve, drawn.layout, times_s)
            assert np.isfinite(got).mean() > 0.99
            assert np.nanmax(np.abs(got - truth)) < 0.6 * 0.12 * PT_MM + 0.03, lead_box.lead


def test_a_page_of_flat_lines_has_no_lattice_to_find(page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    ecg = Ecg(np.zeros((12, 5000), np.float32), 500.0)
    content = drawn_lines(layout, ecg, lambda _, points: [points[[0, -1]]])
    curves = vector_curves(page_of(content), layout)
    assert find_sampling([c.lead_box.box.height_mm * np.ones((2, 2)) for c in curves], 25.0) is None
    for curve in curves:
        assert curve.sample_mm is None
        assert curve.confidence == 1.0
        assert np.abs(curve.y_mm - curve.lead_box.baseline_mm).max() < 0.01


def test_lines_that_only_go_up_and_down_have_no_lattice() -> None:
    upright = np.column_stack([np.full(40, 12.0), np.tile([10.0, 10.12], 20)])
    assert find_sampling([upright, upright], 25.0) is None


@pytest.mark.parametrize("unit_uv", [1.0, 4.88])
def test_the_unit_of_signals_that_hardly_move_is_found(unit_uv: float) -> None:
    steps = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 5000)
    y_mm = 10 * unit_uv / 1000 * np.cumsum(steps)
    lead_box = plain_layout(25.0, 10.0).boxes[0]
    curve = LeadCurve(lead_box, 0.05 * np.arange(5000), y_mm, "vector", 1.0, sample_mm=0.05)
    found = lattice_of([curve], Calibration(25.0, 10.0, "text", "text"))
    assert found is not None
    assert (found.fs_hz, found.step_uv) == (500.0, pytest.approx(unit_uv, rel=1e-6))


def test_a_page_without_traces_says_so(page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    canvas = PdfCanvas(layout.page_mm)
    canvas.line(5.0, 20.0, 8.0, 20.0)
    for curve in vector_curves(page_of(canvas.tobytes()), layout):
        assert (curve.reason, curve.confidence) == ("no-line", 0.0)
        assert not np.isfinite(curve.y_mm).any()


def test_pictures_are_refused(page_of: OpenPage, formats: dict[str, Format], ecg: Ecg) -> None:
    one = formats["ge-muse"]
    page = page_of(as_png(draw_page(one.layouts[0], one.info, ecg).pdf, 100), ".png")
    with pytest.raises(ValueError, match="expected a vector page, found image"):
        vector_curves(page, one.layouts[0])


# --- whose line it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("join_rows", [False, True])
def test_rows_that_run_through_each_other(
    join_rows: bool, formats: dict[str, Format], page_of: OpenPage
) -> None:
    """Three times as tall and with baselines that wander half way to the next row."""
    one = formats["ge-mac1200"]
    source = synthetic_ecg(seed=3, noise_mv=0.01)
    wander = 0.9 * np.sin(2 * np.pi * np.arange(source.signal_mv.shape[1]) / 5000)
    ecg = Ecg((source.signal_mv * 3 + wander).astype(np.float32), source.fs_hz)
    drawn = draw_page(one.layouts[0], one.info, ecg, join_rows=join_rows)
    assert_read(vector_curves(page_of(drawn.pdf), drawn.layout), drawn, fine)


def test_all_leads_of_a_column_may_lie_off_their_rows(page_of: OpenPage) -> None:
    """Every trace nearer to the next row's baseline than to its own: their order tells."""
    layout = plain_layout(25.0, 10.0)
    source = synthetic_ecg(seed=4)
    ecg = Ecg(source.signal_mv - np.float32(2.0), source.fs_hz)
    content = drawn_lines(layout, ecg, lambda _, points: [points])
    assert_read(vector_curves(page_of(content), layout), as_drawn(layout, ecg), fine)


def drifting_past(lead: str, mv_per_s: float) -> Ecg:
    """A lead that drifts through its neighbours' rows and far beyond, from the fifth second on."""
    source = synthetic_ecg(seed=5)
    signal_mv = source.signal_mv.copy()
    times_s = np.arange(signal_mv.shape[1]) / source.fs_hz
    drift_mv = mv_per_s * np.maximum(times_s - 5, 0)
    signal_mv[LEADS.index(lead)] += drift_mv.astype(np.float32)
    return Ecg(signal_mv, source.fs_hz)


@pytest.mark.parametrize(("lead", "mv_per_s"), [("V5", 1.0), ("V5", 0.75), ("V2", -0.75)])
def test_a_lead_that_drifts_past_its_neighbour_is_told_by_the_order_of_drawing(
    lead: str, mv_per_s: float, formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    layout, ecg = one.layouts[0], drifting_past(lead, mv_per_s)
    drawn = draw_page(layout, one.info, ecg)
    page = page_of(drawn.pdf)
    assert_read(vector_curves(page, layout), drawn, fine)
    for trace in trace_leads(page, layout, np.full((1, 1), 255, np.uint8)):
        points = trace_points(trace.lead_box, layout, ecg)
        x_mm = trace.lead_box.box.left_mm + STEP_MM * (np.arange(len(trace.y_mm)) + 0.5)
        off_mm = np.abs(trace.y_mm - np.interp(x_mm, points[:, 0], points[:, 1]))
        assert np.nanmedian(off_mm) < 0.05, trace.lead_box.lead


@pytest.mark.parametrize("disorder", [lambda b: -b.baseline_mm, lambda b: b.lead])
def test_rows_that_are_drawn_in_no_such_order_go_by_their_levels(
    disorder: Callable[[LeadBox], float | str], formats: dict[str, Format], page_of: OpenPage
) -> None:
    one = formats["ge-mac1200"]
    mixed = replace(one.layouts[0], boxes=tuple(sorted(one.layouts[0].boxes, key=disorder)))
    drawn = draw_page(mixed, one.info, drifting_past("V5", 0.35))
    assert_read(vector_curves(page_of(drawn.pdf), mixed), drawn, fine)


def test_lines_drawn_from_right_to_left(page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    ecg = synthetic_ecg(seed=9)
    content = drawn_lines(layout, ecg, lambda _, points: [points[::-1]])
    assert_read(vector_curves(page_of(content), layout), as_drawn(layout, ecg), fine)


def test_a_pulse_that_runs_into_the_trace_is_no_part_of_it(page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    ecg = synthetic_ecg(seed=9)

    def with_pulse(lead_box: LeadBox, points: np.ndarray) -> list[np.ndarray]:
        if lead_box.start_s > 0:
            return [points]
        left, low = lead_box.box.left_mm, lead_box.baseline_mm
        up = [(-6, 0), (-5, 0), (-5, -10), (-1, -10), (-1, 0), (-0.05, 0)]
        return [np.vstack([np.array(up) + np.array([left, low]), points])]

    curves = vector_curves(page_of(drawn_lines(layout, ecg, with_pulse)), layout)
    assert_read(curves, as_drawn(layout, ecg), fine)


# --- real pages ---------------------------------------------------------------------------------


def test_the_muse_page_gives_its_samples(data: Path, formats: dict[str, Format]) -> None:
    page = open_report(data / "muse" / "fictitious-3x4-3r.pdf").page(1)
    curves = found_curves(page, formats)
    assert len(curves) == 15
    found = lattice_of(curves, Calibration(25.0, 10.0, "text", "text"))
    assert found is not None
    assert found.fs_hz == 500.0
    assert found.step_uv == pytest.approx(1.0, rel=1e-3)
    assert found.residual_uv < 0.05
    for curve in curves:
        whole = curve.lead_box.rhythm_strip
        assert np.isfinite(curve.y_mm).sum() == (5000 if whole else 1238)  # it lifts its pen
        assert len(curve.x_mm) == (5000 if whole else 1250)
        assert curve.reason == (None if whole else "partly-missing")
    # Its strips repeat three leads, filtered otherwise by up to two steps of its converter.
    for strip in curves[12:]:
        short = next(c for c in curves[:12] if c.lead_box.lead == strip.lead_box.lead)
        first = round(short.lead_box.start_s * 500)
        rms_mm = {
            late: np.std(strip.y_mm[first + late :][:1238] - short.y_mm[:1238])
            for late in range(-1 if first else 0, 2)
        }
        assert rms_mm[0] < 0.005
        assert min(rms_mm, key=lambda late: rms_mm[late]) == 0


PREVIEW_ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))


def test_pages_with_their_csv_beside_them(data: Path) -> None:
    """Drawn at 125 Hz from signals of 500 Hz: what means of five samples lose is not there."""
    boxes = [
        LeadBox(
            lead,
            Box(16.2 + 62 * k, 28 + 40 * row, 16.2 + 62 * k + 62.5, 62 + 40 * row),
            2.5 * k,
            2.5 * (k + 1),
        )
        for row, leads in enumerate(PREVIEW_ROWS)
        for k, lead in enumerate(leads)
    ]
    strip = LeadBox("II", Box(16.2, 148, 266.2, 182), 0.0, 10.0, rhythm_strip=True)
    layout = Layout("preview", (297.0, 210.0), (*boxes, strip))
    paths = sorted((data / "vector").glob("*.pdf"))
    assert paths
    for path in paths:
        curves = vector_curves(open_report(path).page(1), layout)
        truth = np.genfromtxt(path.with_suffix(".csv"), delimiter=",", names=True)
        for curve in curves:
            lead_box = curve.lead_box
            assert curve.sample_mm == pytest.approx(0.2, rel=1e-4)
            # Each point is the mean of five samples; a column's first one is that of 2 to 6.
            due = np.convolve(truth[lead_box.lead], np.ones(5) / 5, "same")
            at = (curve.x_mm - lead_box.box.left_mm) / 25 + lead_box.start_s + 0.008
            drawn = slice(2, 300)  # columns end on fewer samples
            means = np.interp(at[drawn], np.arange(len(due)) / 500, due)
            assert snr_db(-curve.y_mm[drawn] / 10, means) > 80, (path.name, lead_box.lead)


# --- the lattice itself -------------------------------------------------------------------------


@pytest.mark.parametrize(("unit_uv", "expected"), [(1, 1.0), (5, 5.0), (2.5, 2.5)])
def test_the_unit_of_the_converter(unit_uv: float, expected: float, page_of: OpenPage) -> None:
    layout = plain_layout(25.0, 10.0)
    source = synthetic_ecg(seed=2, noise_mv=0.01)
    coarse = np.round(source.signal_mv * 1000 / unit_uv) * unit_uv / 1000
    ecg = Ecg(coarse.astype(np.float32), source.fs_hz)
    curves = vector_curves(page_of(drawn_lines(layout, ecg, lambda _, p: [p])), layout)
    found = lattice_of(curves, calibration(layout))
    assert found is not None
    assert found.fs_hz == 500.0
    assert found.step_uv == pytest.approx(expected, rel=1e-3)
    assert found.residual_uv < 0.05


@pytest.mark.parametrize("snap_pt", [0.24, 0.12])
def test_rounding_is_not_taken_for_a_converter(
    snap_pt: float, formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["ge-muse"]
    drawn = draw_page(one.layouts[0], one.info, ecg, snap_pt=snap_pt)
    curves = vector_curves(page_of(drawn.pdf), drawn.layout)
    found = lattice_of(curves, calibration(drawn.layout))
    unit_uv = snap_pt * PT_MM * 100
    assert found == Lattice(500.0, None, pytest.approx(unit_uv / 12**0.5, rel=0.01))
