"""`redact`: what is left reads as before, and no byte of what named a patient is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ecgvision import convert
from ecgvision.calibration.pulse import pulse_of
from ecgvision.cli.common import Commands
from ecgvision.cli.redacting import redact
from ecgvision.errors import PageError
from ecgvision.media import open_report
from ecgvision.media.mupdf import pymupdf
from ecgvision.media.redaction import LineSheet, PixelSheet, SheetWriter, page_pdf
from ecgvision.media.views import own_pixels
from ecgvision.plugins import load_formats
from ecgvision.redact import redacted
from ecgvision.result import Conversion
from ecgvision.strokes import grid_pitch_mm, sorted_strokes
from ecgvision.testing import as_jpeg, as_png, scanned
from ecgvision.types import LEADS, Box
from tests.planted import (
    MM,
    PATIENT,
    PLACES,
    SECRET,
    drawn,
    found_in,
    layout_of,
    pdf_with,
    planted_files,
)

VECTOR_DB = 50.0
# One of each machine, with and without grid, bars and gaps between the columns.
LAYOUTS = [
    ("philips-tc30", "3x4+1R"),
    ("ge-mac1200", "6x2"),
    ("ge-muse", "3x4+3R"),
    ("edan-se3", "6x2+1R"),
]
FORMATS = load_formats().formats


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(data: bytes, name: str = "page.pdf") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return written


def of_file(path: Path) -> Conversion:
    (page,) = convert(path, format="auto", signals=True)
    return page


def agreement_db(before: Conversion, after: Conversion) -> float:
    assert before.recording is not None
    assert after.recording is not None
    one, other = before.recording.signal_mv, after.recording.signal_mv
    assert one.shape == other.shape
    both = np.isfinite(one)
    assert both.any()
    assert np.array_equal(both, np.isfinite(other))
    off = np.sqrt(np.mean((one[both] - other[both]) ** 2))
    return float(20 * np.log10(np.std(one[both]) / max(off, 1e-12)))


def text_of(data: bytes) -> str:
    with pymupdf.open(stream=data, filetype="pdf") as pdf:
        return " ".join(" ".join(page.get_text() for page in pdf).split())


def pixels_of(path: Path, number: int = 1) -> np.ndarray:
    with open_report(path) as report:
        return own_pixels(report.page(number))


def with_print(page: bytes, draw: Callable[[object], None]) -> bytes:
    with pymupdf.open(stream=page, filetype="pdf") as pdf:
        draw(pdf[0])
        data: bytes = pdf.tobytes()
    return data


def as_scan(page: bytes) -> bytes:
    return scanned(page, dpi=200, rotation_deg=0.3)


# --- pages of lines ---------------------------------------------------------------------------


@pytest.mark.parametrize(("format_id", "name"), LAYOUTS)
def test_a_page_of_lines_reads_as_before(
    format_id: str, name: str, write: Callable[..., Path]
) -> None:
    source = write(drawn(format_id, name))
    data = redacted(source, FORMATS)
    before, after = of_file(source), of_file(write(data, "redacted.pdf"))
    assert after.format_id == before.format_id == format_id
    assert after.match.layout.name == before.match.layout.name == name
    assert after.match.page_mm == pytest.approx(before.match.page_mm, abs=0.01)
    assert after.calibration.speed_mm_per_s == pytest.approx(before.calibration.speed_mm_per_s)
    assert after.calibration.gain_mm_per_mv == pytest.approx(
        before.calibration.gain_mm_per_mv, rel=1e-4
    )
    assert agreement_db(before, after) > VECTOR_DB
    assert not found_in(data)
    words = text_of(data).replace("25 mm/s 10 mm/mV", "")
    assert set(words.split()) == set(LEADS)


def test_grid_and_pulses_stay(write: Callable[..., Path]) -> None:
    source = write(drawn("ge-muse", "3x4+3R"))
    with (
        open_report(source) as old,
        open_report(write(redacted(source, FORMATS), "redacted.pdf")) as new,
    ):
        before, after = sorted_strokes(old.page(1)), sorted_strokes(new.page(1))
    assert grid_pitch_mm(after.grid) == pytest.approx(grid_pitch_mm(before.grid), abs=1e-4)
    assert len(after.grid) >= 0.9 * len(before.grid)
    assert len(after.ink) == len(before.ink)
    assert sum(pulse_of(s.points_mm) is not None for s in after.ink) >= 6
    assert {s.rgb for s in after.grid} <= {s.rgb for s in before.grid}


def test_a_dotted_grid_stays(write: Callable[..., Path]) -> None:
    source = write(drawn("edan-se3", "6x2", grid="dotted"))
    after = of_file(write(redacted(source, FORMATS), "redacted.pdf"))
    grid = [one.value for one in after.calibration.speed_sources if one.source == "grid"]
    assert grid == pytest.approx([25.0], abs=1e-3)


def test_two_gains_are_set_anew(write: Callable[..., Path]) -> None:
    def print_them(page: object) -> None:
        page.insert_text((30, 600), f"Limb: 10 mm/mV Chest: 5 mm/mV {SECRET}", fontsize=7)

    page = with_print(drawn("ge-muse", "3x4+1R", footer=False), print_them)
    source = write(page)
    data = redacted(source, FORMATS)
    assert "10 mm/mV Chest: 5 mm/mV" in text_of(data)
    assert agreement_db(of_file(source), of_file(write(data, "redacted.pdf"))) > VECTOR_DB


def letters(page: object, left_mm: float, top_mm: float, rgb: tuple[float, ...]) -> None:
    """Z, N, V, W and a bar code, as a plotter draws them: each letter a line of few points."""
    shape = page.new_shape()
    forms = ["00 10 01 11", "01 00 11 10", "00 .51 10", "00 .31 .50 .71 10"]
    for at, form in enumerate(forms):
        corners = [
            ((left_mm + 4 * at + 3 * float(p[:-1])) * MM, (top_mm + 4 * float(p[-1])) * MM)
            for p in form.split()
        ]
        shape.draw_polyline(corners)
        shape.finish(color=rgb, width=0.6, closePath=False)
    for bar in range(14):
        x = (left_mm + 20 + bar) * MM
        shape.draw_line((x, top_mm * MM), (x, (top_mm + 9) * MM))
        shape.finish(color=rgb, width=0.6)
    shape.draw_line((left_mm * MM, (top_mm + 5) * MM), ((left_mm + 9) * MM, (top_mm + 5) * MM))
    shape.finish(color=rgb, width=0.6)
    shape.commit()


@pytest.mark.parametrize("rgb", [(0, 0, 0), (0.1, 0.2, 0.9), (0.996, 0.639, 0.675)])
def test_drawn_letters_and_bar_codes_go(rgb: tuple[float, ...], write: Callable[..., Path]) -> None:
    """Black, coloured, and in the very colour of the grid; above the leads and among them."""
    clean = drawn("ge-muse", "3x4+1R")

    def draw_them(page: object) -> None:
        for top_mm in (8.0, 92.0, 128.0):
            letters(page, 80.0, top_mm, rgb)

    source = write(with_print(clean, draw_them))
    expected = redacted(write(clean, "clean.pdf"), FORMATS)
    after = redacted(source, FORMATS)
    strokes = []
    for data in (expected, after):
        with open_report(write(data, "redacted.pdf")) as report:
            strokes.append([stroke.points_mm for stroke in report.page(1).strokes])
    assert len(strokes[0]) == len(strokes[1])
    for one, other in zip(*strokes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_words_in_the_leads_area_go(write: Callable[..., Path]) -> None:
    def print_them(page: object) -> None:
        for at, size in enumerate((3, 6, 9, 14)):
            page.insert_text((200, 170 + 60 * at), SECRET, fontsize=size)
        page.insert_text((30, 190), "V1 ZYXWVUT", fontsize=7)

    data = redacted(write(with_print(drawn(), print_them)), FORMATS)
    assert not found_in(data)


@pytest.mark.parametrize("turned", [90, 180])
def test_a_page_on_its_side_comes_upright(turned: int, write: Callable[..., Path]) -> None:
    with pymupdf.open(stream=drawn(), filetype="pdf") as pdf, pymupdf.open() as other:
        width, height = pdf[0].rect.width, pdf[0].rect.height
        size = (width, height) if turned == 180 else (height, width)
        page = other.new_page(width=size[0], height=size[1])
        page.show_pdf_page(page.rect, pdf, 0, rotate=turned)
        data = other.tobytes()
    source = write(data)
    after = of_file(write(redacted(source, FORMATS), "redacted.pdf"))
    assert after.match.quarter_turns == 0
    assert agreement_db(of_file(source), after) > VECTOR_DB


# --- every place ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(planted_files()))
def test_nothing_planted_is_left(name: str, write: Callable[..., Path]) -> None:
    data = redacted(write(planted_files()[name], name), FORMATS)
    assert not found_in(data)
    with pymupdf.open(stream=data, filetype="pdf") as pdf:
        assert {key for key, value in pdf.metadata.items() if value} == {"format"}
        assert not pdf.get_xml_metadata()
        assert not pdf.get_toc()
        assert pdf.embfile_count() == 0
        assert not pdf.is_form_pdf
        for page in pdf:
            assert page.first_annot is None
            assert not page.get_links()
        keys = set(pdf.xref_get_keys(pdf.pdf_catalog()))
        assert keys <= {"Type", "Pages", "Info"}
    assert not re.search(rb"/ID\s*\[", data)
    assert data.rstrip().endswith(b"%%EOF")


def test_the_same_page_gives_the_same_bytes(write: Callable[..., Path]) -> None:
    """Nothing of another patient, file name, place in a file or time is in them."""
    first = redacted(write(drawn(), "one.pdf"), FORMATS)
    other = pdf_with(["metadata", "xmp", "outlines"], drawn(patient=("Name:", "other")))
    assert redacted(write(other, "two.pdf"), FORMATS) == first


# --- pages of pixels --------------------------------------------------------------------------


@pytest.mark.parametrize(("format_id", "name"), LAYOUTS)
def test_a_scan_keeps_its_pixels_in_the_leads_area(
    format_id: str, name: str, write: Callable[..., Path]
) -> None:
    source = write(as_scan(drawn(format_id, name)))
    redone = write(redacted(source, FORMATS), "redacted.pdf")
    before, after = pixels_of(source), pixels_of(redone)
    assert before.shape == after.shape
    kept = (before == after).all(axis=2)
    assert (after[~kept] == 255).all()
    layout, _ = layout_of(format_id, name)
    scale = before.shape[1] / layout.page_mm[0]
    boxes = [b.box for b in layout.boxes]
    top, bottom = min(b.top_mm for b in boxes) + 3, max(b.bottom_mm for b in boxes) - 3
    left, right = min(b.left_mm for b in boxes) + 3, max(b.right_mm for b in boxes) - 3
    rows = slice(round(top * scale), round(bottom * scale))
    columns = slice(round(left * scale), round(right * scale))
    assert kept[rows, columns].mean() > 0.99
    assert (after[: round((top - 8) * scale)] == 255).mean() > 0.999
    assert (before[: round((top - 8) * scale)] < 128).any()
    old, new = of_file(source), of_file(redone)
    assert new.format_id == old.format_id
    assert new.match.layout.name == old.match.layout.name


COLOURS = [(0, 0, 0), (0.75, 0.1, 0.1), (0.1, 0.1, 0.8), (0.6, 0.6, 0.6), (0.8, 0.8, 0.8)]


@pytest.mark.parametrize(("format_id", "name"), [LAYOUTS[0], LAYOUTS[1]])
def test_words_between_the_rows_of_a_scan_go(
    format_id: str, name: str, write: Callable[..., Path]
) -> None:
    """Black, red, blue, grey and pale, where hardly any trace runs through them."""
    layout, _ = layout_of(format_id, name)
    row = layout.rows[-2][0]
    y = (row.baseline_mm + layout.rows[-1][0].baseline_mm) / 2 + 1

    def print_them(page: object) -> None:
        for at, rgb in enumerate(COLOURS):
            x = row.box.left_mm + 20 + 42 * at
            page.insert_text((x * MM, y * MM), "ZYXWVUT", fontsize=9, color=rgb)

    clean = drawn(format_id, name)
    plain, printed = (as_png(page, 200) for page in (clean, with_print(clean, print_them)))
    unlike = pixels_of(write(plain, "a.png")) != pixels_of(write(printed, "b.png"))
    after = pixels_of(write(redacted(write(printed, "x.png"), FORMATS), "redacted.pdf"))
    letter = unlike.any(axis=2)
    assert letter.sum() > 200 * len(COLOURS)
    # A letter that a trace runs through may leave what lies within a pen's width of the trace.
    assert (after[letter] == 255).all(axis=1).mean() > 0.95


def test_words_over_a_trace_are_refused(write: Callable[..., Path]) -> None:
    layout, _ = layout_of("ge-mac1200", "6x2")
    row = layout.rows[-1][0]

    def print_it(page: object) -> None:
        where = ((row.box.left_mm + 30) * MM, (row.baseline_mm + 1) * MM)
        page.insert_text(where, "ZYXWVUT 98761234", fontsize=9)

    page = with_print(drawn("ge-mac1200", "6x2"), print_it)
    with pytest.raises(PageError) as refused:
        redacted(write(as_scan(page)), FORMATS)
    assert refused.value.code == "redaction-unsure"
    assert "aVF" in str(refused.value)
    assert not found_in(str(refused.value).encode())


def test_a_page_covered_with_other_print_is_refused(write: Callable[..., Path]) -> None:
    def print_it(page: object) -> None:
        for line in range(24):
            page.insert_text((30, 160 + 17 * line), SECRET * 3, fontsize=8)

    with pytest.raises(PageError) as refused:
        redacted(write(as_png(with_print(drawn(), print_it), 200), "x.png"), FORMATS)
    assert not found_in(str(refused.value).encode())


def test_traces_that_leave_their_boxes_are_not_cut(write: Callable[..., Path]) -> None:
    """High complexes of the top row reach above the area, those of others into their neighbours."""
    from ecgvision.testing import synthetic_ecg

    high = synthetic_ecg(seed=3, seconds=12)
    tall = type(high)(high.signal_mv * 3.0, high.fs_hz)
    clean = drawn("ge-muse", "3x4+1R", patient=("Name:",), ecg=tall, header=False)
    source = write(as_png(clean, 200), "x.png")
    before = pixels_of(source)
    after = pixels_of(write(redacted(source, FORMATS), "redacted.pdf"))
    dark = before.max(axis=2) < 60
    layout, _ = layout_of("ge-muse", "3x4+1R")
    dark[round(layout.boxes[-1].box.bottom_mm / 25.4 * 200) :] = False  # the footer
    assert (after[dark].max(axis=1) < 60).mean() > 0.999


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("x.png", lambda page: as_png(page, 200, with_dpi=False)),
        ("x.jpg", lambda page: as_jpeg(page, dpi=200)),
        ("x.pdf", lambda page: scanned(page, dpi=200, one_bit=True, rotation_deg=0.4)),
        ("x.pdf", lambda page: scanned(page, dpi=150, grey=True, rotation_deg=-1.2)),
    ],
    ids=["unknown resolution", "jpeg", "one bit", "grey and askew"],
)
def test_other_kinds_of_pixels(
    name: str, make: Callable[[bytes], bytes], write: Callable[..., Path]
) -> None:
    source = write(make(drawn("ge-mac1200", "6x2")), name)
    redone = write(redacted(source, FORMATS), "redacted.pdf")
    before, after = pixels_of(source), pixels_of(redone)
    assert before.shape == after.shape
    kept = (before == after).all(axis=2)
    assert (after[~kept] == 255).all()
    assert 0.2 < kept.mean() < 1.0
    assert of_file(redone).format_id == "ge-mac1200"


def test_an_image_on_its_side_stays_on_its_side(write: Callable[..., Path]) -> None:
    import cv2

    pixels = np.rot90(cv2.imdecode(np.frombuffer(as_png(drawn(), 200), np.uint8), 1))
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    assert done
    source = write(data.tobytes(), "x.png")
    redone = write(redacted(source, FORMATS), "redacted.pdf")
    before, after = pixels_of(source), pixels_of(redone)
    assert before.shape == after.shape == pixels.shape
    kept = (before == after).all(axis=2)
    assert (after[~kept] == 255).all()
    assert of_file(redone).match.quarter_turns % 2 == 1


# --- files ------------------------------------------------------------------------------------


def many(pages: list[bytes]) -> bytes:
    with pymupdf.open() as pdf:
        for page in pages:
            with pymupdf.open(stream=page, filetype="pdf") as one:
                pdf.insert_pdf(one)
        data: bytes = pdf.tobytes()
    return data


def test_a_file_of_many_pages_keeps_them_all(write: Callable[..., Path]) -> None:
    vector, scan = drawn("ge-muse", "3x4"), as_scan(drawn("ge-mac1200", "6x2"))
    source = write(many([scan, vector, scan]))
    redone = write(redacted(source, FORMATS), "redacted.pdf")
    with open_report(source) as old, open_report(redone) as new:
        assert old.page_count == new.page_count == 3
        for number in (1, 2, 3):
            before, after = old.page(number), new.page(number)
            assert before.origin == after.origin
            assert before.known_mm == pytest.approx(after.known_mm, abs=0.01)
    # A page's image is its only one, so that its own pixels are taken and not drawn again.
    before, after = pixels_of(source, 3), pixels_of(redone, 3)
    assert ((before == after) | (after == 255)).all()
    assert not found_in(redone.read_bytes())


def command(*arguments: str | Path) -> Result:
    group = Commands("ecgvision", commands={"redact": redact})
    return CliRunner().invoke(group, ["redact", *map(str, arguments)], catch_exceptions=False)


def test_the_command_writes_whole_or_nothing(tmp_path: Path, write: Callable[..., Path]) -> None:
    good, other = drawn(), many([drawn(), page_pdf(LineSheet((200.0, 150.0), ()))])
    out = tmp_path / "new" / "out.pdf"
    refused = command(write(other), out)
    assert refused.exit_code == 1
    assert "page 2" in refused.output
    assert "format-not-found" in refused.output
    assert not out.parent.exists()
    assert not found_in(refused.output.encode())
    done = command(write(good), out)
    assert (done.exit_code, done.output) == (0, "")
    assert [path.name for path in out.parent.iterdir()] == ["out.pdf"]
    first = out.read_bytes()
    assert "output-exists" in command(write(good), out).output
    assert command(write(other), out, "--force").exit_code == 1
    assert out.read_bytes() == first
    assert command(write(good), out, "--force", "--format", "muse").exit_code == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["page.pdf", "page.pdf"], "is the input"),
        (["page.pdf", "out.png"], "ending .pdf"),
        (["page.pdf", "out.pdf", "--format", "nonsense"], "no format 'nonsense'"),
        (["page.pdf", "out.pdf", "--layout", "x.toml"], "--format custom"),
        (["page.pdf"], "Missing argument"),
    ],
)
def test_wrong_commands(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.pdf").write_bytes(drawn())
    done = command(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["page.pdf"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file-empty"),
        (SECRET.encode(), "file-type-unknown"),
        (b"%PDF-1.7\n" + SECRET.encode(), "pdf-damaged"),
        (as_png(page_pdf(LineSheet((100.0, 80.0), ()))), "format-not-found"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, code: str, write: Callable[..., Path]) -> None:
    with pytest.raises(PageError) as refused:
        redacted(write(data), FORMATS)
    assert refused.value.code == code
    assert not found_in(str(refused.value).encode())


def test_a_bug_is_told_without_its_words(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("ecgvision.redact.line_sheet", broken)
    with pytest.raises(PageError) as refused:
        redacted(write(drawn()), FORMATS)
    assert refused.value.code == "internal"
    assert not found_in(str(refused.value).encode())


def test_a_redaction_that_loses_a_lead_is_refused(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecgvision.redact import line_sheet

    def without_last(*arguments: object) -> LineSheet:
        sheet = line_sheet(*arguments)
        return LineSheet(sheet.size_mm, sheet.lines[:-1], sheet.dots, sheet.words)

    monkeypatch.setattr("ecgvision.redact.line_sheet", without_last)
    with pytest.raises(PageError) as refused:
        redacted(write(drawn()), FORMATS)
    assert refused.value.code == "redaction-differs"


def test_a_writer_needs_a_page() -> None:
    writer = SheetWriter()
    with pytest.raises(ValueError, match="page"):
        writer.tobytes()
    writer.close()


def test_grey_pixels_are_written_as_grey() -> None:
    shade = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    data = page_pdf(PixelSheet((4.0, 3.0), np.repeat(shade[:, :, None], 3, axis=2)))
    with pymupdf.open(stream=data, filetype="pdf") as pdf:
        (image,) = pdf[0].get_images()
        assert image[5] == "DeviceGray"
        got = np.frombuffer(pdf.xref_stream(image[0]), np.uint8).reshape(3, 4)
    assert np.array_equal(got, shade)


# --- real pages -------------------------------------------------------------------------------


def test_a_real_vector_page(data: Path, write: Callable[..., Path]) -> None:
    (source,) = sorted((data / "muse").glob("*.pdf"))
    redone = redacted(source, FORMATS)
    assert agreement_db(of_file(source), of_file(write(redone, "redacted.pdf"))) > VECTOR_DB
    assert set(text_of(redone).replace("25 mm/s 10 mm/mV", "").split()) == set(LEADS)


@pytest.mark.parametrize("name", ["grid-10.jpg", "nogrid-04.jpg"])
def test_a_real_page_of_pixels(data: Path, name: str, write: Callable[..., Path]) -> None:
    source = data / "edan" / name
    redone = write(redacted(source, FORMATS), "redacted.pdf")
    before, after = pixels_of(source), pixels_of(redone)
    kept = (before == after).all(axis=2)
    assert (after[~kept] == 255).all()
    scale = before.shape[1] / 281.051
    header = Box(0.0, 0.0, 200.0, 25.0)
    assert (after[: round(header.bottom_mm * scale), : round(header.right_mm * scale)] == 255).all()
    old, new = of_file(source), of_file(redone)
    assert (new.format_id, new.match.layout.name) == (old.format_id, old.match.layout.name)


def test_the_tests_know_their_patient() -> None:
    assert all(found_in(line.encode()) for line in PATIENT[:3])
    assert len(PLACES) == 16
