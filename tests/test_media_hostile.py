"""Files that are broken, locked, empty, lying or huge are refused with a code, never shown half."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import zlib

import numpy as np
import pymupdf
import pytest
from PIL import Image

from ecgvision.errors import UnreadableError
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.types import Box


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


def test_what_is_no_file(tmp_path):
    assert refusal(tmp_path / "none.pdf") == "file-missing"
    assert refusal(tmp_path) == "file-is-directory"
    (tmp_path / "empty.pdf").touch()
    assert refusal(tmp_path / "empty.pdf") == "file-empty"


@pytest.mark.parametrize(
    "data", [b"<html><body>Login</body></html>", b"\0" * 5000, b"x", b"GIF89a"]
)
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


def test_passwords(tmp_path):
    with pymupdf.open(stream=a_pdf(), filetype="pdf") as document:
        aes = pymupdf.PDF_ENCRYPT_AES_256
        document.save(tmp_path / "user.pdf", encryption=aes, user_pw="u", owner_pw="o")
        document.save(tmp_path / "owner.pdf", encryption=aes, user_pw="", owner_pw="o")
    assert refusal(tmp_path / "user.pdf") == "pdf-encrypted"
    page = open_report(tmp_path / "owner.pdf").page(1)
    assert len(page.strokes) == 1
    assert page.pixels(grey=True).min() == 0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.8, 0.97])
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
        ({"MediaBox": "[0 0 14400 14400]"}, "page-too-large"),
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


def _png_of(width, height):
    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_400, 30_000, 2_000_000])
def test_bombs_are_refused_by_their_header(tmp_path, side):
    (tmp_path / "a.png").write_bytes(_png_of(side, side))
    assert refusal(tmp_path / "a.png") == "page-too-large"


def test_image_with_fewer_pixels_than_it_says(tmp_path):
    (tmp_path / "a.png").write_bytes(_png_of(300, 300))
    assert refusal(tmp_path / "a.png") == "image-damaged"


def test_missing_renderer(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(a_pdf())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert refusal(tmp_path / "a.pdf", renderer="poppler") == "renderer-missing"
