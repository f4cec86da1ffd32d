"""Files with a planted patient in every place that a PDF or an image has, and a search for him.

What is searched is every byte, also behind compression and in other spellings.
"""

from __future__ import annotations

import base64
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, PngImagePlugin, TiffImagePlugin

from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import Ecg, draw_page, rasterise, scanned, synthetic_ecg
from ecgvision.types import FormatInfo, Layout

SECRETS = ("ZYXWVUT", "QUENTIN", "98761234", "17-Mar-1931")
SECRET = "ZYXWVUT, QUENTIN 98761234 17-Mar-1931"
PATIENT = ("Name: ZYXWVUT, QUENTIN", "ID: 98761234", "17-Mar-1931", "male, 93 years")
OTHER_PATIENT = ("Name: OTHERWISE, ANN", "ID: 55", "01-Jan-1950", "female, 74 years")
MM = 72 / 25.4


def drawn(
    format_id: str = "ge-muse",
    name: str = "3x4+1R",
    patient: tuple[str, ...] = PATIENT,
    ecg: Ecg | None = None,
    **way: Any,
) -> bytes:
    layout, info = layout_of(format_id, name)
    recording = ecg or synthetic_ecg(seed=3, noise_mv=0.01, seconds=12)
    return draw_page(layout, info, recording, patient_text=patient, **way).pdf


def layout_of(format_id: str, name: str) -> tuple[Layout, FormatInfo]:
    one = load_formats().find(format_id)
    return next(layout for layout in one.layouts if layout.name == name), one.info


# --- places in a PDF --------------------------------------------------------------------------


def _metadata(pdf: Any) -> None:
    keys = ("title", "author", "subject", "keywords", "creator", "producer")
    pdf.set_metadata(dict.fromkeys(keys, SECRET))


def _xmp(pdf: Any) -> None:
    pdf.set_xml_metadata(f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>{SECRET}</a></x:xmpmeta>")


def _annotations(pdf: Any) -> None:
    page = pdf[0]
    page.add_freetext_annot(pymupdf.Rect(20, 5, 300, 20), SECRET)
    page.add_text_annot((10, 10), SECRET).set_info(title=SECRET, subject=SECRET)
    page.insert_link({"kind": 2, "from": pymupdf.Rect(0, 0, 9, 9), "uri": f"http://x/{SECRET}"})


def _attachments(pdf: Any) -> None:
    pdf.embfile_add("ZYXWVUT.txt", SECRET.encode(), filename="QUENTIN.txt", desc=SECRET)
    pdf[0].add_file_annot((30, 30), SECRET.encode(), "98761234.txt", desc=SECRET)


def _form(pdf: Any) -> None:
    widget = pymupdf.Widget()
    widget.field_type = pymupdf.PDF_WIDGET_TYPE_TEXT
    widget.field_name, widget.field_label, widget.field_value = "QUENTIN", SECRET, SECRET
    widget.rect = pymupdf.Rect(320, 5, 600, 20)
    pdf[0].add_widget(widget)


def _layers(pdf: Any) -> None:
    pdf[0].insert_text((20, 30), SECRET, fontsize=6, oc=pdf.add_ocg(SECRET, on=False))


def _hidden(pdf: Any) -> None:
    page = pdf[0]
    page.insert_text((320, 30), SECRET, fontsize=6)
    page.draw_rect(pymupdf.Rect(315, 20, 600, 35), color=None, fill=(1, 1, 1))
    page.insert_text((20, 40), SECRET, fontsize=6, render_mode=3)


def _outlines(pdf: Any) -> None:
    pdf.set_toc([[1, SECRET, 1]])


def _labels(pdf: Any) -> None:
    pdf.set_page_labels([{"startpage": 0, "prefix": SECRET, "style": "D", "firstpagenum": 1}])


def _destinations(pdf: Any) -> None:
    page = pdf[0].xref
    pdf.xref_set_key(pdf.pdf_catalog(), "Dests", f"<</ZYXWVUT[{page} 0 R/Fit]>>")
    pdf.xref_set_key(pdf.pdf_catalog(), "Names/Dests", f"<</Names[({SECRET})[{page} 0 R/Fit]]>>")


def _scripts(pdf: Any) -> None:
    pdf.xref_set_key(
        pdf.pdf_catalog(), "OpenAction", f"<</S/JavaScript/JS(app.alert\\('{SECRET}'\\))>>"
    )


def _structure(pdf: Any) -> None:
    pdf.xref_set_key(
        pdf.pdf_catalog(), "StructTreeRoot", f"<</Type/StructTreeRoot/K<</S/P/Alt({SECRET})>>>>"
    )
    marked = f"/Span<</ActualText({SECRET})/Alt({SECRET})>>BDC EMC\n".encode()
    _add_content(pdf, marked)


def _fonts(pdf: Any) -> None:
    page = pdf[0]
    page.insert_text((20, 50), "x", fontsize=6, fontname="tiro")
    for xref, *_ in page.get_fonts():
        pdf.xref_set_key(xref, "BaseFont", "/ZYXWVUT+QUENTIN-98761234")


def _images(pdf: Any) -> None:
    xref = pdf[0].insert_image(pymupdf.Rect(700, 5, 720, 15), stream=jpeg(np.full((8, 16), 90)))
    pdf.xref_set_key(xref, "Name", "/ZYXWVUT")
    stream = pdf.get_new_xref()
    pdf.update_object(stream, "<</Type/Metadata/Subtype/XML>>")
    pdf.update_stream(stream, SECRET.encode())
    pdf.xref_set_key(xref, "Metadata", f"{stream} 0 R")


def _thumbnail(pdf: Any) -> None:
    thumb = pdf.get_new_xref()
    pdf.update_object(
        thumb,
        f"<</Width {len(SECRET)}/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray>>",
    )
    pdf.update_stream(thumb, SECRET.encode())
    pdf.xref_set_key(pdf[0].xref, "Thumb", f"{thumb} 0 R")


def _private(pdf: Any) -> None:
    page = pdf[0].xref
    pdf.xref_set_key(page, "PieceInfo", f"<</Maker<</Private({SECRET})>>>>")
    pdf.xref_set_key(page, "QUENTIN", f"<{SECRET.encode('utf-16-be').hex()}>")
    _add_content(pdf, f"% {SECRET}\n".encode())


def _add_content(pdf: Any, content: bytes) -> None:
    xref = pdf[0].get_contents()[0]
    pdf.update_stream(xref, content + pdf.xref_stream(xref))


PLACES: dict[str, Callable[[Any], None]] = {
    "metadata": _metadata,
    "xmp": _xmp,
    "annotations": _annotations,
    "attachments": _attachments,
    "form": _form,
    "layers": _layers,
    "hidden": _hidden,
    "outlines": _outlines,
    "labels": _labels,
    "destinations": _destinations,
    "scripts": _scripts,
    "structure": _structure,
    "fonts": _fonts,
    "images": _images,
    "thumbnail": _thumbnail,
    "private": _private,
}


def pdf_with(places: list[str], page: bytes) -> bytes:
    """The page with the patient in these places of the file."""
    with pymupdf.open(stream=page, filetype="pdf") as pdf:
        for place in places:
            PLACES[place](pdf)
        data: bytes = pdf.tobytes(deflate=True)
    return data


def with_leftovers(page: bytes) -> bytes:
    """The page with the patient in what no part of the file refers to any more."""
    with pymupdf.open(stream=page, filetype="pdf") as pdf:
        lost = pdf.get_new_xref()
        pdf.update_object(lost, f"<</Old({SECRET})>>")
        data: bytes = pdf.tobytes(garbage=0)
    return data + b"% " + SECRET.encode() + b"\n%%EOF\n"


# --- places in an image -----------------------------------------------------------------------


def png(pixels: np.ndarray) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Author", SECRET)
    chunks.add_text("Comment", SECRET, zip=True)
    chunks.add_itxt("XML:com.adobe.xmp", SECRET, zip=True)
    return _saved(pixels, "PNG", pnginfo=chunks, exif=_exif())


def jpeg(pixels: np.ndarray) -> bytes:
    data = _saved(pixels, "JPEG", quality=90, exif=_exif(), comment=SECRET.encode())
    return data[:2] + _segment(0xED, b"Photoshop 3.0\x00" + SECRET.encode()) + data[2:]


def tiff(pixels: np.ndarray) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (269, 270, 285, 305, 306, 315, 316, 33432):  # ImageDescription, Artist and others
        tags[tag] = SECRET
    tags[65000] = SECRET
    tags.tagtype[65000] = 2
    return _saved(pixels, "TIFF", compression="tiff_lzw", tiffinfo=tags)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    for tag in (270, 271, 272, 305, 306, 315, 33432):
        exif[tag] = SECRET
    exif[37510] = b"ASCII\0\0\0" + SECRET.encode()
    return exif


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, kind, dpi=(200, 200), **options)
    return out.getvalue()


@cache
def planted_files() -> dict[str, bytes]:
    """Reports by their names, which say nothing of the patient; all else of them does."""
    vector = drawn()
    pixels = rasterise(drawn("philips-tc30", "3x4+1R"), 200 / 25.4)
    return {
        "everywhere.pdf": pdf_with(list(PLACES), vector),
        "leftovers.pdf": with_leftovers(drawn(patient=("Name:",))),
        "scan.pdf": pdf_with(["metadata", "xmp", "hidden"], scanned(drawn(), rotation_deg=0.0)),
        "page.png": png(pixels),
        "photo.jpg": jpeg(pixels),
        "fax.tif": tiff(pixels),
    }


# --- the search -------------------------------------------------------------------------------


def _spellings(word: str) -> Iterator[bytes]:
    for spelt in (word, word.lower(), word.title()):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            plain = spelt.encode(encoding)
            yield plain
            yield plain.hex().encode()
            yield plain.hex().upper().encode()
            for shift in range(3):  # only whole groups of three bytes look the same everywhere
                coded = base64.b64encode(bytes(shift) + plain)
                yield coded[4 * (shift > 0) : len(coded) // 4 * 4 - 4]


_SPELT = {word: re.compile(b"|".join(map(re.escape, set(_spellings(word))))) for word in SECRETS}
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


def found_in(data: bytes) -> set[str]:
    """Which of the planted words stand anywhere in these bytes."""
    parts = list(_unpacked(data))
    return {word for word, spelt in _SPELT.items() if any(spelt.search(part) for part in parts)}


def _unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes, and all that is packed in them."""
    yield data
    for start in _ZLIB.finditer(data):
        yield _inflated(data[start.start() :])
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    if data[:4] == b"PAR1":
        yield repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
        yield repr(pq.read_metadata(io.BytesIO(data)).metadata).encode()
    if b"%PDF-" in data[:1024]:
        yield from _pdf_parts(data)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data)
    except zlib.error:
        return b""


def _pdf_parts(data: bytes) -> Iterator[bytes]:
    with pymupdf.open(stream=data, filetype="pdf") as pdf:
        yield repr((pdf.metadata, pdf.get_toc(), pdf.get_xml_metadata())).encode()
        for page in pdf:
            yield page.get_text().encode()
        for xref in range(1, pdf.xref_length()):
            yield pdf.xref_object(xref).encode()
            if pdf.xref_is_stream(xref):
                yield pdf.xref_stream_raw(xref)
                yield pdf.xref_stream(xref) or b""
