"""What holds for every layout, every page and any damage, tried on examples made at random."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ecgvision.conversion import PageOptions, convert_each
from ecgvision.errors import PageError
from ecgvision.layout_file import parse_layout_file, to_toml
from ecgvision.layouts import regular_layout
from ecgvision.metrics import raw_snr_db
from ecgvision.plugins import Format, build_formats, plugin_from
from ecgvision.recording import Recording
from ecgvision.result import Conversion
from ecgvision.testing import DrawnPage, as_jpeg, as_png, draw_page, synthetic_ecg
from ecgvision.types import LEADS, FormatInfo, Layout

FEW = settings(
    deadline=None,
    derandomize=True,  # a failure in CI is one at home
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MACHINE = FormatInfo("machine", grid_rgb=((255, 190, 190),))
SIGNALS = PageOptions(read_signals=True)
ARRANGEMENTS: tuple[tuple[str, int], ...] = (("3x4", 3), ("6x2", 6))


def rows_of(count: int) -> list[list[str]]:
    """The twelve leads in `count` rows, in standard order down the columns."""
    return [list(LEADS[row::count]) for row in range(count)]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """A machine's page as there might be one: its arrangement, places, speed and gain."""
    name, count = draw(st.sampled_from(ARRANGEMENTS))
    columns, rows = 12 // count, rows_of(count)
    strips = draw(st.sampled_from([(), ("II",)]))
    pitch_mm = draw(st.integers(110, 140 if count == 6 else 160)) / (count + 1)
    top_mm = draw(st.integers(40, 48))
    baselines = [top_mm + pitch_mm * row for row in range(count + len(strips))]
    return regular_layout(
        name + "+1R" * len(strips),
        page_mm=draw(st.sampled_from([(297.0, 210.0), (279.4, 215.9)])),
        rows=rows,
        left_mm=draw(st.integers(80, 200)) / 10,
        baselines_mm=baselines[:count],
        column_s=draw(st.sampled_from([9.6, 10.0])) / columns,
        rhythm=strips,
        rhythm_baselines_mm=baselines[count:],
        gain_mm_per_mv=draw(st.sampled_from([5.0, 10.0])),
        name_offset_mm=(1.0, -0.4 * pitch_mm),
        grid=draw(st.booleans()),
    )


def machine(*its: Layout) -> Sequence[Format]:
    built = build_formats([("machine", plugin_from(MACHINE, its))])
    assert not built.broken
    return built.formats


def drawn(layout: Layout, seed: int, fs_hz: float = 500.0) -> DrawnPage:
    return draw_page(layout, MACHINE, synthetic_ecg(seed=seed, fs_hz=fs_hz))


def the_one(content: bytes, folder: Path, formats: Sequence[Format]) -> Conversion:
    """The only page's result; fails with the message of its error."""
    path = folder / "page"
    path.write_bytes(content)
    (result,) = convert_each(path, formats, SIGNALS)
    assert isinstance(result, Conversion), str(result)
    return result


def signals(result: Conversion) -> Recording:
    assert result.recording is not None
    return result.recording


def truth_mv(page: DrawnPage, recording: Recording) -> np.ndarray:
    """(12, n): what is printed of each lead, NaN elsewhere."""
    times_s = np.arange(recording.signal_mv.shape[1]) / recording.fs_hz
    truth = np.full(recording.signal_mv.shape, np.nan)
    for one in sorted(page.layout.boxes, key=lambda b: b.stop_s - b.start_s):
        at_s, mv = page.ecg.window(one.lead, one.start_s, one.stop_s)
        shown = (times_s >= at_s[0] - 1e-9) & (times_s <= at_s[-1] + 1e-9)
        truth[LEADS.index(one.lead)] = np.nan
        truth[LEADS.index(one.lead), shown] = np.interp(times_s[shown], at_s, mv)
    return truth


@given(layout=layouts())
@settings(FEW, max_examples=50)
def test_a_layout_written_to_a_file_is_read_as_itself(layout: Layout) -> None:
    info, (read,) = parse_layout_file(to_toml(MACHINE, [layout]), "machine.toml")
    assert (info, read) == (MACHINE, layout)


@given(layout=layouts(), seed=st.integers(0, 99))
@settings(FEW, max_examples=6)
def test_a_layout_drawn_is_read_as_itself(layout: Layout, seed: int, tmp_path: Path) -> None:
    page = drawn(layout, seed)
    result = the_one(page.pdf, tmp_path, machine(layout))
    assert result.match.layout.name == layout.name
    for found, due in zip(result.match.layout.boxes, page.layout.boxes, strict=True):
        assert (found.lead, found.rhythm_strip) == (due.lead, due.rhythm_strip)
        assert found.box.left_mm == pytest.approx(due.box.left_mm, abs=0.5)
        assert found.baseline_mm == pytest.approx(due.baseline_mm, abs=0.5)
    assert result.calibration.gain_mm_per_mv == pytest.approx(layout.gain_mm_per_mv, rel=1e-3)
    recording = signals(result)
    assert raw_snr_db(truth_mv(page, recording), recording.signal_mv) > 50


# --- a page seen another way --------------------------------------------------------------------


@cache
def steady() -> DrawnPage:
    """A page that is moved and turned: the machine's own samples are on it."""
    layout = regular_layout(
        "3x4",
        page_mm=(279.4, 215.9),
        rows=rows_of(3),
        left_mm=12,
        baselines_mm=[70, 105, 140],
        column_s=2.5,
        name_offset_mm=(1.0, -12.0),  # they tell which way is up
        grid=True,
    )
    return drawn(layout, 3)


@cache
def upright_signals() -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        result = the_one(steady().pdf, Path(folder), machine(steady().layout))
    return signals(result).signal_mv


def same_as_upright(content: bytes, folder: Path) -> None:
    result = the_one(content, folder, machine(steady().layout))
    found, due = signals(result).signal_mv, upright_signals()
    assert np.isfinite(due).mean() > 0.2
    assert found.shape == due.shape
    assert (np.isfinite(found) == np.isfinite(due)).all()
    np.testing.assert_allclose(found, due, atol=2e-3)


@pytest.mark.parametrize("turn_deg", [90, 180, 270])
def test_a_page_marked_as_turned_gives_the_same(turn_deg: int, tmp_path: Path) -> None:
    with pymupdf.open(stream=steady().pdf, filetype="pdf") as document:
        document[0].set_rotation(turn_deg)
        same_as_upright(document.tobytes(), tmp_path)


@pytest.mark.parametrize("turn_deg", [90, 180, 270])
def test_a_page_drawn_turned_gives_the_same(turn_deg: int, tmp_path: Path) -> None:
    with (
        pymupdf.open(stream=steady().pdf, filetype="pdf") as document,
        pymupdf.open() as other,
    ):
        width, height = document[0].rect.width, document[0].rect.height
        size = (height, width) if turn_deg % 180 else (width, height)
        page = other.new_page(width=size[0], height=size[1])
        page.show_pdf_page(page.rect, document, 0, rotate=turn_deg)
        same_as_upright(other.tobytes(), tmp_path)


@given(x_pt=st.floats(-3000, 3000, allow_nan=False), y_pt=st.floats(-3000, 3000, allow_nan=False))
@settings(FEW, max_examples=4)
def test_a_page_with_another_origin_gives_the_same(
    x_pt: float, y_pt: float, tmp_path: Path
) -> None:
    """All coordinates moved, and the page's box with them."""
    with pymupdf.open(stream=steady().pdf, filetype="pdf") as document:
        page = document[0]
        width, height = page.rect.width, page.rect.height
        (xref,) = page.get_contents()
        content = f"1 0 0 1 {x_pt:.4f} {y_pt:.4f} cm\n".encode() + document.xref_stream(xref)
        document.update_stream(xref, content)
        box = f"[{x_pt:.4f} {y_pt:.4f} {x_pt + width:.4f} {y_pt + height:.4f}]"
        document.xref_set_key(page.xref, "MediaBox", box)
        same_as_upright(document.tobytes(), tmp_path)


# --- damage -------------------------------------------------------------------------------------


@cache
def whole(kind: str) -> bytes:
    layout = steady().layout
    page = drawn(layout, 3, fs_hz=100.0)
    return {
        "pdf": lambda: page.pdf,
        "pdf-unpacked": lambda: unpacked(page.pdf),
        "png": lambda: as_png(page.pdf, dpi=60),
        "jpeg": lambda: as_jpeg(page.pdf, dpi=60),
        "tiff": lambda: as_tiff(as_png(page.pdf, dpi=60)),
    }[kind]()


def unpacked(pdf: bytes) -> bytes:
    """With its operators in plain text, so that damage to them is not damage to packed data."""
    with pymupdf.open(stream=pdf, filetype="pdf") as document:
        data: bytes = document.tobytes(expand=255)
        return data


def as_tiff(png: bytes) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("L").save(out, "TIFF", compression="tiff_lzw")
    return out.getvalue()


def flipped(data: bytes, seed: int, count: int) -> bytes:
    """Some bytes replaced, half of them near the start, where a file says what it is."""
    chance, out = random.Random(seed), bytearray(data)
    for number in range(count):
        last = len(out) - 1 if number % 2 else min(len(out) - 1, 400)
        out[chance.randint(0, last)] = chance.randrange(256)
    return bytes(out)


def cut_out(data: bytes, seed: int, count: int) -> bytes:
    """Without `count` pieces; the rest moves up."""
    chance = random.Random(seed)
    for _ in range(count):
        start = chance.randrange(max(1, len(data)))
        data = data[:start] + data[start + chance.randrange(2000) :]
    return data


def truncated(data: bytes, seed: int, count: int) -> bytes:
    del count
    return data[: random.Random(seed).randrange(len(data))]


@pytest.mark.parametrize("kind", ["pdf", "pdf-unpacked", "png", "jpeg", "tiff"])
@given(
    damage=st.sampled_from([flipped, cut_out, truncated]),
    seed=st.integers(0, 10_000),
    count=st.integers(1, 12),
)
@settings(FEW, max_examples=10)
def test_damage_ends_in_a_page_or_a_reason(
    damage: Callable[[bytes, int, int], bytes], seed: int, count: int, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(damage(whole(kind), seed, count))
    results = list(convert_each(path, machine(steady().layout), PageOptions()))
    assert results
    for result in results:
        if isinstance(result, PageError):
            assert result.code != "internal", str(result)
            assert result.source == path
        else:
            assert result.image.pixels.size
