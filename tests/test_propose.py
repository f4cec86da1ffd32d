"""Layouts proposed from drawn pages, whose truth is known, and from the real ones."""

from __future__ import annotations

import io
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecgvision.detect import GOOD_SCORE, find_layout
from ecgvision.errors import LayoutError
from ecgvision.layout_file import parse_layout_file
from ecgvision.layouts import regular_layout
from ecgvision.media import open_report
from ecgvision.plugins import load_formats
from ecgvision.survey.propose import Proposal, propose_layout
from ecgvision.testing import Ecg, as_jpeg, as_png, draw_page, scanned, synthetic_ecg
from ecgvision.types import LEADS, FormatInfo, Layout, LeadBox

DATA = Path(os.environ.get("ECGVISION_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real pages at {DATA}")

INFO = FormatInfo("acme", grid_rgb=((216, 111, 98), (250, 200, 168)))
THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
SIX = tuple(zip(LEADS[:6], LEADS[6:], strict=True))
BARRED = regular_layout(
    "3x4+1R",
    page_mm=(297, 210),
    rows=THREE,
    left_mm=25,
    baselines_mm=[75, 103, 137],
    column_s=2.5,
    rhythm=["II"],
    rhythm_baselines_mm=[165],
    name_offset_mm=(0.5, -9.0),
    pulse_mm=(17.0, 23.0),
    grid=True,
    separators=True,
)
TALL = regular_layout(
    "12x1",
    page_mm=(210, 297),
    rows=[[lead] for lead in LEADS],
    left_mm=15,
    baselines_mm=[40 + 20 * row for row in range(12)],
    column_s=7,
    name_offset_mm=(0, -6),
    pulse_mm=(7, 12.5),
)
FAST = regular_layout(
    "6x2",
    page_mm=(297, 210),
    rows=SIX,
    left_mm=30,
    baselines_mm=[45 + 24 * row for row in range(6)],
    column_s=2.4,
    column_pitch_mm=123,
    speed_mm_per_s=50.0,
    gain_mm_per_mv=5.0,
    grid=False,
    name_offset_mm=(1, -5),
)


@pytest.fixture(scope="module")
def ecg() -> Ecg:
    return synthetic_ecg(seed=1, seconds=10.5, noise_mv=0.005)


def proposed(data: bytes, path: Path) -> Proposal:
    """The proposal for the page, having been written, read back and found on the page again."""
    path.write_bytes(data)
    with open_report(path) as report:
        page = report.page(1)
        proposal = propose_layout(page)
        if proposal.layout is not None:
            info, layouts = parse_layout_file(proposal.to_toml(), "proposed.toml")
            assert (info, layouts) == (proposal.info, (proposal.layout,))
            match = find_layout(page, layouts)
            assert match is not None
            assert match.score >= GOOD_SCORE
        return proposal


def by_lead(layout: Layout | None) -> dict[tuple[str, bool], LeadBox]:
    assert layout is not None
    return {(b.lead, b.rhythm_strip): b for b in layout.boxes}


def assert_same(found: Layout | None, due: Layout, slack_mm: float) -> None:
    assert found is not None
    boxes, due_boxes = by_lead(found), by_lead(due)
    assert boxes.keys() == due_boxes.keys()
    for key, box in due_boxes.items():
        for side in ("left_mm", "right_mm"):
            assert getattr(boxes[key].box, side) == pytest.approx(
                getattr(box.box, side), abs=slack_mm
            ), key
        assert boxes[key].baseline_mm == pytest.approx(box.baseline_mm, abs=slack_mm), key
        assert boxes[key].start_s == pytest.approx(box.start_s, abs=0.05)
    assert found.name == due.name
    assert found.page_mm == pytest.approx(due.page_mm, abs=0.2)
    assert found.speed_mm_per_s == due.speed_mm_per_s
    assert found.gain_mm_per_mv == due.gain_mm_per_mv
    assert found.separators == due.separators


# One path that runs on over the gap of FAST would hide where its columns end.
@pytest.mark.parametrize(
    ("layout", "strokes"),
    [
        *product((BARRED, TALL), ("leads", "pieces", "rows")),
        *product((FAST,), ("leads", "pieces")),
    ],
)
def test_vector_pages_of_any_make(layout: Layout, strokes: str, ecg: Ecg, tmp_path: Path) -> None:
    drawn = draw_page(
        layout,
        INFO,
        ecg,
        join_rows=strokes == "rows",
        trace_pieces=100 if strokes == "pieces" else None,
    )
    proposal = proposed(drawn.pdf, tmp_path / "page.pdf")
    assert_same(proposal.layout, drawn.layout, 0.3)
    assert proposal.missing == ()
    found = proposal.layout
    assert found is not None
    assert found.grid is (layout.grid is not False)
    assert found.pulse_mm == pytest.approx(layout.pulse_mm, abs=0.1)
    first, due = found.boxes[0].name_mm, drawn.layout.boxes[0].name_mm
    assert first is not None
    assert due is not None
    assert first == pytest.approx(due, abs=1.5)


def test_the_colours_of_the_lines(ecg: Ecg, tmp_path: Path) -> None:
    info = FormatInfo("acme", ink_rgb=(0, 0, 96), grid_rgb=INFO.grid_rgb)
    proposal = proposed(draw_page(BARRED, info, ecg).pdf, tmp_path / "page.pdf")
    assert proposal.info.ink_rgb == (0, 0, 96)
    assert set(proposal.info.grid_rgb) == set(INFO.grid_rgb)


@pytest.mark.parametrize("layout", [BARRED, TALL], ids=["bars", "12x1"])
@pytest.mark.parametrize("kind", ["jpeg", "scan"])
def test_pages_of_pixels(layout: Layout, kind: str, ecg: Ecg, tmp_path: Path) -> None:
    drawn = draw_page(layout, INFO, ecg)
    if kind == "jpeg":
        proposal = proposed(as_jpeg(drawn.pdf), tmp_path / "page.jpg")
    else:
        proposal = proposed(scanned(drawn.pdf), tmp_path / "page.pdf")
    assert_same(proposal.layout, drawn.layout, 0.4)
    assert any(note.startswith("lead names: presumed") for note in proposal.missing)
    assert any("paper speed: presumed 25" in note for note in proposal.missing)
    assert any("taken from the calibration pulse, 10 mm/mV" in note for note in proposal.found)
    assert proposal.layout is not None
    assert proposal.layout.grid is True
    assert proposal.layout.pulse_mm == pytest.approx(layout.pulse_mm, abs=0.4)


def without_resolution(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return Image.fromarray(np.asarray(image.convert("RGB")))


def as_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_without_resolution_is_scaled_by_its_pulse(ecg: Ecg, tmp_path: Path) -> None:
    drawn = draw_page(BARRED, INFO, ecg, grid=False)
    image = without_resolution(as_png(drawn.pdf, dpi=200))
    proposal = proposed(as_bytes(image), tmp_path / "page.png")
    assert proposal.layout is not None
    assert any(note.startswith("the scale: presumed") for note in proposal.missing)
    assert proposal.layout.page_mm == pytest.approx((297, 210), rel=0.03)
    assert proposal.layout.name == "3x4+1R"


def test_a_page_on_its_side(ecg: Ecg, tmp_path: Path) -> None:
    drawn = draw_page(BARRED, INFO, ecg)
    image = without_resolution(as_png(drawn.pdf, dpi=200)).transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=(200, 200))
    proposal = proposed(buffer.getvalue(), tmp_path / "page.png")
    assert_same(proposal.layout, drawn.layout, 0.4)


def test_nothing_of_the_header_gets_into_the_file(ecg: Ecg, tmp_path: Path) -> None:
    words = ("DOE, JANE", "ID 4711", "12-Mar-1950")
    info = FormatInfo("acme", header_text=("ACME HEALTH",))
    drawn = draw_page(BARRED, info, ecg, patient_text=words)
    toml = proposed(drawn.pdf, tmp_path / "doe-jane.pdf").to_toml().lower()
    for word in ("doe", "jane", "4711", "1950", "acme"):
        assert word not in toml


def test_columns_that_nothing_tells_are_not_made_up(ecg: Ecg, tmp_path: Path) -> None:
    closed = regular_layout(
        "6x2",
        page_mm=(297, 210),
        rows=SIX,
        left_mm=20,
        baselines_mm=[45 + 24 * row for row in range(6)],
        column_s=5,
    )
    proposal = proposed(as_jpeg(draw_page(closed, INFO, ecg).pdf), tmp_path / "page.jpg")
    assert proposal.layout is None
    assert proposal.missing[-1].startswith("where the columns begin")
    with pytest.raises(LayoutError, match="where the columns begin"):
        proposal.to_toml()


def test_names_in_another_order_are_taken_as_printed(ecg: Ecg, tmp_path: Path) -> None:
    cabrera = (("aVL", "aVF", "V1", "V4"), ("I", "III", "V2", "V5"), ("aVR", "II", "V3", "V6"))
    layout = regular_layout(
        "3x4",
        page_mm=(297, 210),
        rows=cabrera,
        left_mm=25,
        baselines_mm=[75, 110, 145],
        column_s=2.5,
        column_pitch_mm=64.0,
        name_offset_mm=(0.5, -9.0),
    )
    drawn = draw_page(layout, INFO, ecg)
    assert_same(proposed(drawn.pdf, tmp_path / "page.pdf").layout, drawn.layout, 0.3)


def test_a_blank_page_has_no_layout(tmp_path: Path) -> None:
    blank = Image.new("RGB", (2000, 1400), "white")
    buffer = io.BytesIO()
    blank.save(buffer, "PNG", dpi=(200, 200))
    proposal = proposed(buffer.getvalue(), tmp_path / "blank.png")
    assert proposal.layout is None
    assert proposal.missing == ("rows of traces: 0 found where at least 3 are due",)


# --- real pages -------------------------------------------------------------------------------


def real_pages(pattern: str) -> list[str]:
    return sorted(path.relative_to(DATA).as_posix() for path in DATA.glob(pattern)) or ["none"]


def columns_mm(layout: Layout) -> list[float]:
    return sorted({round(b.box.left_mm, 1) for b in layout.boxes if not b.rhythm_strip})


@real
@pytest.mark.data
def test_muse(tmp_path: Path) -> None:
    data = (DATA / "muse" / "fictitious-3x4-3r.pdf").read_bytes()
    proposal = proposed(data, tmp_path / "page.pdf")
    layout = proposal.layout
    assert layout is not None
    assert proposal.missing == ()
    due = regular_layout(
        "3x4+3R",
        page_mm=(279.4, 215.9),
        rows=THREE,
        left_mm=10.8,
        baselines_mm=[67.3 + 24.653 * row for row in range(3)],
        column_s=2.5,
        rhythm=["V1", "II", "V5"],
        rhythm_baselines_mm=[67.3 + 24.653 * row for row in range(3, 6)],
    )
    assert_same(layout, due, 0.05)
    assert layout.grid is True
    assert layout.pulse_mm == pytest.approx((4.5, 10.4), abs=0.05)


@real
@pytest.mark.data
@pytest.mark.parametrize("name", real_pages("vector/*.pdf"))
def test_vector(name: str, tmp_path: Path) -> None:
    layout = proposed((DATA / name).read_bytes(), tmp_path / "page.pdf").layout
    assert layout is not None
    assert (layout.name, layout.page_mm, layout.grid) == ("3x4+1R", (297.0, 210.0), True)
    assert columns_mm(layout) == pytest.approx([16.2, 78.2, 140.2, 202.2])
    assert [row[0].baseline_mm for row in layout.rows] == pytest.approx([55, 95, 135, 175])
    strip = layout.boxes[-1]
    assert (strip.lead, strip.rhythm_strip) == ("II", True)
    assert strip.box.right_mm == pytest.approx(265.8, abs=0.2)  # 1,249 intervals of 8 ms
    assert {round(b.stop_s - b.start_s, 3) for b in layout.twelve} == {2.48}
    assert layout.pulse_mm == (8.5, 15.1)


@real
@pytest.mark.data
@pytest.mark.parametrize("name", real_pages("edan/*.jpg"))
def test_edan(name: str, tmp_path: Path) -> None:
    layout = proposed((DATA / name).read_bytes(), tmp_path / "page.jpg").layout
    assert layout is not None
    if "nogrid" in name:
        due = ("6x2+1R", [19.4, 144.3], False)
    elif "grid-12" in name:
        due = ("6x2", [19.4, 144.3], True)
    else:
        due = ("3x4+1R", [19.4, 81.9, 144.3, 206.8], True)
    assert layout.name == due[0]
    assert columns_mm(layout) == pytest.approx(due[1], abs=0.3)
    assert layout.grid is due[2]
    assert layout.separators
    assert layout.pulse_mm == pytest.approx((12.1, 16.8), abs=0.2)
    assert {b.lead for b in layout.twelve} == set(LEADS)
    assert [b.lead for b in layout.boxes if b.rhythm_strip] == ["II"] * ("+1R" in due[0])


@real
@pytest.mark.data
@pytest.mark.parametrize("name", real_pages("scans/*"))
def test_mixed_scans_are_right_or_without_a_layout(name: str, tmp_path: Path) -> None:
    proposal = proposed((DATA / name).read_bytes(), tmp_path / "page")
    assert proposal.layout is None
    assert proposal.missing


def test_every_installed_format_is_proposed_from_its_own_vector_page(
    ecg: Ecg, tmp_path: Path
) -> None:
    for installed in load_formats().formats:
        for layout in installed.layouts:
            drawn = draw_page(layout, installed.info, ecg)
            found = proposed(drawn.pdf, tmp_path / "page.pdf").layout
            assert found is not None, (installed.info.id, layout.name)
            assert by_lead(found).keys() == by_lead(drawn.layout).keys()
            for key, box in by_lead(drawn.layout).items():
                at = by_lead(found)[key]
                assert at.box.left_mm == pytest.approx(box.box.left_mm, abs=0.1)
                assert at.baseline_mm == pytest.approx(box.baseline_mm, abs=0.3)
