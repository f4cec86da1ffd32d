"""What `inspect` tells of a page is what was drawn on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecgvision.layouts import regular_layout
from ecgvision.survey.inspection import PageFacts, inspect_report
from ecgvision.testing import as_jpeg, draw_page, scanned, synthetic_ecg
from ecgvision.types import FormatInfo

INFO = FormatInfo("acme", header_text=("ACME HEALTH",), grid_rgb=((216, 111, 98), (250, 200, 168)))
LAYOUT = regular_layout(
    "3x4+1R",
    page_mm=(297, 210),
    rows=[["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]],
    left_mm=25,
    baselines_mm=[75, 105, 135],
    column_s=2.5,
    rhythm=["II"],
    rhythm_baselines_mm=[165],
    name_offset_mm=(0.5, -9.0),
    pulse_mm=(17.0, 23.0),
    grid=True,
    separators=True,
)


@pytest.fixture(scope="module")
def pdf() -> bytes:
    ecg = synthetic_ecg(seed=1, noise_mv=0.005)
    return draw_page(LAYOUT, INFO, ecg, patient_text=("DOE, JANE",)).pdf


def facts_of(data: bytes, path: Path, *, texts: bool = True) -> PageFacts:
    path.write_bytes(data)
    (facts,) = inspect_report(path, texts=texts)
    return facts


def assert_rows_pulse_and_bars(facts: PageFacts) -> None:
    traces = [row.baseline_mm for row in facts.rows if row.trace]
    assert traces == pytest.approx([75, 105, 135, 165], abs=0.5)
    assert facts.pulse is not None
    measured = (facts.pulse.left_mm, facts.pulse.right_mm, facts.pulse.height_mm)
    assert measured == pytest.approx((17, 23, 10), abs=0.5)
    assert facts.bars_mm == pytest.approx([87.5, 150, 212.5], abs=0.3)


def test_a_vector_page(pdf: bytes, tmp_path: Path) -> None:
    facts = facts_of(pdf, tmp_path / "page.pdf")
    assert (facts.source, facts.number, facts.origin) == ("page.pdf", 1, "vector")
    assert facts.size_mm == pytest.approx((297, 210), abs=0.1)
    assert (facts.size_px, facts.scale_from) == (None, "pdf")
    assert facts.grid == pytest.approx((1, 1), abs=0.02)
    assert facts.grid_unit == "mm"
    assert_rows_pulse_and_bars(facts)
    looks = {group.rgb: group.looks_like for group in facts.strokes}
    assert looks[216, 111, 98] == looks[250, 200, 168] == "grid"
    traces = [group for group in facts.strokes if group.looks_like == "trace"]
    assert [(group.rgb, group.width_mm) for group in traces] == [((0, 0, 0), 0.3)]
    assert traces[0].length_mm > 4 * 250  # four rows, up and down besides across


def test_words_and_lead_names_with_their_places(pdf: bytes, tmp_path: Path) -> None:
    facts = facts_of(pdf, tmp_path / "page.pdf")
    assert {"DOE, JANE", "ACME HEALTH"} <= {text for text, _, _ in facts.texts}
    assert "DOE, JANE" in facts.as_text()
    assert len(facts.names) == 13
    v4 = next((x, y) for lead, x, y in facts.names if lead == "V4")
    assert v4 == pytest.approx((213, 66), abs=1.5)


def test_words_are_left_out_on_demand(pdf: bytes, tmp_path: Path) -> None:
    facts = facts_of(pdf, tmp_path / "page.pdf", texts=False)
    shown = facts.as_text() + json.dumps(facts.as_dict())
    assert "DOE" not in shown
    assert "ACME" not in shown


@pytest.mark.parametrize("kind", ["image", "scan"])
def test_a_page_of_pixels(kind: str, pdf: bytes, tmp_path: Path) -> None:
    if kind == "image":
        facts = facts_of(as_jpeg(pdf), tmp_path / "page.jpg")
    else:
        facts = facts_of(scanned(pdf, dpi=200), tmp_path / "page.pdf")
    assert facts.origin == kind
    assert facts.size_px is not None
    assert facts.size_px[0] / facts.px_per_mm == pytest.approx(297, rel=0.002)
    assert (facts.strokes, facts.texts) == ((), ())
    assert facts.grid == pytest.approx([facts.px_per_mm] * 2, rel=0.02)
    assert facts.grid_unit == "px per small box"
    assert_rows_pulse_and_bars(facts)
    what = "embedded image" if kind == "scan" else "image"
    assert f"{what}: {facts.size_px[0]} x {facts.size_px[1]} px" in facts.as_text()


def test_both_forms_say_the_same(pdf: bytes, tmp_path: Path) -> None:
    facts = facts_of(pdf, tmp_path / "page.pdf")
    again = json.loads(json.dumps(facts.as_dict()))
    assert again["origin"] == "vector"
    assert len(again["rows"]) == len(facts.rows)
    text = facts.as_text()
    assert "grid: 1.000 across, 1.000 down, mm" in text
    assert "upright bars at x: 87.5, 150.0, 212.5 mm" in text


def test_words_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (facts,) = (PageFacts(
        source="a.pdf", number=1, origin="vector", size_mm=(10.0, 10.0), scale_from="pdf",
        size_px=None, px_per_mm=10.0, rotation_deg=0.0, texts=(("a\x1b[2Jb", 1.0, 2.0),),
        strokes=(), grid=None, grid_unit="mm", rows=(), pulse=None, bars_mm=(), names=(),
    ),)  # fmt: skip
    assert "\x1b" not in facts.as_text()
    assert "a?[2Jb" in facts.as_text()
