"""Speed, gain and 0 mV of drawn and real pages, against what was drawn or is known of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecgvision.calibration import calibrate, described
from ecgvision.calibration.grid_pitch import grid_pitch
from ecgvision.detect import find_layout
from ecgvision.errors import PageError, UsageError
from ecgvision.evidence import upright
from ecgvision.grid import ink_of_page
from ecgvision.layouts import regular_layout
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format
from ecgvision.recording import Calibration
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, rasterise, scanned
from ecgvision.types import LEADS, FormatInfo, Layout, Match, Page

OpenPage = Callable[..., Page]
CLEAN, SCAN = 0.005, 0.01
NO_INK = np.full((1, 1), 255, np.uint8)


def calibrated(page: Page, layout: Layout, **given: float) -> Calibration:
    """The calibration of a page on which the layout is found."""
    match = find_layout(page, [layout])
    assert match is not None
    assert match.score >= 0.6, match.evidence
    level = upright(page, match)
    ink = NO_INK if page.origin == "vector" else ink_of_page(level)
    return calibrate(level, match, ink, **given)


def as_declared(page: Page, layout: Layout, ink: Any = NO_INK, **given: float) -> Calibration:
    """The calibration of a page on which the layout lies just where it declares."""
    return calibrate(page, Match(layout, 1.0), ink, **given)


def values(sources: Any) -> dict[str, float]:
    return {one.source: one.value for one in sources}


def codes(calibration: Calibration) -> list[str]:
    return [notice.code for notice in calibration.notices]


def plain(gain: float = 10.0, speed: float = 25.0, **more: Any) -> Layout:
    """Twelve rows with a pulse before each, or what `more` says."""
    return regular_layout(
        "12x1",
        **{
            "page_mm": (297.0, 210.0),
            "rows": [[lead] for lead in LEADS],
            "left_mm": 25.0,
            "baselines_mm": [30.0 + 14.0 * row for row in range(12)],
            "column_s": 5.0,
            "speed_mm_per_s": speed,
            "gain_mm_per_mv": gain,
            "pulse_mm": (14.0, 20.0),
            **more,
        },
    )


SMALL = plain(
    page_mm=(170.0, 110.0),
    rows=[["I"], ["II"], ["III"], ["V1"]],
    baselines_mm=[30.0, 50.0, 70.0, 90.0],
)
INFO = FormatInfo("plain", grid_rgb=((240, 150, 150), (250, 212, 212)))


@pytest.fixture(scope="module")
def draw(ecg: Ecg, formats: dict[str, Format]) -> Callable[..., DrawnPage]:
    """A stock format's page at some gain."""

    def drawn(format_id: str, name: str, gain: float = 10.0, **more: Any) -> DrawnPage:
        one = formats[format_id]
        layout = next(layout for layout in one.layouts if layout.name == name)
        return draw_page(replace(layout, gain_mm_per_mv=gain), one.info, ecg, **more)

    return drawn


# --- pages with known truth -------------------------------------------------------------------

STOCK = [
    ("philips-tc30", "3x4+1R", 10.0, {}),
    ("ge-mac1200", "6x2", 20.0, {}),
    ("ge-muse", "3x4+3R", 5.0, {"footer": False}),
    ("edan-se3", "6x2+1R", 5.0, {"grid": False, "footer": False}),
    ("edan-se3", "3x4+1R", 10.0, {"grid": "grey"}),
]


@pytest.mark.parametrize(("format_id", "name", "gain", "how"), STOCK)
def test_vector_pages(
    format_id: str, name: str, gain: float, how: Any, draw: Any, page_of: OpenPage
) -> None:
    drawn = draw(format_id, name, gain, **how)
    found = calibrated(page_of(drawn.pdf), drawn.layout)
    assert found.speed_mm_per_s == pytest.approx(25.0, rel=0.0005)
    assert found.gain_mm_per_mv == pytest.approx(gain, rel=0.0005)
    assert not found.notices


@pytest.mark.parametrize(("format_id", "name", "gain", "how"), STOCK[2:4])
def test_clean_pictures(
    format_id: str, name: str, gain: float, how: Any, draw: Any, page_of: OpenPage
) -> None:
    drawn = draw(format_id, name, gain, **how)
    found = calibrated(page_of(as_png(drawn.pdf), ".png"), drawn.layout)
    assert found.speed_mm_per_s == pytest.approx(25.0, rel=CLEAN)
    assert found.gain_mm_per_mv == pytest.approx(gain, rel=CLEAN)
    assert values(found.gain_sources)["pulse"] == pytest.approx(gain, rel=CLEAN)
    assert len(found.zero_mm) == len(drawn.layout.rows)
    assert not found.notices


@pytest.mark.parametrize(
    ("format_id", "name", "gain", "how", "turned"),
    [
        ("ge-muse", "3x4+3R", 5.0, {"grid": "grey"}, -1.0),
        ("edan-se3", "6x2+1R", 5.0, {"grid": False}, 1.0),
        ("edan-se3", "3x4", 20.0, {}, 0.7),
    ],
)
def test_scans(
    format_id: str, name: str, gain: float, how: Any, turned: float, draw: Any, page_of: OpenPage
) -> None:
    drawn = draw(format_id, name, gain, **how)
    page = page_of(scanned(drawn.pdf, rotation_deg=turned))
    found = calibrated(page, drawn.layout)
    assert found.speed_mm_per_s == pytest.approx(25.0, rel=SCAN)
    assert found.gain_mm_per_mv == pytest.approx(gain, rel=SCAN)
    if drawn.layout.pulse_mm is not None:
        assert values(found.gain_sources)["pulse"] == pytest.approx(gain, rel=SCAN)
    assert not found.notices


@pytest.mark.parametrize(("speed", "gain"), [(25.0, 5.0), (50.0, 10.0), (50.0, 20.0)])
def test_speeds_and_gains_of_a_machine(
    speed: float, gain: float, ecg: Ecg, page_of: OpenPage
) -> None:
    layout = plain(gain, speed, column_s=5.0 if speed == 50 else 10.0)
    drawn = draw_page(layout, INFO, ecg, grid=True)
    for page, ink in (
        (page_of(drawn.pdf), NO_INK),
        (page_of(as_png(drawn.pdf, 200), ".png"), None),
    ):
        found = as_declared(page, layout, ink_of_page(page) if ink is None else ink)
        assert found.speed_mm_per_s == pytest.approx(speed, rel=CLEAN)
        assert found.gain_mm_per_mv == pytest.approx(gain, rel=CLEAN)
        assert not found.notices


@pytest.mark.parametrize("scan", [False, True])
def test_zero_is_where_the_pulses_stand(scan: bool, draw: Any, page_of: OpenPage) -> None:
    drawn = draw("edan-se3", "3x4+1R")
    pdf = scanned(drawn.pdf, rotation_deg=0.0) if scan else drawn.pdf
    layout = drawn.layout
    # The rows are declared 0.8 mm too low: 0 mV is still where the feet are drawn.
    low = replace(layout, boxes=tuple(b.shifted(0.0, 0.8) for b in layout.boxes))
    page = page_of(pdf)
    found = as_declared(page, low, ink_of_page(page))
    assert len(found.zero_mm) == 4
    for (nominal, level), row in zip(found.zero_mm, layout.rows, strict=True):
        assert nominal == pytest.approx(row[0].baseline_mm + 0.8)
        assert level == pytest.approx(row[0].baseline_mm, abs=0.03 if scan else 0.001)


def test_a_page_printed_smaller(draw: Any, page_of: OpenPage) -> None:
    """97 % of its size: the grid says so, and so does the pulse."""
    drawn = draw("ge-muse", "3x4+3R")
    with Image.open(io.BytesIO(as_png(drawn.pdf, 300 * 0.97))) as image:
        out = io.BytesIO()
        image.save(out, "PNG", dpi=(300, 300))
    found = calibrated(page_of(out.getvalue(), ".png"), drawn.layout)
    assert found.speed_mm_per_s == pytest.approx(25.0 * 0.97, rel=CLEAN)
    assert found.gain_mm_per_mv == pytest.approx(10.0 * 0.97, rel=CLEAN)
    assert values(found.gain_sources)["pulse"] == pytest.approx(9.7, rel=CLEAN)
    assert not found.notices


@pytest.mark.parametrize("factor", [0.97, 0.99])
def test_a_vector_page_printed_smaller(factor: float, page_of: OpenPage) -> None:
    canvas = PdfCanvas(plain().page_mm)
    for k in range(int(250 / factor)):
        canvas.line(10 + k * factor, 10, 10 + k * factor, 200, 0.1, (240, 150, 150))
    for k in range(int(180 / factor)):
        canvas.line(10, 15 + k * factor, 285, 15 + k * factor, 0.1, (240, 150, 150))
    canvas.text("25 mm/s 10 mm/mV", 20, 203, 2.3)
    page = page_of(canvas.tobytes())
    found = as_declared(page, plain(pulse_mm=None))
    assert found.speed_mm_per_s == pytest.approx(25.0 * factor, rel=0.001)
    assert found.gain_mm_per_mv == pytest.approx(10.0 * factor, rel=0.001)
    assert not found.notices


# --- the grid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [True, "dotted", "grey"])
def test_the_pitch_of_a_grid(grid: Any, ecg: Ecg, page_of: OpenPage) -> None:
    drawn = draw_page(SMALL, INFO, ecg, grid=grid)
    picture = page_of(as_png(drawn.pdf, 200), ".png")
    for page in (page_of(drawn.pdf), picture):
        pitch = grid_pitch(page, ink_of_page(page))
        assert pitch is not None, page.origin
        assert (pitch.across_mm, pitch.down_mm) == pytest.approx((1.0, 1.0), rel=0.001)


def test_the_pitch_is_not_the_same_both_ways(page_of: OpenPage, ecg: Ecg) -> None:
    pixels = rasterise(draw_page(SMALL, INFO, ecg, grid=True).pdf, 200 / 25.4)
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    image.resize((image.width, round(image.height * 1.02))).save(out, "PNG", dpi=(200, 200))
    page = page_of(out.getvalue(), ".png")
    pitch = grid_pitch(page, ink_of_page(page))
    assert pitch is not None
    assert (pitch.across_mm, pitch.down_mm) == pytest.approx((1.0, 1.02), rel=0.001)


def test_no_pitch_without_a_grid(page_of: OpenPage, ecg: Ecg) -> None:
    drawn = draw_page(SMALL, INFO, ecg, grid=False)
    rng = np.random.default_rng(5)
    out = io.BytesIO()
    noise = rng.integers(120, 256, (1200, 1600, 3)).astype(np.uint8)
    Image.fromarray(noise).save(out, "PNG", dpi=(200, 200))
    picture = page_of(as_png(drawn.pdf, 200), ".png")
    for page in (page_of(drawn.pdf), picture, page_of(out.getvalue(), ".png")):
        assert grid_pitch(page, ink_of_page(page)) is None


# --- the pulse --------------------------------------------------------------------------------


def pulses_only(
    heights_mm: Any, *, left_mm: float, joined: bool = False, feet_mm: float = 0.6
) -> bytes:
    """Pulses of these heights on the rows of `plain`, and flat rows beside them."""
    layout = plain()
    canvas = PdfCanvas(layout.page_mm)
    for row, height in zip(layout.rows, heights_mm, strict=True):
        low, left = row[0].baseline_mm, left_mm
        right = left + 5.0
        x = [left, left + feet_mm, left + feet_mm, right - feet_mm, right - feet_mm, right]
        y = [low, low, low - height, low - height, low, low]
        box = row[0].box
        trace_x = np.linspace(box.left_mm, box.right_mm, 200)
        trace = np.column_stack([trace_x, low - 1.0 - np.sin(trace_x)])
        pulse = np.column_stack([x, y])
        if joined:
            canvas.polyline(np.concatenate([pulse, [[box.left_mm, low]], trace]), 0.3, (0, 0, 0))
        else:
            canvas.polyline(pulse, 0.3, (0, 0, 0))
            canvas.polyline(trace, 0.3, (0, 0, 0))
    return canvas.tobytes()


@pytest.mark.parametrize(
    ("left_mm", "joined"), [(14.0, False), (152.0, False), (15.0, True)], ids=str
)
def test_pulses_that_no_layout_declares(left_mm: float, joined: bool, page_of: OpenPage) -> None:
    pdf = pulses_only([10.2] * 12, left_mm=left_mm, joined=joined)
    layout = plain(pulse_mm=None)
    for page in (page_of(pdf), page_of(as_png(pdf, 200), ".png")):
        found = as_declared(page, layout, ink_of_page(page))
        assert found.gain_from == "pulse"
        assert found.gain_mm_per_mv == pytest.approx(10.2, rel=0.003)
        assert len(found.zero_mm) == 12


def test_pulses_that_disagree_are_no_pulses(page_of: OpenPage) -> None:
    pdf = pulses_only([7.0, 8.0, 9.0, 10.0] * 3, left_mm=14.0)
    for page in (page_of(pdf), page_of(as_png(pdf, 200), ".png")):
        found = as_declared(page, plain(), ink_of_page(page))
        assert (found.gain_from, found.gain_mm_per_mv) == ("layout", 10.0)
        assert found.zero_mm == ()


def test_one_odd_pulse_is_left_out(page_of: OpenPage) -> None:
    pdf = pulses_only([10.0] * 11 + [9.0], left_mm=14.0)
    for page in (page_of(pdf), page_of(as_png(pdf, 200), ".png")):
        found = as_declared(page, plain(), ink_of_page(page))
        assert found.gain_mm_per_mv == pytest.approx(10.0, rel=0.003)
        assert len(found.zero_mm) == 11


def test_a_page_of_complexes_has_no_pulse(ecg: Ecg, page_of: OpenPage) -> None:
    layout = plain(pulse_mm=None)
    # The layout lies 60 mm off: what stands beside its rows are beats.
    away = replace(layout, boxes=tuple(b.shifted(60.0, 0.0) for b in layout.boxes))
    pdf = draw_page(layout, INFO, ecg, grid=False).pdf
    for page in (page_of(pdf), page_of(as_png(pdf, 200), ".png")):
        assert "pulse" not in values(as_declared(page, away, ink_of_page(page)).gain_sources)


# --- who wins ---------------------------------------------------------------------------------


def vector_page(
    page_of: OpenPage, *, words: str = "", pulse_mm: float = 0, grid: bool = False
) -> Page:
    """Flat rows with words, pulses and a grid of 1 mm, each if asked for."""
    layout = plain()
    canvas = PdfCanvas(layout.page_mm)
    if grid:
        for k in range(260):
            canvas.line(10.0 + k, 10, 10.0 + k, 200, 0.1, (240, 150, 150))
        for k in range(180):
            canvas.line(10, 16.0 + k, 280, 16.0 + k, 0.1, (240, 150, 150))
    if pulse_mm:
        for row in layout.rows:
            low = row[0].baseline_mm
            y = [low, low, low - pulse_mm, low - pulse_mm, low, low]
            points = np.column_stack([[14.0, 14.5, 14.5, 19.5, 19.5, 20.0], y])
            canvas.polyline(points, 0.3, (0, 0, 0))
    if words:
        canvas.text(words, 20, 203, 2.3)
    return page_of(canvas.tobytes())


def test_text_and_pulse_against_the_format(page_of: OpenPage) -> None:
    page = vector_page(page_of, words="25 mm/s 5 mm/mV", pulse_mm=5.0, grid=True)
    found = as_declared(page, plain())
    assert found.gain_mm_per_mv == pytest.approx(5.0, rel=0.001)
    assert codes(found) == ["gain-unlike-format"]


@pytest.mark.parametrize("grid", [True, False])
def test_text_alone_against_the_format(grid: bool, page_of: OpenPage) -> None:
    page = vector_page(page_of, words="50 mm/s 5 mm/mV", grid=grid)
    found = as_declared(page, plain())
    assert found.gain_mm_per_mv == pytest.approx(5.0, rel=0.001)
    assert found.speed_mm_per_s == pytest.approx(50.0, rel=0.001)
    assert (found.speed_from, found.gain_from) == ("text", "text")
    assert codes(found) == ["speed-unlike-format", "gain-unlike-format"]


def test_grid_and_pulse_against_the_text(page_of: OpenPage) -> None:
    page = vector_page(page_of, words="25 mm/s 5 mm/mV", pulse_mm=10.0, grid=True)
    found = as_declared(page, plain())
    assert (found.gain_from, codes(found)) == ("pulse", ["calibration-disagrees"])
    assert found.gain_mm_per_mv == pytest.approx(10.0, rel=0.001)
    message = found.notices[0].message
    assert "the grid 10 mm/mV" in message
    assert "the printed text 5 mm/mV" in message


def test_the_format_breaks_a_tie(page_of: OpenPage) -> None:
    page = vector_page(page_of, words="25 mm/s 10 mm/mV", pulse_mm=5.0)
    found = as_declared(page, plain())
    assert (found.gain_mm_per_mv, found.gain_from) == (10.0, "text")
    assert found.zero_mm == ()  # what was outvoted may be no pulse at all
    assert codes(found) == ["calibration-disagrees"]


@pytest.mark.parametrize(
    ("words", "pulse_mm", "grid"), [("", 5.0, True), ("", 5.0, False), ("20 mm/mV", 5.0, True)]
)
def test_no_majority_is_refused(words: str, pulse_mm: float, grid: bool, page_of: OpenPage) -> None:
    page = vector_page(page_of, words=words, pulse_mm=pulse_mm, grid=grid)
    with pytest.raises(PageError) as caught:
        as_declared(page, plain())
    assert caught.value.code == "calibration-conflict"
    assert "--gain" in caught.value.hint
    assert "the calibration pulse" in caught.value.found
    found = as_declared(page, plain(), gain_mm_per_mv=5.0)
    assert (found.gain_mm_per_mv, found.gain_from) == (5.0, "given")
    assert values(found.gain_sources)["pulse"] == pytest.approx(5.0, rel=0.001)
    assert values(found.gain_sources)["layout"] == 10.0


def test_a_small_disagreement_is_told(page_of: OpenPage) -> None:
    found = as_declared(vector_page(page_of, pulse_mm=9.5, grid=True), plain())
    assert codes(found) == ["calibration-disagrees"]
    assert (found.gain_from, found.gain_mm_per_mv) == ("pulse", pytest.approx(9.5, rel=0.001))


def test_two_printed_speeds_are_not_used(page_of: OpenPage) -> None:
    found = as_declared(vector_page(page_of, words="25 mm/s 50 mm/s 10 mm/mV"), plain())
    assert (found.speed_mm_per_s, found.speed_from) == (25.0, "layout")
    assert codes(found) == ["calibration-text-unclear"]
    assert "25 and 50 mm/s" in found.notices[0].message


def test_chest_leads_at_another_gain(page_of: OpenPage) -> None:
    words = "Speed: 25 mm/sec Limb: 10 mm/mV Chest: 5.0 mm/mV"
    found = as_declared(vector_page(page_of, words=words, pulse_mm=10.0), plain())
    assert found.gain_of("II") == pytest.approx(10.0, rel=0.001)
    assert found.gain_of("V3") == pytest.approx(5.0, rel=0.001)
    assert not found.notices
    given = as_declared(vector_page(page_of, words=words), plain(), gain_mm_per_mv=10.0)
    assert given.gain_of("V3") == 10.0


def test_nothing_but_the_format(page_of: OpenPage) -> None:
    found = as_declared(vector_page(page_of, words="scale 900 mm/s, 0.5 mm/mV"), plain())
    assert (found.speed_mm_per_s, found.speed_from) == (25.0, "layout")
    assert (found.gain_mm_per_mv, found.gain_from) == (10.0, "layout")


@pytest.mark.parametrize("wrong", [0.0, -25.0, float("nan"), float("inf")])
def test_what_is_given_must_be_a_scale(wrong: float, page_of: OpenPage) -> None:
    page = vector_page(page_of)
    with pytest.raises(UsageError, match="positive number"):
        as_declared(page, plain(), speed_mm_per_s=wrong)
    with pytest.raises(UsageError, match="positive number"):
        as_declared(page, plain(), gain_mm_per_mv=wrong)


def test_what_goes_into_the_json(page_of: OpenPage) -> None:
    page = vector_page(page_of, words="25 mm/s 10 mm/mV", pulse_mm=9.8)
    told = described(as_declared(page, plain()))
    assert told["gain_from"] == "pulse"
    assert told["gain_mm_per_mv"] == pytest.approx(9.8, abs=0.001)
    assert {"source": "text", "value": 10.0, "off_percent": 2.04} in told["gain_sources"]
    assert told["speed_sources"] == [
        {"source": "text", "value": 25.0, "off_percent": 0.0},
        {"source": "layout", "value": 25.0, "off_percent": 0.0},
    ]
    assert told["rows_with_zero_level"] == 12


# --- real pages -------------------------------------------------------------------------------


def real(path: Path, one: Format) -> Calibration:
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    page = open_report(path).page(1)
    match = one.detect(page)
    assert match is not None
    level = upright(page, match)
    return calibrate(level, match, one.remove_grid(level, match.layout))


@pytest.mark.parametrize("name", ["grid-08", "grid-10", "grid-12", "nogrid-03"])
def test_edan_columns_tell_the_time_and_its_grid_the_gain(
    name: str, data: Path, formats: dict[str, Format]
) -> None:
    found = real(data / "edan" / f"{name}.jpg", formats["edan-se3"])
    assert (found.speed_mm_per_s, found.speed_from) == (25.0, "layout")
    assert not found.notices
    gains = values(found.gain_sources)
    assert gains["pulse"] == pytest.approx(10.06, abs=0.05)
    if name.startswith("grid"):
        assert gains["grid"] == pytest.approx(10 * 7.944 / 7.874, rel=0.001)
        assert values(found.speed_sources)["grid"] == pytest.approx(25.22, abs=0.03)


def test_the_muse_page(data: Path, formats: dict[str, Format]) -> None:
    found = real(data / "muse" / "fictitious-3x4-3r.pdf", formats["ge-muse"])
    assert found.speed_mm_per_s == pytest.approx(25.0, rel=0.0005)
    assert found.gain_mm_per_mv == pytest.approx(10.0, rel=0.0005)
    assert set(values(found.gain_sources)) == {"text", "grid", "pulse", "layout"}
    assert len(found.zero_mm) == 6
    assert not found.notices
