"""Pages are recognised with their layout, offset and rotation; all other pages are refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pymupdf
import pytest
from PIL import Image

from ecgvision.detect import GOOD_SCORE, find_layout, with_header
from ecgvision.errors import NoMatchError
from ecgvision.evidence import gather, upright
from ecgvision.ink_rows import Row
from ecgvision.layouts import regular_layout
from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format, build_formats, plugin_from
from ecgvision.recognition import recognise
from ecgvision.ruled import without_frame
from ecgvision.testing import Ecg, as_png, draw_page, rasterise, scanned
from ecgvision.types import LEADS, FormatInfo, Layout, Match, Page

LETTER_MM = (279.4, 215.9)
PX_PER_MM = 300 / 25.4
OFFSET_WITHIN_MM, ROTATION_WITHIN_DEG, COLUMNS_WITHIN_MM = 0.5, 0.1, 0.3
ALL_LAYOUTS = [
    ("philips-tc30", "3x4+1R"),
    ("philips-tc30", "3x4+1R-joined"),
    ("ge-mac1200", "6x2"),
    ("ge-muse", "3x4+3R"),
    ("ge-muse", "3x4+1R"),
    ("ge-muse", "3x4"),
    ("edan-se3", "6x2+1R"),
    ("edan-se3", "6x2"),
    ("edan-se3", "3x4+1R"),
    ("edan-se3", "3x4"),
]
ONE_OF_EACH = [ALL_LAYOUTS[0], ALL_LAYOUTS[2], ALL_LAYOUTS[3], ALL_LAYOUTS[6]]
THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
SIX = tuple(zip(LEADS[:6], LEADS[6:], strict=True))

each_layout = pytest.mark.parametrize(("format_id", "name"), ALL_LAYOUTS)
one_of_each = pytest.mark.parametrize(("format_id", "name"), ONE_OF_EACH)
FindLayout = Callable[[str, str], Layout]
OpenPage = Callable[..., Page]


def png(pixels: np.ndarray, dpi: float | None = 200) -> bytes:
    out = io.BytesIO()
    options = {"dpi": (dpi, dpi)} if dpi else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", **options)
    return out.getvalue()


def refusal(page: Page, formats: Sequence[Format]) -> NoMatchError:
    with pytest.raises(NoMatchError) as caught:
        recognise(page, formats)
    return caught.value


def best(page: Page, one: Format) -> Match:
    match = one.detect(page)
    assert match is not None
    return with_header(match, one.info, page)


def assert_found(match: Match, due: Layout, offset_mm: tuple[float, float] = (0, 0)) -> None:
    assert match.layout.name == due.name, match.evidence
    assert match.score >= GOOD_SCORE, match.evidence
    assert match.offset_mm == pytest.approx(offset_mm, abs=OFFSET_WITHIN_MM)
    for found, drawn in zip(match.layout.boxes, due.shifted(*offset_mm).boxes, strict=True):
        assert found.lead == drawn.lead
        assert found.box.left_mm == pytest.approx(drawn.box.left_mm, abs=OFFSET_WITHIN_MM)
        assert found.baseline_mm == pytest.approx(drawn.baseline_mm, abs=OFFSET_WITHIN_MM)


# --- every format finds its own pages and no others -------------------------------------------


@pytest.mark.parametrize("kind", ["vector", "scan", "png"])
@each_layout
def test_wrong_format_matrix(
    format_id: str,
    name: str,
    kind: str,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg)
    page = {
        "vector": lambda: page_of(drawn.pdf),
        "scan": lambda: page_of(scanned(drawn.pdf)),
        "png": lambda: page_of(as_png(drawn.pdf, 150, with_dpi=False), ".png"),
    }[kind]()
    for other_id, other in formats.items():
        match = best(page, other)
        if other_id != format_id:
            assert match.score < GOOD_SCORE, (other_id, match.layout.name, match.evidence)
            assert match.evidence
            continue
        assert_found(match, layout)
        assert match.quarter_turns == 0
        due_deg = 0.7 if kind == "scan" else 0.0
        assert match.rotation_deg == pytest.approx(due_deg, abs=ROTATION_WITHIN_DEG)
        assert match.page_mm == pytest.approx(layout.page_mm, rel=0.005)
    assert recognise(page, list(formats.values())).format.info.id == format_id


@each_layout
def test_named_by_another_name_it_is_refused(
    format_id: str,
    name: str,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    page = page_of(draw_page(layout_of(format_id, name), formats[format_id].info, ecg).pdf)
    for other_id in set(formats) - {format_id}:
        error = refusal(page, [formats[other_id]])
        assert error.code == "format-not-found"
        assert error.expected == f"a page of {other_id}"
        assert error.found.startswith(f"{other_id} ")
        reasons = ("looked for", "stand elsewhere", "separators seen")
        assert any(words in error.found for words in reasons)


# Some of them fast, some with complexes so tall that they touch from row to row.
REAL_RECORDS = (4, 8, 16, 30, 32, 42, 48, 60)


@pytest.mark.parametrize(("kind", "numbers"), [("vector", REAL_RECORDS), ("scan", (16, 32))])
@one_of_each
def test_pages_of_real_records_are_found(
    format_id: str,
    name: str,
    kind: str,
    numbers: Sequence[int],
    formats: dict[str, Format],
    layout_of: FindLayout,
    ptbxl: Callable[[int], Ecg],
    page_of: OpenPage,
) -> None:
    lost = {}
    for number in numbers:
        drawn = draw_page(layout_of(format_id, name), formats[format_id].info, ptbxl(number))
        page = page_of(drawn.pdf if kind == "vector" else scanned(drawn.pdf))
        match = best(page, formats[format_id])
        if match.layout.name != name or match.score < GOOD_SCORE:
            lost[number] = match.evidence
    assert not lost


@pytest.mark.parametrize("kind", ["vector", "scan"])
@one_of_each
def test_leads_of_one_row_at_different_levels(
    format_id: str,
    name: str,
    kind: str,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """Electrodes drift: the Philips machine's own recording has leads 0.55 mV apart in a row."""
    level_mv = np.array([-0.05, 0.45, 0.5, -0.2, -0.3, 0.5, 0, -0.1, -0.2, -0.15, -0.1, -0.1])
    drifted = Ecg((ecg.signal_mv + level_mv[:, None]).astype(np.float32), ecg.fs_hz)
    drawn = draw_page(layout_of(format_id, name), formats[format_id].info, drifted)
    page = page_of(drawn.pdf if kind == "vector" else scanned(drawn.pdf))
    match = best(page, formats[format_id])
    assert match.layout.name == name
    assert match.score >= GOOD_SCORE, match.evidence


# --- which way up -----------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [1, 2, 3])
@one_of_each
def test_turned_pictures(
    format_id: str,
    name: str,
    turns: int,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg)
    pixels = np.rot90(rasterise(drawn.pdf, 150 / 25.4), turns)  # anticlockwise
    page = page_of(png(pixels, 150), ".png")
    match = best(page, formats[format_id])
    assert match.quarter_turns == turns  # clockwise, to undo it
    assert_found(match, layout)
    assert upright(page, match).size_mm == pytest.approx(layout.page_mm, abs=0.2)


@pytest.mark.parametrize("rotate", [90, 180, 270])
@one_of_each
def test_turned_pdfs(
    format_id: str,
    name: str,
    rotate: int,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg)
    with pymupdf.open(stream=drawn.pdf, filetype="pdf") as document:
        document[0].set_rotation(rotate)
        page = page_of(document.tobytes())
    match = best(page, formats[format_id])
    assert match.quarter_turns == (360 - rotate) // 90
    assert_found(match, layout)


def test_a_turned_scan_without_a_scale(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    philips = formats["philips-tc30"]
    pixels = np.rot90(rasterise(draw_page(philips.layouts[0], philips.info, ecg).pdf, 7.0))
    match = best(page_of(png(pixels, None), ".png"), philips)
    assert match.quarter_turns == 1
    assert match.scale_from == "grid"
    assert_found(match, philips.layouts[0])


# --- where on the page ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "offset_mm"),
    [("vector", (4.0, -5.0)), ("scan", (-4.0, 5.0))],
)
@one_of_each
def test_offset_pages(
    format_id: str,
    name: str,
    kind: str,
    offset_mm: tuple[float, float],
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg, offset_mm=offset_mm)
    page = page_of(drawn.pdf if kind == "vector" else scanned(drawn.pdf))
    assert_found(best(page, formats[format_id]), layout, offset_mm)


@pytest.mark.parametrize(
    ("format_id", "name", "skew_deg"),
    [
        *[(*ALL_LAYOUTS[0], skew_deg) for skew_deg in (-3.0, -1.5, 1.5, 3.0)],
        *[(*one, skew_deg) for one in ONE_OF_EACH[1:3] for skew_deg in (-3.0, 1.5)],
        (*ONE_OF_EACH[3], 3.0),
    ],
)
def test_skewed_scans(
    format_id: str,
    name: str,
    skew_deg: float,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg)
    match = best(page_of(scanned(drawn.pdf, rotation_deg=skew_deg)), formats[format_id])
    assert match.rotation_deg == pytest.approx(skew_deg, abs=ROTATION_WITHIN_DEG)
    assert_found(match, layout)


@pytest.mark.parametrize("dpi", [100, 150])
@one_of_each
def test_coarse_scans(
    format_id: str,
    name: str,
    dpi: int,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, ecg)
    match = best(page_of(scanned(drawn.pdf, dpi=dpi)), formats[format_id])
    assert_found(match, layout)


@pytest.mark.parametrize(("dpi", "grid"), [(150, True), (300, True), (150, False), (300, False)])
def test_unknown_scale(
    dpi: int, grid: bool, formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    one = formats["philips-tc30" if grid else "ge-mac1200"]
    drawn = draw_page(one.layouts[0], one.info, ecg)
    match = best(page_of(as_png(drawn.pdf, dpi, with_dpi=False), ".png"), one)
    assert match.scale_from == ("grid" if grid else "layout")
    assert match.page_mm == pytest.approx(LETTER_MM, rel=0.005)
    assert_found(match, one.layouts[0])


# --- where the columns begin ------------------------------------------------------------------


def philips_columns(base: Layout, pitch_px: float, *, gap: bool) -> Layout:
    """The Philips page with columns `pitch_px` apart, each all of it or with a gap before the next.

    The published figures leave open which of these the machine prints.
    """
    pitch_mm = pitch_px / PX_PER_MM
    wide_mm = min(62.5, pitch_mm - 1.5) if gap else pitch_mm
    rows = [row for row in base.rows if not row[0].rhythm_strip]
    return regular_layout(
        "measured",
        page_mm=base.page_mm,
        rows=[[b.lead for b in row] for row in rows],
        left_mm=base.boxes[0].box.left_mm,
        baselines_mm=[row[0].baseline_mm for row in rows],
        column_s=wide_mm / 25,
        column_pitch_mm=pitch_mm,
        rhythm=["II"],
        rhythm_baselines_mm=[base.rows[-1][0].baseline_mm],
        name_offset_mm=(1.1, -10.0),
        grid=True,
    )


@pytest.mark.parametrize("kind", ["vector", "scan"])
@pytest.mark.parametrize("offset_mm", [(0.0, 0.0), (2.0, -3.0)])
@pytest.mark.parametrize("gap", [True, False], ids=["gap", "joined"])
@pytest.mark.parametrize("pitch_px", [738, 757])
def test_columns_are_measured(
    pitch_px: int,
    gap: bool,
    offset_mm: tuple[float, float],
    kind: str,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    philips = formats["philips-tc30"]
    layout = philips_columns(philips.layouts[0], pitch_px, gap=gap)
    drawn = draw_page(layout, philips.info, ecg, offset_mm=offset_mm)
    match = best(page_of(drawn.pdf if kind == "vector" else scanned(drawn.pdf)), philips)
    assert match.score >= GOOD_SCORE, match.evidence
    found = {b.lead: b.box.left_mm for b in match.layout.twelve}
    due = {b.lead: b.box.left_mm for b in drawn.layout.twelve}
    strays = {lead: round(found[lead] - due[lead], 2) for lead in due}
    assert max(map(abs, strays.values())) <= COLUMNS_WITHIN_MM, strays


# --- what is refused --------------------------------------------------------------------------

HEIGHT, WIDTH = 1700, 2200


def cat() -> np.ndarray:
    """Two ellipses, two ears, a face with whiskers, and a tail."""
    pixels = np.full((HEIGHT, WIDTH, 3), (200, 220, 190), np.uint8)
    brown, black = (90, 60, 40), (10, 10, 10)
    cv2.ellipse(pixels, (1100, 1000), (600, 450), 0, 0, 360, brown, -1)
    cv2.ellipse(pixels, (1100, 500), (300, 260), 0, 0, 360, (120, 90, 60), -1)
    cv2.ellipse(pixels, (1700, 1200), (400, 300), 30, 180, 330, brown, 60)
    for side in (-1, 1):
        cv2.ellipse(pixels, (1100 + side * 200, 300), (60, 130), side * 25, 0, 360, brown, -1)
        cv2.ellipse(pixels, (1100 + side * 120, 460), (40, 60), 0, 0, 360, (20, 120, 20), -1)
        for k in range(4):
            ends = (1100 + side * 60, 580 + 12 * k), (1100 + side * 500, 540 + 40 * k)
            cv2.line(pixels, *ends, black, 4)
    return pixels


def ruled() -> np.ndarray:
    pixels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for y in range(500, 1500, 300):
        pixels[y : y + 3, 100:2100] = 0
    return pixels


def letter(lines: range) -> bytes:
    canvas = PdfCanvas(LETTER_MM)
    words = "The patient was seen in clinic today, and feels well. " * 2
    for line in lines:
        canvas.text(words, 15, 10 + 5 * line, 2.3)
    return canvas.tobytes()


NO_PAGES: dict[str, Callable[[], tuple[bytes, str]]] = {
    "blank-pdf": lambda: (PdfCanvas(LETTER_MM).tobytes(), ".pdf"),
    "blank": lambda: (png(np.full((HEIGHT, WIDTH), 255, np.uint8)), ".png"),
    "black": lambda: (png(np.zeros((HEIGHT, WIDTH), np.uint8)), ".png"),
    "noise": lambda: (
        png(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)),
        ".png",
    ),
    "cat": lambda: (png(cat()), ".png"),
    "cat-without-scale": lambda: (png(cat(), None), ".png"),
    "ruled": lambda: (png(ruled()), ".png"),
    "letter": lambda: (letter(range(40)), ".pdf"),
    "scanned-letter": lambda: (scanned(letter(range(40))), ".pdf"),
    "scanned-short-letter": lambda: (scanned(letter(range(0, 40, 8))), ".pdf"),
    "tiny": lambda: (png(np.full((3, 5), 255, np.uint8)), ".png"),
    "sliver": lambda: (png(np.full((3, 2000), 255, np.uint8)), ".png"),
    "huge-scale": lambda: (png(np.full((1000, 1400), 255, np.uint8), 20), ".png"),
}


@pytest.mark.parametrize("kind", NO_PAGES)
def test_what_is_no_ecg_is_refused(
    kind: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    page = page_of(*NO_PAGES[kind]())
    error = refusal(page, list(formats.values()))
    assert error.code == "format-not-found"
    for format_id in formats:
        assert format_id in error.expected
        assert f"{format_id} " in error.found
    assert "looked for" in error.found
    assert "found" in error.found
    assert "ecgvision inspect" in error.hint


def strip_of(rows: int, pitch_mm: float) -> bytes:
    """Noisy lines all over the page: an EEG, say."""
    canvas = PdfCanvas(LETTER_MM)
    rng = np.random.default_rng(1)
    x = np.linspace(10, 260, 500)
    for row in range(rows):
        y = 20 + pitch_mm * row + rng.normal(0, 0.5, 500)
        canvas.polyline(np.column_stack([x, y]), 0.3)
    return canvas.tobytes()


@pytest.mark.parametrize("kind", ["vector", "scan"])
@pytest.mark.parametrize(("rows", "pitch_mm"), [(40, 5.0), (16, 12.0)])
def test_pages_full_of_lines_are_refused(
    rows: int, pitch_mm: float, kind: str, formats: dict[str, Format], page_of: OpenPage
) -> None:
    pdf = strip_of(rows, pitch_mm)
    page = page_of(pdf if kind == "vector" else scanned(pdf))
    assert refusal(page, list(formats.values())).code == "format-not-found"


OTHER_MACHINE = FormatInfo("other", grid_rgb=((216, 111, 98), (250, 200, 168)))


def other_machine(
    rows: Sequence[Sequence[str]], first_mm: float, pitch_mm: float, left_mm: float, *, grid: bool
) -> Layout:
    return regular_layout(
        "other",
        page_mm=LETTER_MM,
        rows=rows,
        left_mm=left_mm,
        baselines_mm=[first_mm + pitch_mm * row for row in range(len(rows))],
        column_s=10 / len(rows[0]),
        name_offset_mm=(0.0, -5.0),
        grid=grid,
    )


TWELVE = tuple((lead,) for lead in LEADS)


@pytest.mark.parametrize(
    ("rows", "first_mm", "pitch_mm", "left_mm", "grid", "kind"),
    [
        (TWELVE, 35, 14, 15, False, "vector"),
        (SIX, 40, 28, 15, True, "vector"),
        (TWELVE, 35, 14, 15, False, "scan"),
        (TWELVE, 40, 13, 10, True, "scan"),
        (TWELVE, 30, 15, 10, True, "scan"),
        (SIX, 40, 28, 10, False, "scan"),
        (SIX, 40, 28, 15, True, "scan"),
        (SIX, 60, 25, 10, False, "scan"),
    ],
)
def test_pages_of_another_machine_are_refused(
    rows: Sequence[Sequence[str]],
    first_mm: float,
    pitch_mm: float,
    left_mm: float,
    grid: bool,
    kind: str,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """As a scan has no text, only its rows, columns and grid can tell."""
    layout = other_machine(rows, first_mm, pitch_mm, left_mm, grid=grid)
    pdf = draw_page(layout, OTHER_MACHINE, ecg).pdf
    page = page_of(pdf if kind == "vector" else scanned(pdf))
    assert refusal(page, list(formats.values())).code == "format-not-found"


@pytest.mark.parametrize("pair", [("V1", "V4"), ("I", "aVR"), ("aVF", "V6")])
@one_of_each
def test_lead_names_that_stand_elsewhere(
    format_id: str,
    name: str,
    pair: tuple[str, str],
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    swap = dict([pair, pair[::-1]])
    layout = layout_of(format_id, name)
    boxes = tuple(
        b if b.rhythm_strip else replace(b, lead=swap.get(b.lead, b.lead)) for b in layout.boxes
    )
    page = page_of(draw_page(replace(layout, boxes=boxes), formats[format_id].info, ecg).pdf)
    error = refusal(page, list(formats.values()))
    assert "printed lead names stand elsewhere" in error.found


def test_two_formats_that_both_fit_are_refused(ecg: Ecg, page_of: OpenPage) -> None:
    layout = regular_layout(
        "3x4",
        page_mm=(297, 210),
        rows=THREE,
        left_mm=20,
        baselines_mm=[70, 110, 150],
        column_s=2.5,
        grid=False,
    )
    both = [
        build_formats([(i, plugin_from(FormatInfo(i), [layout]))]).formats[0]
        for i in ("alpha", "beta")
    ]
    page = page_of(draw_page(layout, FormatInfo("alpha"), ecg).pdf)
    error = refusal(page, both)
    assert error.code == "format-ambiguous"
    assert "alpha (" in error.found
    assert "beta (" in error.found
    assert recognise(page, [both[1]]).format.info.id == "beta"


def test_a_missing_row_is_not_made_up(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    philips = formats["philips-tc30"]
    layout = philips.layouts[0]
    third = tuple(b for b in layout.boxes if b.lead not in ("III", "aVF", "V3", "V6"))
    page = page_of(draw_page(replace(layout, boxes=third), philips.info, ecg).pdf)
    error = refusal(page, [philips])
    assert "looked for 4 rows of ink at y = 95, 125, 155, 185 mm, found 3" in error.found


@pytest.mark.parametrize(("size_mm", "fits"), [((297, 210), True), ((420, 297), False)])
def test_page_sizes(
    size_mm: tuple[float, float],
    fits: bool,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """A4 instead of Letter is a matter of the printer; A3 is another machine."""
    philips = formats["philips-tc30"]
    layout = replace(philips.layouts[0], page_mm=size_mm)
    page = page_of(draw_page(layout, philips.info, ecg).pdf)
    if fits:
        assert best(page, philips).score >= GOOD_SCORE
    else:
        error = refusal(page, [philips])
        assert "looked for a page of 279 x 216 mm, found 420 x 297 mm" in error.found


def test_the_same_twice(formats: dict[str, Format], ecg: Ecg, page_of: OpenPage) -> None:
    philips = formats["philips-tc30"]
    pdf = scanned(draw_page(philips.layouts[0], philips.info, ecg).pdf)
    first: Any = find_layout(page_of(pdf), philips.layouts)
    assert find_layout(page_of(pdf), philips.layouts) == first
    assert find_layout(page_of(pdf), philips.layouts[::-1]).layout == first.layout


def shaken(ecg: Ecg, noise_mv: float, rise_mv: float) -> Ecg:
    """Muscle noise in the limb leads, and a baseline in II and III that takes 2 s to settle."""
    leads8 = ecg.signal_mv[[0, 1, *range(6, 12)]].astype(np.float64)
    rng = np.random.default_rng(2)
    leads8[:2] += noise_mv * rng.normal(size=(2, leads8.shape[1]))
    seconds = np.arange(leads8.shape[1]) / ecg.fs_hz
    leads8[1] += rise_mv * np.exp(-seconds)
    return Ecg.from_eight(1000 * leads8, ecg.fs_hz)


@pytest.mark.parametrize(("noise_mv", "rise_mv"), [(0.04, 0.0), (0.0, 1.2)])
@one_of_each
def test_rows_that_noise_and_drift_blur_are_told_by_their_names(
    format_id: str,
    name: str,
    noise_mv: float,
    rise_mv: float,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, shaken(ecg, noise_mv, rise_mv))
    found = recognise(page_of(drawn.pdf), list(formats.values()))
    assert (found.format.info.id, found.match.layout.name) == (format_id, name)
    assert found.match.offset_mm == pytest.approx((0.0, 0.0), abs=2 * OFFSET_WITHIN_MM)


def drifting(ecg: Ecg) -> Ecg:
    """Leads that change their level by some 3 mV and back within the page, slowly."""
    leads8 = ecg.signal_mv[[0, 1, *range(6, 12)]].astype(np.float64)
    seconds = np.arange(leads8.shape[1]) / ecg.fs_hz
    for lead, turns in ((1, 0.1), (3, 0.17), (4, 0.13)):
        leads8[lead] += 1.6 * np.sin(2 * np.pi * turns * seconds)
    return Ecg.from_eight(1000 * leads8, ecg.fs_hz)


@one_of_each
def test_rows_that_drift_makes_are_told_by_names_in_their_places(
    format_id: str,
    name: str,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    layout = layout_of(format_id, name)
    drawn = draw_page(layout, formats[format_id].info, drifting(ecg))
    found = recognise(page_of(drawn.pdf), list(formats.values()))
    assert (found.format.info.id, found.match.layout.name) == (format_id, name)
    for lead_box, due in zip(found.match.layout.boxes, layout.boxes, strict=True):
        assert lead_box.lead == due.lead
        assert lead_box.box.left_mm == pytest.approx(due.box.left_mm, abs=OFFSET_WITHIN_MM)
        # Level with the drift at the most, and nearer to its own row than to any other.
        assert abs(lead_box.baseline_mm - due.baseline_mm) < 8


def test_one_name_out_of_its_place_tells_no_rows(
    formats: dict[str, Format], layout_of: FindLayout, ecg: Ecg, page_of: OpenPage
) -> None:
    layout = layout_of("ge-mac1200", "6x2")
    first, *others = layout.boxes
    assert first.name_mm is not None
    moved = replace(first, name_mm=(first.name_mm[0] + 2.0, first.name_mm[1]))
    drawn = replace(layout, boxes=(moved, *others))
    page = page_of(draw_page(drawn, formats["ge-mac1200"].info, drifting(ecg)).pdf)
    assert refusal(page, list(formats.values())).code == "format-not-found"


def test_what_a_refusal_tells_is_of_the_page_as_it_lies(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    canvas = PdfCanvas(LETTER_MM)
    for x_mm in range(20, 250, 40):
        canvas.line(x_mm, 30.0, x_mm, 190.0)
    match = best(page_of(canvas.tobytes()), formats["ge-muse"])
    assert (match.score, match.quarter_turns) == (0.0, 0)
    assert "rows of ink" in match.evidence[0]


@pytest.mark.parametrize("dpi", [150, 200])
@pytest.mark.parametrize("offset_mm", [(0.0, 0.0), (2.0, 1.5)])
def test_grey_scans_of_a_red_grid(
    offset_mm: tuple[float, float],
    dpi: int,
    formats: dict[str, Format],
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """The grid's frame is as dark as ink then, and runs beside the rows and past their ends."""
    philips = formats["philips-tc30"]
    layout = philips.layouts[0]
    drawn = draw_page(layout, philips.info, ecg, offset_mm=offset_mm)
    for rotation_deg in (-0.8, 1.07):
        pdf = scanned(drawn.pdf, dpi=dpi, rotation_deg=rotation_deg, jpeg_quality=65, grey=True)
        match = best(page_of(pdf), philips)
        assert_found(match, layout, offset_mm)
        assert match.score > 0.9, match.evidence


@pytest.mark.parametrize("name", ["3x4+1R", "3x4+1R-joined"])
def test_remains_of_a_frame_are_no_end_of_a_row(
    name: str, formats: dict[str, Format], layout_of: FindLayout, ecg: Ecg, page_of: OpenPage
) -> None:
    """Of a frame 5 mm beyond the rows a scan leaves dashes, which may stand beside a row's level.

    Taken for rows' ends, they make the one layout look like the other, some mm wider.
    """
    layout = layout_of("philips-tc30", name)
    drawn = draw_page(layout, formats["philips-tc30"].info, ecg, grid=False)
    for sides in ((-5.0, 5.0), (5.0,), (-5.0,)):
        pixels = rasterise(drawn.pdf, PX_PER_MM)
        for row in layout.rows:
            for side in sides:
                edge = row[0].box.left_mm if side < 0 else row[-1].box.right_mm
                for up_mm in (-6.5, -1.0, 4.0):
                    ends = ((edge + side, row[0].baseline_mm + up_mm + d) for d in (0.0, 2.5))
                    start, stop = ([round(v * PX_PER_MM) for v in end] for end in ends)
                    cv2.line(pixels, start, stop, (60, 60, 60), 3)
        assert_found(best(page_of(png(pixels, 300), ".png"), formats["philips-tc30"]), layout)


@pytest.mark.parametrize("drift_deg", [-2.8, 3.8])
def test_a_straight_page_whose_leads_all_drift_one_way(
    drift_deg: float,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """Twice in each row they drift by 6 mm, steeper than a page may lie; the grid is straight."""
    layout = layout_of("philips-tc30", "3x4+1R")
    seconds = np.arange(ecg.signal_mv.shape[1]) / ecg.fs_hz % 5 - 2.5
    ramp_mv = -np.tan(np.radians(drift_deg)) * seconds * 25 / 10
    drifted = Ecg((ecg.signal_mv + ramp_mv).astype(np.float32), ecg.fs_hz)
    drawn = draw_page(layout, formats["philips-tc30"].info, drifted)
    match = best(page_of(scanned(drawn.pdf, rotation_deg=-0.7)), formats["philips-tc30"])
    assert match.layout.name == layout.name, match.evidence
    assert match.score >= GOOD_SCORE, match.evidence
    assert match.rotation_deg == pytest.approx(-0.7, abs=ROTATION_WITHIN_DEG)


def test_rows_that_begin_off_their_level_are_told_by_print_beside_them(
    formats: dict[str, Format], layout_of: FindLayout, ecg: Ecg, page_of: OpenPage
) -> None:
    """One electrode settles: II, III and the rhythm strip begin far above their levels."""
    layout = layout_of("philips-tc30", "3x4+1R")
    drawn = draw_page(layout, formats["philips-tc30"].info, shaken(ecg, 0.0, 1.6))
    match = best(page_of(scanned(drawn.pdf)), formats["philips-tc30"])
    assert match.layout.name == layout.name, match.evidence
    assert match.score >= GOOD_SCORE, match.evidence
    assert match.offset_mm[0] == pytest.approx(0, abs=OFFSET_WITHIN_MM)


def blurred_at_both_ends(ecg: Ecg) -> Ecg:
    """I and II settle slowly; V4 and V5 end in a deep wave, and so does the rhythm strip."""
    leads8 = ecg.signal_mv[[0, 1, *range(6, 12)]].astype(np.float64)
    seconds = np.arange(leads8.shape[1]) / ecg.fs_hz
    leads8[:2] += 1.6 * np.exp(-seconds)
    leads8[[1, 5, 6]] -= 1.5 * (seconds > 9.7)
    return Ecg.from_eight(1000 * leads8, ecg.fs_hz)


@pytest.mark.parametrize("kind", ["vector", "scan"])
def test_one_row_that_begins_and_ends_level_is_enough_with_names_beside_all(
    kind: str, formats: dict[str, Format], layout_of: FindLayout, ecg: Ecg, page_of: OpenPage
) -> None:
    layout = layout_of("philips-tc30", "3x4+1R-joined")
    shift_mm = (-1.0, 0.0)
    drawn = draw_page(
        layout, formats["philips-tc30"].info, blurred_at_both_ends(ecg), offset_mm=shift_mm
    )
    match = best(
        page_of(drawn.pdf if kind == "vector" else scanned(drawn.pdf)), formats["philips-tc30"]
    )
    assert match.layout.name == layout.name, match.evidence
    assert match.score >= GOOD_SCORE, match.evidence
    assert match.offset_mm[0] == pytest.approx(shift_mm[0], abs=OFFSET_WITHIN_MM)


def test_a_layout_that_would_leave_the_page_hides_no_other(
    formats: dict[str, Format], layout_of: FindLayout, ecg: Ecg, page_of: OpenPage
) -> None:
    """Rows of a real record, of which drift blurred nearly all beginnings and ends."""
    philips = formats["philips-tc30"]
    layout = layout_of("philips-tc30", "3x4+1R-joined")
    page = page_of(draw_page(layout, philips.info, ecg, offset_mm=(-1.1, 0.0)).pdf)
    rows = (
        Row(96.2, 10.2, 253.5, 0.54),
        Row(125.9, 24.2, 253.8, 0.79),
        Row(156.0, 5.8, 256.2, 0.87),
        Row(184.5, 36.7, 253.7, 0.88),
    )
    page.memo["evidence", 0] = replace(gather(page, 0), rows=rows)
    longer = find_layout(page, [layout_of("philips-tc30", "3x4+1R")])
    assert longer is not None
    assert longer.score == 0
    assert "outside the page" in longer.evidence[0]
    found = find_layout(page, philips.layouts)
    assert found is not None
    assert (found.layout.name, found.score >= GOOD_SCORE) == (layout.name, True), found.evidence


@pytest.mark.parametrize(
    ("format_id", "name", "left_px", "right_px"),
    [
        ("ge-muse", "3x4+1R", 100, 0),
        ("ge-muse", "3x4+1R", 150, 150),
        ("philips-tc30", "3x4+1R", 150, 150),
        ("edan-se3", "6x2", 100, 0),
    ],
)
def test_rows_that_begin_on_a_line_that_leans_are_seen_in_perspective(
    format_id: str,
    name: str,
    left_px: int,
    right_px: int,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
    page_of: OpenPage,
) -> None:
    """A photo from one side: the rows stay level, and each is a little shorter or further on."""
    drawn = draw_page(layout_of(format_id, name), formats[format_id].info, ecg)
    pixels = rasterise(drawn.pdf)
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + np.array([[left_px, 0], [right_px, 0], [0, 0], [0, 0]], np.float32)
    turn = cv2.getPerspectiveTransform(corners, moved)
    seen = cv2.warpPerspective(pixels, turn, (width, height), borderValue=(255, 255, 255))
    match = best(page_of(png(seen, None), ".png"), formats[format_id])
    assert match.score < GOOD_SCORE, match.evidence
    assert any("a line which leans by" in note for note in match.evidence)


@pytest.mark.parametrize("grid", [True, False])
@each_layout
def test_no_frame_is_seen_where_there_is_none(
    format_id: str,
    name: str,
    grid: bool,
    formats: dict[str, Format],
    layout_of: FindLayout,
    ecg: Ecg,
) -> None:
    """Pulses at the left, separators, flat rows: two sides or three are no frame."""
    drawn = draw_page(layout_of(format_id, name), formats[format_id].info, ecg, grid=grid)
    ink = rasterise(drawn.ink_only_pdf, 6.0, grey=True) < 128
    assert without_frame(ink, 6.0) is ink
