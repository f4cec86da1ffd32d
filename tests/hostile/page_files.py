"""PDF pages that ask for too much, or for what cannot be."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pymupdf

from ecgvision.media.canvas import PdfCanvas
from tests.hostile import raw_pdf
from tests.hostile.case import (
    BOMB_BYTES,
    BOMB_SIDE,
    GOOD,
    NO_ECG,
    Case,
    good_pdf,
    good_pixels,
    of,
    zeros,
)


def cases() -> list[Case]:
    huge = (
        b"q 340282346638528859811704183484516925440 w 99999999999999999999999999999999999999 5 m "
        b"-99999999999999999999999999999999999999 9 l 300 300 l 8888888888888888888 5 4 3 2 1 c S "
        b"1e38 -1e38 m 3.4e38 9e99 l 1e999 5 l S 10 10 m nan inf l 20 NaN l S Q\n"
    )
    wild = _wild_numbers()
    return [
        of("page-14400", lambda: raw_pdf.one_page(b"", size_pt=(14400, 14400)), "page-too-large"),
        of("huge-numbers", lambda: raw_pdf.one_page(huge), NO_ECG, "page-damaged"),
        of("huge-beside-ecg", lambda: _beside_ecg(huge), GOOD, NO_ECG, "page-damaged"),
        of("wild-matrices", lambda: raw_pdf.one_page(wild), NO_ECG, "page-damaged"),
        of("million-points", _million_points, "page-too-complex"),
        of("million-fills", lambda: _million(b"0 0 792 612 re f\n"), "page-too-complex"),
        of("many-full-fills", lambda: _many(b"0 0 792 612 re f\n", 20_000), "page-too-complex"),
        of("dense-line", lambda: _dense_line(90_000), "page-too-complex"),
        of("fine-dashes", _fine_dashes, NO_ECG, "page-damaged", "page-too-complex"),
        of("text-bomb", _text_bomb, "page-too-complex"),
        of("content-bomb", _content_bomb, "page-too-complex"),
        of("content-bomb-twice", _content_bomb_twice, "page-too-complex", "page-damaged"),
        of("form-laughs", _form_laughs, "page-too-complex"),
        of("clips-in-clips", lambda: _clips(200), "page-too-complex"),
        of("deep-arrays", _deep_arrays, "page-damaged"),
        of("images-over-images", _images_over_images, "page-too-complex"),
        of("form-loop", _form_loop, NO_ECG, "page-damaged", "page-too-complex"),
        of("fonts-missing", _fonts_missing, GOOD),
        of("many-saves", lambda: _many(b"q ", 2_000_000), NO_ECG, "page-damaged"),
        of("tiling-of-specks", _tiling_of_specks, NO_ECG, "page-damaged", "page-too-complex"),
        *_embedded_cases(),
    ]


def _beside_ecg(content: bytes) -> bytes:
    with pymupdf.open(stream=good_pdf(), filetype="pdf") as document:
        xref = document[0].get_contents()[0]
        document.update_stream(xref, document.xref_stream(xref) + b"\n" + content)
        data: bytes = document.tobytes()
        return data


def _wild_numbers() -> bytes:
    lines = b"0 0 m 5 5 l 9 2 l S\n"
    matrices = (b"1e30 0 0 1e30 0 0", b"0 0 0 0 0 0", b"1e-30 0 0 1e-30 4e8 4e8")
    return b"".join(b"q %b cm %b Q\n" % (matrix, lines) for matrix in matrices)


def _million_points() -> bytes:
    rng = np.random.default_rng(1)
    x = np.linspace(10, 270, 1_000_000)
    canvas = PdfCanvas((279.4, 215.9))
    canvas.polyline(np.stack([x, 100 + rng.normal(0, 5, len(x))], axis=1), decimals=2)
    return canvas.tobytes()


def _dense_line(points: int) -> bytes:
    """Few enough points to be read, but a page's height between each and the next."""
    x = np.linspace(10, 270, points)
    canvas = PdfCanvas((279.4, 215.9))
    y = np.where(np.arange(points) % 2, 10.0, 200.0)
    canvas.polyline(np.stack([x, y], axis=1), decimals=2)
    return canvas.tobytes()


def _many(operators: bytes, times: int) -> bytes:
    return raw_pdf.one_page(operators * times)


def _million(operators: bytes) -> bytes:
    return _many(operators, 1_000_000)


def _fine_dashes() -> bytes:
    return raw_pdf.one_page(b"[0.0001] 0 d 0.001 w 0 5 m 792 600 l S " * 50)


def _text_bomb() -> bytes:
    text = b"BT /F 9 Tf 9 9 Td (%b) Tj ET " % (b"word " * 6_000_000)
    return raw_pdf.one_page(text, b"/Font<</F 5 0 R>>", [raw_pdf.FONT])


def _content_bomb() -> bytes:
    return _with_content(raw_pdf.stream(zeros(BOMB_BYTES), b"/Filter/FlateDecode"))


def _content_bomb_twice() -> bytes:
    packed = zlib.compress(zeros(BOMB_BYTES), 9)
    return _with_content(raw_pdf.stream(packed, b"/Filter[/FlateDecode/FlateDecode]"))


def _with_content(content: bytes) -> bytes:
    tree = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 792 612]/Resources<<>>/Contents 4 0 R>>"
    return raw_pdf.assembled([*tree, page, content])


def _form_laughs() -> bytes:
    """Nine forms that each show the next ten times."""
    forms = [
        raw_pdf.stream(
            b"/X Do " * 10,
            b"/Type/XObject/Subtype/Form/BBox[0 0 792 612]/Resources<</XObject<</X %d 0 R>>>>"
            % (n + 1),
        )
        for n in range(5, 14)
    ]
    last = raw_pdf.stream(b"0 0 m 9 9 l S", b"/Type/XObject/Subtype/Form/BBox[0 0 792 612]")
    return raw_pdf.one_page(b"/X Do", b"/XObject<</X 5 0 R>>", [*forms, last])


def _clips(count: int) -> bytes:
    """Outlines that are cut out of each other."""
    outlines = (b"q 0 0 m %d 600 l 792 %d l W n " % (i % 700, i % 600) for i in range(count))
    return raw_pdf.one_page(b"".join(outlines) + b"0 0 792 612 re f")


def _deep_arrays() -> bytes:
    depth = 300_000
    return raw_pdf.one_page(b"[" * depth + b"]" * depth + b" TJ 0 0 m 9 9 l S")


def _images_over_images() -> bytes:
    image = raw_pdf.stream(
        bytes(1000 * 1000), b"/Type/XObject/Subtype/Image/Width 1000/Height 1000" + _GREY
    )
    content = b"q 300 0 0 300 0 0 cm /I Do Q\n" * 5000
    return raw_pdf.one_page(content, b"/XObject<</I 5 0 R>>", [image])


def _form_loop() -> bytes:
    form = raw_pdf.stream(
        b"0 0 m 9 9 l S /X Do /X Do",
        b"/Type/XObject/Subtype/Form/BBox[0 0 792 612]/Resources<</XObject<</X 5 0 R>>>>",
    )
    return raw_pdf.one_page(b"/X Do", b"/XObject<</X 5 0 R>>", [form])


def _fonts_missing() -> bytes:
    """Fonts that nobody has, and none at all: words are lost, the traces are not."""
    return good_pdf().replace(b"/BaseFont/Helvetica", b"/BaseFont/NoSuchFnt")


def _tiling_of_specks() -> bytes:
    pattern = raw_pdf.stream(
        b"0 0 0.001 0.001 re f",
        b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 0.01 0.01]"
        b"/XStep 0.01/YStep 0.01/Resources<<>>",
    )
    content = b"/Pattern cs /P scn 0 0 792 612 re f"
    return raw_pdf.one_page(content, b"/Pattern<</P 5 0 R>>", [pattern])


# --- images inside a PDF ------------------------------------------------------------------------

_GREY = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
_ONE_BIT = b"/Filter/JBIG2Decode/ColorSpace/DeviceGray/BitsPerComponent 1"


def _embedded_cases() -> list[Case]:
    return [
        of("jpeg2000", _jpeg2000, GOOD),
        of("jbig2", _jbig2, GOOD),
        of("jpeg2000-damaged", lambda: _jpeg2000(share=0.5), "page-damaged", NO_ECG),
        of("jbig2-bomb", lambda: _jbig2_bomb(BOMB_SIDE), "page-too-large"),
        of("jbig2-bomb-that-lies", lambda: _jbig2_bomb(300), "page-too-large", "page-damaged"),
        of("jbig2-dictionary-bomb", _jbig2_dictionary, "page-too-large"),
        of(
            "jbig2-shared-bomb", lambda: _jbig2_shared(b"<</JBIG2Globals 6 0 R>>"), "page-too-large"
        ),
        of(
            "jbig2-shared-bomb-listed",
            lambda: _jbig2_shared(b"[<</JBIG2Globals 6 0 R>>]"),
            "page-too-large",
        ),
        of("jbig2-patterns-bomb", _jbig2_patterns, "page-too-large"),
        of("jpeg2000-bomb", lambda: _jpeg2000_bomb(BOMB_SIDE), "page-too-large", "page-damaged"),
        of(
            "jpeg2000-bomb-that-lies", lambda: _jpeg2000_bomb(300), "page-too-large", "page-damaged"
        ),
        of("flate-bomb", lambda: _flate_bomb(BOMB_SIDE, 792), "page-too-large"),
        of("flate-bomb-as-speck", lambda: _flate_bomb(BOMB_SIDE, 20), "page-too-large"),
        of("mask-bomb", _mask_bomb, "page-too-large"),
    ]


def _jpeg2000(share: float = 1.0) -> bytes:
    pixels = good_pixels()
    data = raw_pdf.jpeg2000(pixels)
    entries = b"/Filter/JPXDecode/Width %d/Height %d" % pixels.shape[::-1]
    return raw_pdf.with_image(data[: int(len(data) * share)], entries)


def _jbig2() -> bytes:
    bits = good_pixels() < 100
    size = b"/Width %d/Height %d" % bits.shape[::-1]
    return raw_pdf.with_image(raw_pdf.jbig2(bits), _ONE_BIT + size)


def _jbig2_bomb(said: int) -> bytes:
    size = b"/Width %d/Height %d" % (said, said)
    return raw_pdf.with_image(raw_pdf.jbig2_claim(BOMB_SIDE, BOMB_SIDE), _ONE_BIT + size)


def _jbig2_dictionary() -> bytes:
    """What fuzzing found: half a kilobyte with a dictionary of two billion symbols."""
    image = raw_pdf.jbig2_dictionary(2_000_000_000)
    return raw_pdf.with_image(image, _ONE_BIT + b"/Width 90/Height 70")


def _jbig2_shared(parameters: bytes) -> bytes:
    """The same dictionary, where images keep what they share."""
    shared = raw_pdf.stream(raw_pdf.jbig2_dictionary(2_000_000_000))
    image = raw_pdf.jbig2(np.zeros((70, 90), bool))
    entries = _ONE_BIT + b"/Width 90/Height 70/DecodeParms" + parameters
    return raw_pdf.with_image(image, entries, [shared])


def _jbig2_patterns() -> bytes:
    """Dictionaries that are small enough each, and not together."""
    image = raw_pdf.jbig2_patterns(200, 1000) * 4
    return raw_pdf.with_image(image, _ONE_BIT + b"/Width 90/Height 70")


def _jpeg2000_bomb(said: int) -> bytes:
    """A picture of 300 x 300 pixels whose header says 30,000 x 30,000."""
    data = bytearray(raw_pdf.jpeg2000(np.full((300, 300), 200, np.uint8)))
    sides = struct.pack(">II", 300, 300)
    at = data.find(sides)
    while at >= 0:
        data[at : at + 8] = struct.pack(">II", BOMB_SIDE, BOMB_SIDE)
        at = data.find(sides)
    entries = b"/Filter/JPXDecode/Width %d/Height %d" % (said, said)
    return raw_pdf.with_image(bytes(data), entries)


def _flate_bomb(side: int, shown_pt: int) -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Filter/FlateDecode" + _GREY
    image = raw_pdf.stream(zeros(side * side), entries + b"/Width %d/Height %d" % (side, side))
    content = b"q %d 0 0 %d 0 0 cm /I Do Q" % (shown_pt, shown_pt)
    return raw_pdf.one_page(content, b"/XObject<</I 5 0 R>>", [image])


def _mask_bomb() -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Filter/FlateDecode/Width %d/Height %d" % (
        BOMB_SIDE,
        BOMB_SIDE,
    )
    mask = raw_pdf.stream(zeros(BOMB_SIDE * BOMB_SIDE), entries + _GREY)
    return raw_pdf.with_image(
        bytes(300 * 300), _GREY + b"/Width 300/Height 300/SMask 6 0 R", [mask]
    )
