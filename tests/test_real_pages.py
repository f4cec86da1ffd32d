"""Real pages of real machines: found, traced and cleaned, or refused, and never a crash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from ecgvision import convert
from ecgvision.conversion import PageOptions, convert_each
from ecgvision.errors import NoMatchError, PageError
from ecgvision.evidence import upright
from ecgvision.grid_seen import find_grid
from ecgvision.media import open_report
from ecgvision.normalise import ImageOptions, canonical_image
from ecgvision.plugins import Format
from ecgvision.recognition import choose_formats, recognise
from ecgvision.result import Conversion
from ecgvision.testing import Ecg, draw_page, scanned
from ecgvision.trace import LeadTrace, trace_leads
from ecgvision.types import LEADS

EDAN = [f"nogrid-{k:02}" for k in range(8)] + [f"grid-{k:02}" for k in range(8, 16)]
VECTOR = ("00952_hr", "01169_hr", "01736_hr", "02224_hr")
VECTOR_LAYOUT = Path(__file__).resolve().parents[1] / "benchmarks" / "vector_study.toml"


def needed(path: Path) -> Path:
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def due_layout(name: str) -> str:
    if name.startswith("nogrid"):
        return "6x2+1R"
    return "6x2" if name == "grid-12" else "3x4+1R"


# --- EDAN SE-3 --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDAN)
def test_edan_pages(name: str, data: Path, formats: dict[str, Format]) -> None:
    page = open_report(needed(data / "edan" / f"{name}.jpg")).page(1)
    found = recognise(page, list(formats.values()))
    match = found.match
    assert found.format.info.id == "edan-se3"
    assert match.layout.name == due_layout(name), match.evidence
    assert match.quarter_turns == 0
    level = upright(page, match)
    ink = found.format.remove_grid(level, match.layout)
    traces = trace_leads(level, match.layout, ink)
    for trace in traces:
        assert trace.coverage > 0.9, trace.lead_box.lead
    assert find_grid(ink, level.px_per_mm) is None
    image, notices = canonical_image(traces, match.layout, ImageOptions())
    assert "lead-incomplete" not in {n.code for n in notices}
    assert [b.lead for b in image.boxes] == list(LEADS)
    assert_clean(image.pixels)


def assert_clean(pixels: np.ndarray) -> None:
    """Ink is where the pen was and nowhere else: no grey haze, and little of it."""
    dark = pixels < 128
    assert 0.003 < dark.mean() < 0.05
    beside = cv2.dilate(dark.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert (pixels[beside] < 230).mean() < 0.001


# --- GE MUSE ----------------------------------------------------------------------------------


def test_the_muse_page(data: Path) -> None:
    path = needed(data / "muse" / "fictitious-3x4-3r.pdf")
    (found,) = convert(path)
    assert (found.format_id, found.match.layout.name) == ("ge-muse", "3x4+3R")
    assert found.match.offset_mm == pytest.approx((0, 0), abs=0.5)
    assert found.origin == "vector"
    assert not [n for n in found.notices if n.code == "lead-incomplete"]
    told = json.dumps(found.summary()).lower()
    for text in open_report(path).page(1).texts:
        word = text.text.strip().lower()
        if len(word) > 4 and word.isalpha():
            assert word not in told, word


def test_the_muse_leads_begin_where_they_are_drawn(data: Path, formats: dict[str, Format]) -> None:
    page = open_report(needed(data / "muse" / "fictitious-3x4-3r.pdf")).page(1)
    match = formats["ge-muse"].detect(page)
    assert match is not None
    for trace in trace_leads(page, match.layout, np.full((1, 1), 255, np.uint8)):
        assert trace.coverage > 0.97
        assert trace.lines[0][0, 0] == pytest.approx(trace.lead_box.box.left_mm, abs=0.1)


# --- vector pages of a machine that is not installed ------------------------------------------


@pytest.mark.parametrize("name", VECTOR)
def test_vector_pages_are_refused_by_auto(name: str, data: Path) -> None:
    with pytest.raises(NoMatchError) as caught:
        convert(needed(data / "vector" / f"{name}.pdf"))
    assert caught.value.code == "format-not-found"
    assert "looked for" in caught.value.found


def vector_truth_mv(path: Path) -> dict[str, np.ndarray]:
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=np.float64)
    assert table.dtype.names is not None
    by_name = {name.lower(): table[name] for name in table.dtype.names}
    return {lead: by_name[lead.lower()] for lead in LEADS}


@pytest.mark.parametrize("name", VECTOR)
def test_vector_pages_are_found_by_a_layout_file(name: str, data: Path) -> None:
    path = needed(data / "vector" / f"{name}.pdf")
    (found,) = convert(path, format="custom", layout=VECTOR_LAYOUT)
    assert found.format_id == "vector-study"
    assert not [n for n in found.notices if n.code == "lead-incomplete"]
    page = open_report(path).page(1)
    truth = vector_truth_mv(path.with_suffix(".csv"))
    traces = trace_leads(page, found.match.layout, np.full((1, 1), 255, np.uint8))
    for trace in traces:
        assert trace.coverage > 0.95
        if trace.lead_box.rhythm_strip:
            continue
        signal_mv = truth[trace.lead_box.lead]
        assert likeness(trace, signal_mv) > 0.93, trace.lead_box.lead


def likeness(trace: LeadTrace, truth_mv: np.ndarray) -> float:
    """The best correlation of a sampled lead with the signal (500 Hz) of about its own time."""
    up = -trace.y_mm[np.isfinite(trace.y_mm)]
    steps = 4 * np.arange(len(up))  # 8 ms apart as sampled
    due = round(trace.lead_box.start_s * 500)
    starts = range(max(0, due - 60), min(due + 60, len(truth_mv) - int(steps[-1])))
    parts = [truth_mv[first + steps] for first in starts]
    return max(float(np.corrcoef(up, p)[0, 1]) for p in parts if np.isfinite(p).all())


# --- pages nobody can promise anything of -----------------------------------------------------


def outcome(path: Path, names: Sequence[str] = ("auto",)) -> list[Conversion | PageError]:
    options = PageOptions()
    return [one for name in names for one in convert_each(path, choose_formats(name), options)]


@pytest.mark.parametrize(
    "name",
    ["ecg00001.png", "ecg00003.png", "ecg00009.jpeg", "ecg00012.jpg", "ecg00016.jpg",
     "ecg00020.jpg"],
)  # fmt: skip
def test_scans_are_read_or_refused(name: str, data: Path) -> None:
    found = outcome(needed(data / "scans" / name))
    assert len(found) == 1
    for one in found:
        if isinstance(one, PageError):
            assert one.code in ("format-not-found", "format-ambiguous")
            assert one.page == 1
        else:
            assert json.dumps(one.summary())
            assert_clean(one.image.pixels)


def test_photos_are_refused(data: Path) -> None:
    """Pages lying askew on a table, in perspective: no format is tuned to that yet."""
    photos = sorted(needed(data / "photos" / "01027_hr.jpg").parent.glob("*.jpg"))
    assert len(photos) == 24
    for photo in photos:
        (error,) = outcome(photo)
        assert isinstance(error, NoMatchError), photo.name
        assert error.code in ("format-not-found", "format-ambiguous"), photo.name


def test_a_recording_of_the_philips_machine(
    data: Path, formats: dict[str, Format], tmp_path: Path
) -> None:
    """Its own signals on its own page; the last second of them is the calibration pulse."""
    with np.load(needed(data / "pagewriter" / "pagewriter-tc.npz")) as file:
        fs_hz = float(file["fs"])
        signal_mv = np.stack([file[lead] for lead in LEADS])[:, : round(10 * fs_hz)] * 0.005
    one = formats["philips-tc30"]
    drawn = draw_page(one.layouts[0], one.info, Ecg(signal_mv.astype(np.float32), fs_hz))
    for content, suffix in ((drawn.pdf, ".pdf"), (scanned(drawn.pdf), "-scan.pdf")):
        path = tmp_path / f"page{suffix}"
        path.write_bytes(content)
        (found,) = convert(path)
        assert (found.format_id, found.match.layout.name) == ("philips-tc30", "3x4+1R")
        assert "lead-incomplete" not in {n.code for n in found.notices}
