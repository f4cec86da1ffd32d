"""What `media` refuses, and with which code, in more ways than the corpus has files."""

from __future__ import annotations

import io
import pickle
import shutil

import numpy as np
import pymupdf
import pytest
from PIL import Image

from ecgvision.errors import UnreadableError
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.types import Box
from tests.hostile import raw_pdf
from tests.hostile.image_files import many_frames, png_of


def read_all(path, **options):
    with open_report(path, **options) as report:
        for page in report.pages():
            _ = page.strokes
            if page.size_mm:
                page.pixels(grey=True)
            else:
                page.reader.native(True)


def refusal(path, **options):
    """The code of the error that reading the file to its last pixel raises."""
    with pytest.raises(UnreadableError) as caught:
        read_all(path, **options)
    assert caught.value.source.name in str(caught.value)
    # dask, where it is loaded, has pickle take causes along: here those are MuPDF's own objects.
    caught.value.__cause__ = caught.value.__context__ = None
    assert pickle.loads(pickle.dumps(caught.value)).code == caught.value.code
    return caught.value.code


def a_pdf(lines=300):
    canvas = PdfCanvas((200, 150))
    rng = np.random.default_rng(1)
    canvas.polyline(rng.uniform(10, 140, (lines, 2)))
    canvas.text("Secret Name", 20, 20, 4)
    return canvas.tobytes()


def encoded(kind, **options):
    out = io.BytesIO()
    rng = np.random.default_rng(2)
    image = rng.integers(0, 255, (200, 300), np.uint8)
    if options.get("compression") == "group4":
        image = image > 200
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("data", [b"\0" * 5000, b"x", b"GIF89a"])
def test_content_decides_not_the_name(tmp_path, data):
    (tmp_path / "report.pdf").write_bytes(data)
    assert refusal(tmp_path / "report.pdf") == "file-type-unknown"


def test_wrong_names_do_not_matter(tmp_path):
    (tmp_path / "a.pdf").write_bytes(encoded("PNG"))
    assert open_report(tmp_path / "a.pdf").page(1).origin == "image"
    (tmp_path / "b.png").write_bytes(a_pdf())
    assert open_report(tmp_path / "b.png").page(1).origin == "vector"
    (tmp_path / "c.pdf").write_bytes(b"x" * 500 + b"\n" + a_pdf())
    assert len(open_report(tmp_path / "c.pdf").page(1).strokes) == 1


@pytest.mark.parametrize("share", [0.01, 0.97, 0.99])
def test_truncated_pdf(tmp_path, share):
    data = a_pdf()
    (tmp_path / "a.pdf").write_bytes(data[: max(20, int(len(data) * share))])
    assert refusal(tmp_path / "a.pdf") == "pdf-damaged"


def test_damage_inside_a_pdf(tmp_path):
    data = bytearray(a_pdf(3000))
    start = data.find(b"stream\n") + 4000
    data[start : start + 200] = b"\x55" * 200
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        open_report(tmp_path / "a.pdf").page(1)
    assert caught.value.code == "page-damaged"
    assert caught.value.page == 1
    assert "Secret" not in str(caught.value)


def test_damaged_image_inside_a_pdf(tmp_path):
    canvas = PdfCanvas((150, 100))
    whole = encoded("JPEG")
    canvas.image(whole[: len(whole) // 2], Box(0, 0, 150, 100))
    canvas.save(tmp_path / "a.pdf")
    assert refusal(tmp_path / "a.pdf") == "page-damaged"


def test_pdf_without_pages(tmp_path):
    data = a_pdf()
    start = data.find(b"/Kids[")
    stop = data.find(b">>", start)
    data = data[:start] + b"/Kids[]/Count 0".ljust(stop - start) + data[stop:]
    (tmp_path / "a.pdf").write_bytes(data)
    assert refusal(tmp_path / "a.pdf") == "pdf-no-pages"


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"MediaBox": "[0 0 999999999 999999999]"}, "page-too-large"),
        ({"UserUnit": "75"}, "page-too-large"),
        ({"MediaBox": "[0 0 0 0]"}, "page-empty-size"),
        ({"MediaBox": "[0 0 500 0]"}, "page-empty-size"),
        ({"MediaBox": "[0 0 2 2]"}, "page-empty-size"),
        ({"CropBox": "[5000 5000 5100 5100]"}, "page-empty-size"),
    ],
)
def test_impossible_pages(tmp_path, entries, code):
    with pymupdf.open(stream=a_pdf(), filetype="pdf") as document:
        for key, value in entries.items():
            document.xref_set_key(document[0].xref, key, value)
        document.save(tmp_path / "a.pdf")
    assert refusal(tmp_path / "a.pdf") == code


def test_one_bad_page_does_not_spoil_the_others(tmp_path):
    canvas = PdfCanvas((200, 150))
    canvas.page((9000, 9000))
    canvas.page((100, 100))
    canvas.save(tmp_path / "a.pdf")
    with open_report(tmp_path / "a.pdf") as report:
        with pytest.raises(UnreadableError, match="page 2"):
            report.page(2)
        assert report.page(3).size_mm == pytest.approx((100, 100), abs=1e-3)
        for number in (0, 4, -1):
            with pytest.raises(UnreadableError, match="page-missing"):
                report.page(number)


def test_far_too_fine_rendering_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(a_pdf())
    with pytest.raises(UnreadableError, match="page-too-large"):
        open_report(tmp_path / "a.pdf").page(1).pixels(1000.0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "group4"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_truncated_image(tmp_path, kind, options, share):
    data = encoded(kind, **options)
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    assert refusal(tmp_path / "a") == "image-damaged"
    (tmp_path / "b").write_bytes(data)
    assert open_report(tmp_path / "b").page(1).reader.native(True).shape == (200, 300)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_copy_whose_end_is_zeros(tmp_path, kind):
    data = encoded(kind)
    half = len(data) // 2
    (tmp_path / "a").write_bytes(data[:half] + bytes(len(data) - half))
    assert refusal(tmp_path / "a") == "image-damaged"


def test_bytes_after_a_jpeg_do_not_matter(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG") + b"SEFH" + bytes(3000))
    assert open_report(tmp_path / "a.jpg").page(1).reader.native(True).shape == (200, 300)


@pytest.mark.parametrize("side", [11_000, 2_000_000])
def test_bombs_are_refused_by_their_header(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_of(side, side))
    assert refusal(tmp_path / "a.png") == "page-too-large"


def test_image_with_fewer_pixels_than_it_says(tmp_path):
    (tmp_path / "a.png").write_bytes(png_of(300, 300))
    assert refusal(tmp_path / "a.png") == "image-damaged"


def test_images_of_many_pages_have_a_limit(tmp_path):
    frames = [Image.new("L", (4, 4))] * 3
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert open_report(tmp_path / "a.tif").page_count == 3
    (tmp_path / "b.tif").write_bytes(many_frames(2000))
    with open_report(tmp_path / "b.tif") as report:
        assert report.page_count == 2000
    (tmp_path / "c.tif").write_bytes(many_frames(2001))
    assert refusal(tmp_path / "c.tif") == "file-too-large"


def test_damaged_numbers_cost_their_piece_of_the_line(tmp_path):
    """What is drawn far off the page, or nowhere, does not take the rest of its line with it."""
    content = b"10 10 m 20 10 l 30 20 l 40 99999999999 l 50 10 l 60 10 l S 9 w 5 5 m 6 6 l S"
    (tmp_path / "a.pdf").write_bytes(raw_pdf.one_page(content))
    found = [s.points_mm * 72 / 25.4 for s in open_report(tmp_path / "a.pdf").page(1).strokes]
    assert [len(points) for points in found] == [3, 2, 2]
    np.testing.assert_allclose(found[1][:, 0], [50, 60], atol=1e-3)


@pytest.mark.parametrize("kept", [0.999, 0.8, 0.5])
@pytest.mark.parametrize("kind", ["jpeg2000", "jbig2"])
def test_images_in_a_pdf_that_stop_early(tmp_path, kind, kept):
    """MuPDF says nothing of these and leaves the image out, in part or as a whole."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 255, (150, 200), np.uint8)
    data = raw_pdf.jpeg2000(pixels) if kind == "jpeg2000" else raw_pdf.jbig2(pixels > 200)
    entries = {
        "jpeg2000": b"/Filter/JPXDecode/Width 200/Height 150",
        "jbig2": b"/Filter/JBIG2Decode/Width 200/Height 150/ColorSpace/DeviceGray"
        b"/BitsPerComponent 1",
    }[kind]
    (tmp_path / "whole.pdf").write_bytes(raw_pdf.with_image(data, entries))
    with open_report(tmp_path / "whole.pdf") as report:
        assert report.page(1).pixels(2.0, grey=True).std() > 10
    (tmp_path / "cut.pdf").write_bytes(raw_pdf.with_image(data[: int(len(data) * kept)], entries))
    assert refusal(tmp_path / "cut.pdf") == "page-damaged"


def test_missing_renderer(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(a_pdf())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert refusal(tmp_path / "a.pdf", renderer="poppler") == "renderer-missing"
