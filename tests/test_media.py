"""Pages against known truth: what was drawn, at which mm, must come back."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pymupdf
import pytest
from PIL import Image

from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.media.raster import cut
from ecgvision.media.views import levelled, scaled, turned
from ecgvision.types import Box

PAGE_MM = (279.4, 215.9)
DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")


def first_page(path, **options):
    return open_report(path, **options).page(1)


def picture(width=400, height=300):
    """A picture that looks different however it is turned: soft shapes, as JPEG likes them."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), 240.0)
    pixels[:, :, 0] -= 200 * np.exp(
        -(((x - width * 0.2) / 30) ** 2 + ((y - height * 0.3) / 20) ** 2)
    )
    pixels[:, :, 1] -= 150 * (x > width * 0.7) * (y > height * 0.8)
    pixels[:, :, 2] -= 60 * x / width
    return pixels.clip(0, 255).astype(np.uint8)


def encoded(pixels, kind="PNG", **options):
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, kind, **options)
    return out.getvalue()


def changed(data, path, *, rotate=0, crop_pt=None, **keys):
    """A PDF with /Rotate, CropBox and further page entries set."""
    with pymupdf.open(stream=data, filetype="pdf") as document:
        page = document[0]
        if crop_pt:
            page.set_cropbox(pymupdf.Rect(crop_pt))
        if rotate:
            page.set_rotation(rotate)
        for key, value in keys.items():
            document.xref_set_key(page.xref, key, value)
        document.save(path)
    return path


def as_shown(points, rotate, size_mm):
    """Truth in a page turned clockwise by `rotate`; `size_mm` before turning."""
    x, y = np.asarray(points, float).T
    width, height = size_mm
    turns = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}
    return np.stack(turns[rotate], axis=1)


@pytest.mark.parametrize("unit", [1, 2])
@pytest.mark.parametrize("crop_pt", [None, (36, 72, 756, 576)])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_line_comes_back_in_mm_of_the_page_as_shown(tmp_path, rotate, crop_pt, unit):
    canvas = PdfCanvas(PAGE_MM)
    truth = np.array([(50, 60), (80, 60), (100, 75)])
    canvas.polyline(truth, width_mm=0.5, rgb=(200, 10, 20))
    canvas.text("aVR", 150, 90, 4)
    path = changed(
        canvas.tobytes(),
        tmp_path / "a.pdf",
        rotate=rotate,
        crop_pt=crop_pt,
        **({"UserUnit": "2"} if unit == 2 else {}),
    )
    page = first_page(path)
    left, top, right, bottom = np.array(crop_pt or (0, 0, 792, 612)) * 25.4 / 72
    size = ((right - left) * unit, (bottom - top) * unit)
    assert page.origin == "vector"
    assert page.size_mm == pytest.approx(size if rotate % 180 == 0 else size[::-1], abs=1e-3)

    due = as_shown((truth - (left, top)) * unit, rotate, size)
    (stroke,) = page.strokes
    assert np.abs(stroke.points_mm - due).max() < 1e-3
    assert stroke.width_mm == pytest.approx(0.5 * unit, abs=1e-4)
    assert stroke.rgb == (200, 10, 20)
    assert not stroke.filled

    name = next(text for text in page.texts if text.text == "aVR")
    corner = as_shown([((150 + 4 - left) * unit, (92 - top) * unit)], rotate, size)[0]
    assert name.box.contains(*corner)

    grey = page.pixels(8.0, grey=True)
    assert grey.shape == (round(page.size_mm[1] * 8), round(page.size_mm[0] * 8))
    x, y = (due[0] + due[1]) / 2 * 8
    assert grey[int(y), int(x)] < 130
    aside = (due[0] + due[1]) / 2 + as_shown([(0, 0), (0, 2 * unit)], rotate, (0, 0))[1]
    assert grey[int(aside[1] * 8), int(aside[0] * 8)] == 255


def test_clip_shows_what_the_page_shows_there(tmp_path):
    canvas = PdfCanvas(PAGE_MM)
    canvas.polyline(np.stack([np.linspace(20, 250, 400), 100 + 20 * np.sin(np.arange(400))], 1))
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    whole = page.pixels(10.0, grey=True)
    part = page.pixels(10.0, Box(50, 70, 120, 130), grey=True).astype(int)
    assert np.abs(part - whole[700:1300, 500:1200]).max() <= 1
    over = page.pixels(10.0, Box(-10, -5, 60, 90.04), grey=True)
    assert over.shape == (950, 700)
    assert (over[:50] == 255).all()
    # MuPDF rounds the ends of lines that it cuts: a tenth of a pixel at the most.
    assert np.abs(over[50:, 100:].astype(int) - whole[:900, :600]).max() <= 25
    assert (page.pixels(10.0, Box(400, 400, 410, 410)) == 255).all()
    # A clip between two pixels is drawn there, not at the nearest pixel.
    edge = PdfCanvas((100, 100))
    edge.rect(Box(50, 10, 60, 20))
    edge.save(tmp_path / "b.pdf")
    row = first_page(tmp_path / "b.pdf").pixels(1.0, Box(49.5, 14, 53.5, 15), grey=True)[0]
    assert 110 < row[0] < 145
    assert list(row[1:]) == [0, 0, 0]


def test_strokes_split_fill_and_curves(tmp_path):
    with pymupdf.open() as document:
        page = document.new_page(width=720, height=720)
        shape = page.new_shape()
        shape.draw_line((72, 72), (144, 72))
        shape.draw_line((144, 72), (144, 144))
        shape.draw_line((300, 300), (360, 300))
        shape.finish(width=1, closePath=False)
        shape.draw_rect((400, 400, 472, 436))
        shape.finish(fill=(1, 0, 0), color=None)
        shape.draw_circle((200, 500), 72)
        shape.finish(width=1, color=(0, 0, 1))
        shape.draw_line((10, 10), (20, 20))
        shape.finish(stroke_opacity=0)
        shape.commit()
        document.save(tmp_path / "a.pdf")
    corner, short, rect, *round_ones = first_page(tmp_path / "a.pdf").strokes
    assert np.allclose(corner.points_mm, [(25.4, 25.4), (50.8, 25.4), (50.8, 50.8)], atol=1e-3)
    assert len(short.points_mm) == 2
    assert rect.filled
    assert rect.rgb == (255, 0, 0)
    assert (rect.points_mm[0] == rect.points_mm[-1]).all()
    circle = np.concatenate([stroke.points_mm for stroke in round_ones])
    radius = np.hypot(*(circle - np.array((200, 500)) * 25.4 / 72).T)
    assert np.abs(radius - 25.4).max() < 0.02
    assert len(circle) > 40


def test_words_of_one_column_stand_together(tmp_path):
    canvas = PdfCanvas(PAGE_MM)
    canvas.text("Vent. rate (mean)", 20, 20, 3)
    canvas.text("77", 90, 20, 3, bold=True)
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    assert [text.text for text in page.texts] == ["Vent. rate (mean)", "77"]
    assert page.texts[1].box.left_mm == pytest.approx(90, abs=0.3)
    assert page.texts is page.texts


def test_canvas_repeats_itself_and_keeps_lattice_and_decimals(tmp_path):
    def draw(**options):
        canvas = PdfCanvas(PAGE_MM)
        canvas.polyline([(10.123456, 20.654321), (30.2, 40.7)], **options)
        return canvas.tobytes()

    assert draw() == draw()
    for options, step in (({"snap_pt": 0.24}, 0.24), ({"decimals": 1}, 0.1)):
        (tmp_path / "a.pdf").write_bytes(draw(**options))
        (stroke,) = first_page(tmp_path / "a.pdf").strokes
        points = stroke.points_mm * 72 / 25.4
        points[:, 1] = 612 - points[:, 1]
        assert np.abs(points / step - np.round(points / step)).max() < 1e-3
    canvas = PdfCanvas(PAGE_MM)
    canvas.page((100, 50))
    canvas.save(tmp_path / "b.pdf")
    with open_report(tmp_path / "b.pdf") as report:
        assert report.page_count == 2
        assert [page.size_mm[0] for page in report.pages()] == pytest.approx([279.4, 100], abs=1e-3)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_scan_gives_the_images_own_pixels(tmp_path, kind, rotate):
    data = encoded(picture(), kind)
    canvas = PdfCanvas((100, 75))
    canvas.image(data, Box(0, 0, 100, 75))
    page = first_page(changed(canvas.tobytes(), tmp_path / "a.pdf", rotate=rotate))
    assert page.origin == "scan"
    due = np.rot90(np.asarray(Image.open(io.BytesIO(data))), -rotate // 90)
    assert page.size_px == (due.shape[1], due.shape[0])
    assert (page.pixels() == due).all()
    grey = page.pixels(grey=True)
    luma = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(grey.astype(int) - np.rot90(luma, -rotate // 90)).max() <= 1
    assert page.strokes == ()


def test_flipped_image_is_shown_flipped(tmp_path):
    data = encoded(picture())
    canvas = PdfCanvas((100, 75))
    canvas.image(data, Box(0, 0, 100, 75))
    (tmp_path / "a.pdf").write_bytes(canvas.tobytes())
    with pymupdf.open(tmp_path / "a.pdf") as document:
        content = document[0].get_contents()[0]
        document.update_stream(content, b"q -283.4646 0 0 212.5984 283.4646 0 cm /I0 Do Q")
        document.save(tmp_path / "b.pdf")
    assert (first_page(tmp_path / "b.pdf").pixels() == picture()[:, ::-1]).all()


def test_scan_smaller_than_its_page_lies_where_it_is_shown(tmp_path):
    canvas = PdfCanvas((100, 100))
    canvas.image(encoded(picture(400, 400)), Box(5, 2, 100, 97))
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    assert page.origin == "scan"
    assert page.size_px == (421, 421)
    pixels = page.pixels()
    assert (pixels[:, :20] == 255).all()
    assert (pixels[8:408, 21:421] == picture(400, 400)).all()


def test_scan_with_oblong_pixels_becomes_square(tmp_path):
    canvas = PdfCanvas((100, 75))
    canvas.image(encoded(picture(800, 300)), Box(0, 0, 100, 75))
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    assert page.size_px == (800, 600)
    due = cv2.resize(picture(800, 300), (800, 600))
    assert np.abs(page.pixels().astype(int) - due).mean() < 1


def _with_image(path, entries, stream):
    """A page of 100 x 75 mm that is one image of 400 x 300 with these dictionary entries."""
    canvas = PdfCanvas((100, 75))
    canvas.image(encoded(np.zeros((3, 3), np.uint8)), Box(0, 0, 100, 75))
    head = b"/Type/XObject/Subtype/Image/Width 400/Height 300" + entries.encode()
    canvas._images[0] = b"<<%b/Length %d>>stream\n%b\nendstream" % (head, len(stream), stream)
    canvas.save(path)
    return path


def bilevel():
    """True is white: mostly paper with some ink, in no symmetry."""
    white = np.ones((300, 400), bool)
    white[40:60, 50:300] = False
    white[60:200, 50:56] = False
    return white


def test_fax_compressed_scan_has_black_ink(tmp_path):
    data = encoded(bilevel(), "TIFF", compression="group4")
    tags = Image.open(io.BytesIO(data)).tag_v2
    # Code for white means 1 in PDF unless turned; libtiff writes either way round.
    black_is_1 = "false" if tags[262] == 0 else "true"
    page = first_page(
        _with_image(
            tmp_path / "a.pdf",
            "/BitsPerComponent 1/ColorSpace/DeviceGray/Filter/CCITTFaxDecode"
            f"/DecodeParms<</K -1/Columns 400/Rows 300/BlackIs1 {black_is_1}>>",
            b"".join(data[at : at + n] for at, n in zip(tags[273], tags[279], strict=True)),
        )
    )
    assert page.origin == "scan"
    assert (page.pixels(grey=True) == bilevel() * np.uint8(255)).all()


@pytest.mark.parametrize(
    ("entries", "stream"),
    [
        ("/BitsPerComponent 1/ColorSpace/DeviceGray", np.packbits(bilevel(), axis=1).tobytes()),
        (
            "/BitsPerComponent 1/ColorSpace/DeviceGray/Decode[1 0]",
            np.packbits(~bilevel(), axis=1).tobytes(),
        ),
        ("/BitsPerComponent 1/ImageMask true", np.packbits(bilevel(), axis=1).tobytes()),
        (
            "/BitsPerComponent 1/ColorSpace[/Indexed/DeviceRGB 1<FFFFFF000000>]",
            np.packbits(~bilevel(), axis=1).tobytes(),
        ),
    ],
    ids=["grey", "decode", "mask", "indexed"],
)
def test_bilevel_scans_of_all_kinds_have_black_ink(tmp_path, entries, stream):
    page = first_page(_with_image(tmp_path / "a.pdf", entries, stream))
    assert page.origin == "scan"
    assert np.abs(page.pixels(grey=True).astype(int) - bilevel() * 255).mean() < 1.5


def test_cmyk_scan_has_its_colours(tmp_path):
    cmyk = Image.fromarray(picture()).convert("CMYK").tobytes()
    page = first_page(
        _with_image(tmp_path / "a.pdf", "/BitsPerComponent 8/ColorSpace/DeviceCMYK", cmyk)
    )
    assert page.origin == "scan"
    assert np.abs(page.pixels().astype(int) - picture()).mean() < 25


def test_scan_in_strips_is_one_page(tmp_path):
    canvas = PdfCanvas((100, 75))
    for strip in range(3):
        rows = picture()[strip * 100 : strip * 100 + 100]
        canvas.image(encoded(rows), Box(0, 25 * strip, 100, 25 * strip + 25))
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    assert page.origin == "scan"
    assert page.size_px == (400, 300)
    assert np.abs(page.pixels().astype(int) - picture()).mean() < 3


def test_print_over_a_scan_is_not_lost_and_traces_make_a_vector_page(tmp_path):
    canvas = PdfCanvas((100, 75))
    canvas.image(encoded(np.full((300, 400), 250, np.uint8)), Box(0, 0, 100, 75))
    canvas.rect(Box(20, 20, 40, 30))
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    assert page.origin == "scan"
    assert page.pixels(grey=True)[100, 120] == 0
    canvas.polyline(np.stack([np.linspace(1, 99, 300), np.full(300, 50.0)], 1))
    canvas.save(tmp_path / "b.pdf")
    assert first_page(tmp_path / "b.pdf").origin == "vector"


def _tiff_white_is_zero():
    return encoded(Image.fromarray(bilevel()), "TIFF", tiffinfo={262: 0}, compression="group4")


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encoded(bilevel()), 0),
        (encoded(bilevel(), "TIFF", compression="group4"), 0),
        (_tiff_white_is_zero(), 0),
        (encoded(bilevel().astype(np.uint8) * 255, "BMP"), 0),
        (encoded(bilevel().astype(np.uint16) * 65535), 0),
        (encoded(bilevel().astype(np.uint16) * 65535, "TIFF"), 0),
        (encoded(Image.fromarray(bilevel().astype(np.uint8) * 255).convert("P")), 0),
        (
            encoded(
                Image.fromarray(
                    np.dstack([bilevel().astype(np.uint8) * 0] * 3 + [~bilevel() * np.uint8(255)])
                )
            ),
            0,
        ),
        (encoded(Image.fromarray(bilevel().astype(np.uint8) * 255).convert("CMYK"), "JPEG"), 6),
    ],
    ids=[
        "png-1",
        "tiff-g4",
        "white-is-zero",
        "bmp",
        "png-16",
        "tiff-16",
        "palette",
        "alpha",
        "cmyk-jpeg",
    ],
)
def test_odd_images_have_black_ink_on_white(tmp_path, data, tolerance):
    (tmp_path / "a").write_bytes(data)
    page = scaled(first_page(tmp_path / "a"), 10.0)
    assert page.origin == "image"
    for pixels in (page.pixels(grey=True), page.pixels()[:, :, 1]):
        assert pixels.shape == (300, 400)
        assert np.abs(pixels.astype(int) - bilevel() * 255).mean() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, kind, orientation):
    from PIL import ImageOps

    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(image, kind, exif=exif, dpi=(300, 200), **options)
    (tmp_path / "a").write_bytes(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    page = first_page(tmp_path / "a")
    due_mm = (400 / 300 * 25.4, 300 / 200 * 25.4)
    assert page.size_mm == pytest.approx(due_mm if orientation < 5 else due_mm[::-1], rel=1e-3)
    due = cv2.resize(np.asarray(upright.convert("RGB")), page.size_px)
    assert np.abs(page.pixels().astype(int) - due).mean() < 2


@pytest.mark.parametrize(
    ("dpi", "size_px", "px_per_inch"),
    [
        ((300, 300), (400, 300), 300),
        ((72, 72), (400, 300), None),
        ((96, 96), (400, 300), None),
        (None, (400, 300), None),
        ((2400, 2400), (400, 300), None),
        ((204, 98), (400, 624), 204),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_only_believable_resolutions_are_believed(tmp_path, kind, dpi, size_px, px_per_inch):
    (tmp_path / "a").write_bytes(encoded(picture(), kind, **({"dpi": dpi} if dpi else {})))
    page = first_page(tmp_path / "a")
    assert page.size_px == pytest.approx(size_px, abs=1)
    if px_per_inch is None:
        assert page.size_mm is None
        with pytest.raises(ValueError, match="size in mm"):
            page.pixels()
    else:
        assert page.px_per_mm == pytest.approx(px_per_inch / 25.4, rel=1e-3)
        assert page.pixels(grey=True).shape == page.size_px[::-1]


def test_tiff_pages_are_read_one_by_one(tmp_path):
    pages = [Image.fromarray(np.full((50 + 10 * i, 40), 60 * i, np.uint8)) for i in range(4)]
    pages[0].save(tmp_path / "a.pdf", "TIFF", save_all=True, append_images=pages[1:])
    with open_report(tmp_path / "a.pdf") as report:
        assert report.page_count == 4
        for number in (3, 1, 4):
            page = scaled(report.page(number), 1.0)
            assert page.size_px == (40, 40 + 10 * number)
            assert (page.pixels(grey=True) == 60 * (number - 1)).all()


def test_cut_keeps_places_at_other_scales():
    pixels = np.full((600, 800), 255, np.uint8)
    pixels[200:400, 300:500] = 0  # 30 to 50 mm and 20 to 40 mm at 10 px/mm
    for scale in (2.5, 4.0, 7.3, 10.0, 23.0):
        clip = Box(23.17, 13.31, 61.0, 47.0)
        small = cut(pixels, 10.0, scale, clip).astype(float)
        assert small.shape == (round(clip.height_mm * scale), round(clip.width_mm * scale))
        ink = (255 - small) / 255
        assert ink.sum() / scale**2 == pytest.approx(400, rel=0.01)
        slack = 0.06 if scale == 10.0 else 0.005  # copied, so up to half a pixel off
        y, x = (np.arange(n) + 0.5 for n in small.shape)
        assert (ink.sum(0) * x).sum() / ink.sum() / scale + 23.17 == pytest.approx(40, abs=slack)
        assert (ink.sum(1) * y).sum() / ink.sum() / scale + 13.31 == pytest.approx(30, abs=slack)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_turned_page_turns_pixels_lines_and_words(tmp_path, turns):
    canvas = PdfCanvas((120, 80))
    canvas.line(20, 30, 90, 30, 0.6)
    canvas.text("V1", 30, 50, 5)
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    page.memo["measured"] = 1
    view = turned(page, turns)
    assert view.memo == {}
    assert view.size_mm == (page.size_mm if turns % 2 == 0 else page.size_mm[::-1])
    assert (view.pixels(10.0) == np.rot90(page.pixels(10.0), -turns)).all()
    points = view.strokes[0].points_mm
    x, y = points.mean(axis=0)
    part = view.pixels(10.0, Box(x - 3.02, y - 3.02, x + 3.02, y + 3.02), grey=True)
    dark = (np.argwhere(part < 128).mean(axis=0) + 0.5) / 10
    assert dark == pytest.approx((3.02, 3.02), abs=0.06)
    assert view.texts[0].box.width_mm == pytest.approx(
        (page.texts[0].box.height_mm if turns % 2 else page.texts[0].box.width_mm), abs=1e-6
    )
    assert turned(view, -turns).pixels(10.0).tobytes() == page.pixels(10.0).tobytes()
    assert np.allclose(turned(view, -turns).strokes[0].points_mm, page.strokes[0].points_mm)
    assert turned(page, 4) is page


def test_turning_comes_before_measuring(tmp_path):
    (tmp_path / "a").write_bytes(encoded(picture()))
    page = first_page(tmp_path / "a")
    view = scaled(turned(page, 1), 4.0)
    assert view.size_mm == (75.0, 100.0)
    assert (view.pixels() == np.rot90(picture(), -1)).all()
    assert (view.pixels(clip=Box(10, 20, 30, 50)) == np.rot90(picture(), -1)[80:200, 40:120]).all()
    assert scaled(view, 8.0).size_mm == (37.5, 50.0)


@pytest.mark.parametrize("raster", [False, True])
@pytest.mark.parametrize("angle", [-4.0, 0.7, 3.0])
def test_levelled_page_undoes_a_skew(tmp_path, angle, raster):
    size = np.array((120.0, 80.0))
    radians = np.deg2rad(angle)
    skew = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    level = np.array([(20.0, 30.0), (100.0, 30.0)])
    leaning = (level - size / 2) @ skew.T + size / 2
    assert (leaning[1, 1] > leaning[0, 1]) == (angle > 0)  # clockwise: the right end is lower
    canvas = PdfCanvas((120, 80))
    canvas.polyline(leaning, 0.5)
    canvas.save(tmp_path / "a.pdf")
    page = first_page(tmp_path / "a.pdf")
    if raster:
        (tmp_path / "b").write_bytes(encoded(page.pixels(10.0, grey=True), dpi=(254, 254)))
        page = first_page(tmp_path / "b")
    view = levelled(page, angle)
    assert view.size_mm == page.size_mm
    if not raster:
        assert np.abs(view.strokes[0].points_mm - level).max() < 1e-3
    whole = view.pixels(10.0, grey=True)
    for x in (250, 600, 950):
        rows = np.flatnonzero(whole[:, x] < 128)
        assert abs(rows.mean() + 0.5 - 300) < 0.8
        assert 3 <= len(rows) <= 7
    clip = view.pixels(10.0, Box(40, 20, 70, 40), grey=True)
    assert np.abs(clip.astype(int) - whole[200:400, 400:700]).mean() < 0.5
    assert levelled(page, 0.01) is page


def test_levelled_pixels_agree_with_native_ones(tmp_path):
    (tmp_path / "a").write_bytes(encoded(picture()))
    page = first_page(tmp_path / "a")
    before = scaled(levelled(page, 2.0), 4.0).pixels()
    after = levelled(scaled(page, 4.0), 2.0).pixels()
    assert np.abs(before.astype(int) - after).mean() < 0.5


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler's pdftoppm is not installed")
def test_poppler_draws_the_same_page(tmp_path):
    canvas = PdfCanvas(PAGE_MM)
    canvas.rect(Box(50, 60, 80, 75), (0, 0, 0))
    path = changed(canvas.tobytes(), tmp_path / "a.png", rotate=90, crop_pt=(36, 72, 756, 576))
    ours, theirs = first_page(path), first_page(path, renderer="poppler")
    assert theirs.size_mm == ours.size_mm
    clip = Box(40.0, 10.0, 170.0, 100.0)
    one, other = (page.pixels(6.0, clip, grey=True).astype(int) for page in (ours, theirs))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 1
    assert (one < 128).sum() > 10_000
    scan = PdfCanvas((100, 75))
    scan.image(encoded(picture(), "JPEG"), Box(0, 0, 100, 75))
    scan.save(tmp_path / "b.pdf")
    page = first_page(tmp_path / "b.pdf", renderer="poppler")
    assert page.pixels().shape == (300, 400, 3)
    assert np.abs(page.pixels().astype(int) - picture()).mean() < 6


@pytest.mark.data
def test_real_muse_page_stands_where_it_is_printed():
    path = DATA / "muse" / "fictitious-3x4-3r.pdf"
    if not path.exists():
        pytest.skip("no real pages: set ECGVISION_DATA")
    page = first_page(path)
    assert page.origin == "vector"
    assert page.size_mm == pytest.approx(PAGE_MM, abs=0.01)
    name = next(text for text in page.texts if text.text == "I")
    assert name.box.left_mm == pytest.approx(10.8, abs=0.2)
    traces = [stroke for stroke in page.strokes if len(stroke.points_mm) > 1000]
    assert len(traces) == 15
    first = traces[0].points_mm
    assert np.median(first[:, 1]) == pytest.approx(67.5, abs=1)
    assert first[0, 0] == pytest.approx(10.8, abs=0.1)
    assert np.diff(first[:, 0]).min() > -1e-3
    grey = page.pixels(grey=True)
    assert grey.shape == (2550, 3300)
    x, y = (first[300] * page.px_per_mm).astype(int)
    assert grey[y - 1 : y + 2, x - 1 : x + 2].min() < 60
