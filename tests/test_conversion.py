"""From a file to pictures and numbers: every page by itself, and no word of the header."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image

import ecgvision
from ecgvision import convert
from ecgvision.conversion import PageOptions, convert_each
from ecgvision.errors import EcgVisionError, NoMatchError, PageError, UnreadableError, UsageError
from ecgvision.hookspecs import hookimpl
from ecgvision.layout_file import dump_layout_file
from ecgvision.media.canvas import PdfCanvas
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format, build_formats, plugin_from
from ecgvision.recognition import choose_formats, recognise
from ecgvision.result import Conversion
from ecgvision.testing import SYNTHETIC_PATIENT, Ecg, as_png, draw_page, scanned
from ecgvision.types import LEADS, FormatInfo, Layout, Page

SECRETS = ("Zaphod", "BEEBLEBROX", "4711-0815", "17-May-1952")


@pytest.fixture
def pdf(formats: dict[str, Format], ecg: Ecg) -> bytes:
    one = formats["philips-tc30"]
    words = (f"Name: {SECRETS[1]}, {SECRETS[0]}", f"ID: {SECRETS[2]}", f"Born: {SECRETS[3]}")
    return draw_page(one.layouts[0], one.info, ecg, patient_text=words).pdf


def saved(content: bytes, folder: Path, name: str = "report.pdf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def pages_of(*pdfs: bytes) -> bytes:
    with pymupdf.open() as document:
        for one in pdfs:
            with pymupdf.open(stream=one, filetype="pdf") as source:
                document.insert_pdf(source)
        return bytes(document.tobytes())


# --- results ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["philips", "philips-tc30", "PHILIPS", "auto"])
def test_the_front_door(name: str, pdf: bytes, tmp_path: Path) -> None:
    (found,) = ecgvision.convert(saved(pdf, tmp_path), format=name)
    assert isinstance(found, ecgvision.Conversion)
    assert (found.format_id, found.match.layout.name) == ("philips-tc30", "3x4+1R")
    assert (found.page_number, found.page_count, found.origin) == (1, 1, "vector")
    assert found.image.pixels.dtype == np.uint8
    assert [b.lead for b in found.image.boxes] == list(LEADS)
    assert not found.notices


def test_the_path_may_be_a_string(pdf: bytes, tmp_path: Path) -> None:
    path = saved(pdf, tmp_path)
    assert convert(str(path))[0].source == path


@pytest.mark.parametrize("kind", ["vector", "scan", "png", "png-without-scale"])
def test_the_summary_is_json_and_true(
    kind: str, pdf: bytes, formats: dict[str, Format], tmp_path: Path
) -> None:
    content = {
        "vector": lambda: pdf,
        "scan": lambda: scanned(pdf),
        "png": lambda: as_png(pdf, 200),
        "png-without-scale": lambda: as_png(pdf, 200, with_dpi=False),
    }[kind]()
    path = saved(content, tmp_path, "report.png" if "png" in kind else "report.pdf")
    (found,) = convert(path, format="philips")
    told = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert told["source"]["name"] == path.name
    assert told["source"]["sha256"] == found.source_sha256
    assert len(found.source_sha256) == 64
    assert (told["format"], told["layout"]) == ("philips-tc30", "3x4+1R")
    assert told["match"]["score"] >= 0.6
    assert told["match"]["offset_mm"] == pytest.approx([0, 0], abs=0.5)
    assert told["match"]["rotation_deg"] == pytest.approx(0.7 if kind == "scan" else 0, abs=0.1)
    assert told["scale"]["page_mm"] == pytest.approx([279.4, 215.9], rel=0.005)
    came_from = {"vector": "pdf", "scan": "pdf", "png": "image", "png-without-scale": "grid"}
    assert told["scale"]["from"] == came_from[kind]
    assert told["scale"]["speed_mm_per_s"] == pytest.approx(25, rel=1e-3)
    assert told["scale"]["gain_mm_per_mv"] == pytest.approx(10, rel=2e-3)
    assert told["scale"]["speed_from"] in ("text", "grid")
    assert {one["source"] for one in told["scale"]["gain_sources"]} >= {"grid", "layout"}
    assert told["image"]["size_px"] == [found.image.pixels.shape[1], found.image.pixels.shape[0]]
    assert told["image"]["px_per_mm"] == 8
    assert [one["lead"] for one in told["image"]["leads"]] == list(LEADS)
    assert told["image"]["leads"][6]["start_s"] == 5.0
    assert told["versions"]["ecgvision"] == ecgvision.__version__
    assert told["warnings"] == []


def test_the_same_twice(pdf: bytes, tmp_path: Path) -> None:
    path = saved(scanned(pdf), tmp_path)
    first, second = convert(path)[0], convert(path)[0]
    np.testing.assert_array_equal(first.image.pixels, second.image.pixels)
    assert first.summary() == second.summary()


@pytest.mark.parametrize(
    ("format_id", "kind"),
    [
        ("philips-tc30", "vector"),
        ("ge-mac1200", "vector"),
        ("ge-muse", "vector"),
        ("edan-se3", "vector"),
        ("philips-tc30", "scan"),
        ("edan-se3", "scan"),
    ],
)
def test_no_word_of_the_header_gets_out(
    kind: str, format_id: str, formats: dict[str, Format], ecg: Ecg, tmp_path: Path
) -> None:
    one = formats[format_id]
    content = draw_page(one.layouts[0], one.info, ecg, patient_text=SECRETS).pdf
    (found,) = convert(saved(content if kind == "vector" else scanned(content), tmp_path))
    everything = json.dumps(found.summary()) + repr(found.match) + repr(found.notices)
    for word in (*SECRETS, *SYNTHETIC_PATIENT, "PATIENT", "Name:"):
        assert word.lower() not in everything.lower()


def test_no_word_of_the_header_is_in_a_refusal(
    formats: dict[str, Format], ecg: Ecg, tmp_path: Path
) -> None:
    one = formats["philips-tc30"]
    path = saved(draw_page(one.layouts[0], one.info, ecg, patient_text=SECRETS).pdf, tmp_path)
    for name in ("ge", "muse", "edan"):
        with pytest.raises(NoMatchError) as caught:
            convert(path, format=name)
        for word in SECRETS:
            assert word.lower() not in str(caught.value).lower()


def test_options_reach_the_picture(pdf: bytes, tmp_path: Path) -> None:
    options = ImageOptions(px_per_mm=4, lead_s=2, lead_height_mm=25)
    (found,) = convert(saved(pdf, tmp_path), options=options)
    assert found.image.pixels.shape == (600, 400)


@pytest.mark.parametrize("style", ["published", "published-windows"])
def test_styles_that_were_not_published(
    style: str, formats: dict[str, Format], ecg: Ecg, tmp_path: Path
) -> None:
    one = formats["ge-muse"]
    path = saved(draw_page(one.layouts[0], one.info, ecg).pdf, tmp_path)
    with pytest.raises(NoMatchError, match="has none; use --style canonical") as caught:
        convert(path, options=ImageOptions(style=style))  # type: ignore[arg-type]
    assert caught.value.code == "style-not-published"


# --- several pages ----------------------------------------------------------------------------


def test_a_bad_page_in_the_middle(
    pdf: bytes, formats: dict[str, Format], ecg: Ecg, tmp_path: Path
) -> None:
    ge = draw_page(formats["ge-mac1200"].layouts[0], formats["ge-mac1200"].info, ecg).pdf
    blank = PdfCanvas((279.4, 215.9)).tobytes()
    path = saved(pages_of(pdf, blank, ge), tmp_path)
    found = list(convert_each(path, choose_formats("auto"), PageOptions()))
    assert isinstance(found[0], Conversion)
    assert isinstance(found[1], NoMatchError)
    assert isinstance(found[2], Conversion)
    assert [one.format_id for one in (found[0], found[2])] == ["philips-tc30", "ge-mac1200"]
    assert [(one.page_number, one.page_count) for one in (found[0], found[2])] == [(1, 3), (3, 3)]
    assert found[1].page == 2
    assert "report.pdf page 2: expected a page of" in str(found[1])
    with pytest.raises(NoMatchError, match="page 2"):
        convert(path)


def test_pages_of_a_tiff(pdf: bytes, formats: dict[str, Format], ecg: Ecg, tmp_path: Path) -> None:
    ge = draw_page(formats["ge-mac1200"].layouts[0], formats["ge-mac1200"].info, ecg).pdf
    pictures = [Image.open(io.BytesIO(as_png(one, 200))) for one in (pdf, ge)]
    path = tmp_path / "two.tiff"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], dpi=(200, 200))
    assert [one.format_id for one in convert(path)] == ["philips-tc30", "ge-mac1200"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "file-empty"), (b"%PDF-1.4\n", None), (b"hello", None)]
)
def test_files_that_are_no_reports(content: bytes, code: str | None, tmp_path: Path) -> None:
    path = saved(content, tmp_path)
    (error,) = convert_each(path, choose_formats("auto"), PageOptions())
    assert isinstance(error, UnreadableError)
    assert code in (None, error.code)
    with pytest.raises(PageError, match=r"report\.pdf"):
        convert(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"nothing of that name.*\[file-missing\]"):
        convert(tmp_path / "gone.pdf")


# --- which format -----------------------------------------------------------------------------


def test_the_wrong_format_says_what_was_looked_for_and_found(pdf: bytes, tmp_path: Path) -> None:
    with pytest.raises(NoMatchError) as caught:
        convert(saved(pdf, tmp_path), format="ge")
    error = caught.value
    assert error.code == "format-not-found"
    assert str(error).startswith("report.pdf page 1: expected a page of ge-mac1200, found ")
    assert "ge-mac1200 6x2: looked for 6 rows of ink at y = 33, 52, 70, 89, 107, 126" in error.found
    assert "found 4 at 95, 125, 155, 185 mm" in error.found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "custom"}, "format 'custom' needs a layout file"),
        ({"format": "philips", "layout": "a.toml"}, "--layout goes with --format custom"),
        ({"layout": "a.toml"}, "--layout goes with --format custom, not with 'auto'"),
        ({"format": "siemens"}, "no format 'siemens'"),
        ({"format": "custom", "layout": "no-such.toml"}, "no-such.toml"),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, str], message: str, pdf: bytes, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        convert(saved(pdf, tmp_path), **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_layout_from_a_file(
    pdf: bytes, layout_of: Callable[[str, str], Layout], tmp_path: Path
) -> None:
    layout = layout_of("philips-tc30", "3x4+1R")
    path = tmp_path / "acme.toml"
    dump_layout_file(FormatInfo("acme", grid_rgb=((216, 111, 98),)), [layout], path)
    (found,) = convert(saved(pdf, tmp_path), format="custom", layout=path)
    assert found.format_id == "acme"
    (due,) = convert(saved(pdf, tmp_path), format="philips")
    np.testing.assert_array_equal(found.image.pixels, due.image.pixels)


# --- plugins that fail on a page --------------------------------------------------------------


class Failing:
    """A plugin whose hooks all raise, once it has been accepted."""

    @hookimpl
    def format_info(self) -> FormatInfo:
        return FormatInfo("failing")

    @hookimpl
    def lead_layouts(self) -> tuple[Layout, ...]:
        return LAYOUTS

    @hookimpl
    def detect_layout(self, page: Page) -> None:
        raise ZeroDivisionError(f"{page.source} of {SECRETS[1]}")


LAYOUTS: tuple[Layout, ...] = ()


@pytest.fixture
def with_failing(
    monkeypatch: pytest.MonkeyPatch, layout_of: Callable[[str, str], Layout]
) -> list[Format]:
    layout = layout_of("philips-tc30", "3x4+1R")
    monkeypatch.setitem(globals(), "LAYOUTS", (layout,))
    plain = build_formats([("plain", plugin_from(FormatInfo("plain"), [layout]))]).formats
    return [*build_formats([("failing", Failing())]).formats, *plain]


def test_a_format_that_fails_does_not_keep_the_others(
    with_failing: list[Format], pdf: bytes, page_of: Callable[..., Page]
) -> None:
    found = recognise(page_of(pdf), with_failing)
    assert found.format.info.id == "plain"
    assert any("failing" in n.message for n in found.notices)


def test_a_format_that_fails_alone_costs_its_page_only(
    with_failing: list[Format], pdf: bytes, tmp_path: Path
) -> None:
    path = saved(pages_of(pdf, pdf), tmp_path)
    found = list(convert_each(path, with_failing[:1], PageOptions()))
    assert len(found) == 2
    for number, error in enumerate(found, 1):
        assert isinstance(error, PageError)
        assert error.page == number
        assert "ZeroDivisionError" in str(error)
        assert SECRETS[1] not in str(error)


def test_all_errors_are_of_one_family() -> None:
    assert issubclass(PageError, EcgVisionError)
    assert issubclass(UsageError, EcgVisionError)
    assert not issubclass(UsageError, PageError)
