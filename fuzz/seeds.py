"""The files the fuzzers start from, made by code, so that none has to be kept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pymupdf
from PIL import Image

from ecgvision.testing import as_jpeg, as_png, draw_page, scanned, synthetic_ecg, trace_points
from ecgvision.types import FormatInfo
from fuzz.targets import LAYOUT
from tests.hostile import raw_pdf

_FEW_HZ = 50.0  # few samples make small files, which are mutated faster


def write_seeds(target: str, folder: Path) -> int:
    """Write the seeds of a target into `folder`; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"media": _files, "vectors": _contents, "strokes": _lines}[target]
    count = 0
    for count, data in enumerate(made(), 1):
        (folder / f"seed-{count:02d}").write_bytes(data)
    return count


def _drawn(**style: object) -> bytes:
    ecg = synthetic_ecg(seed=1, seconds=3, fs_hz=_FEW_HZ)
    return draw_page(LAYOUT, FormatInfo("fuzz"), ecg, header=False, footer=False, **style).pdf


def _files() -> Iterator[bytes]:
    page = _drawn(grid=False, decimals=1)
    yield page
    yield scanned(page, dpi=50, noise_sigma=0, jpeg_quality=40)
    yield scanned(page, dpi=50, noise_sigma=0, one_bit=True)
    yield as_png(page, dpi=40)
    yield as_jpeg(page, dpi=40, quality=40)
    with Image.open(io.BytesIO(as_png(page, dpi=40))) as image:
        grey = image.convert("L").resize((90, 70))
        for kind, options in _KINDS:
            out = io.BytesIO()
            mode = "1" if options.get("compression") == "group4" else "L"
            grey.convert(mode).save(out, kind, **options)
            yield out.getvalue()
        bits = np.asarray(grey) < 100
        size = b"/Width %d/Height %d" % grey.size
    entries = b"/Filter/JBIG2Decode/ColorSpace/DeviceGray/BitsPerComponent 1"
    yield raw_pdf.with_image(raw_pdf.jbig2(bits), entries + size)
    yield raw_pdf.with_image(raw_pdf.jpeg2000(np.asarray(grey)), b"/Filter/JPXDecode" + size)
    yield from _other_pdfs()


_KINDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "group4"}),
    ("TIFF", {"save_all": True, "append_images": [Image.new("L", (20, 30), 200)]}),
    ("BMP", {}),
    ("PNG", {"dpi": (300, 300)}),
)


def _other_pdfs() -> Iterator[bytes]:
    """A form, an annotation, a pattern, an object stream and an empty password."""
    with pymupdf.open() as document:
        page = document.new_page(width=300, height=200)
        page.draw_line((10, 10), (200, 150))
        page.insert_text((20, 40), "25 mm/s")
        page.add_rect_annot((5, 5, 60, 60))
        page.set_rotation(90)
        yield document.tobytes(deflate=False)
        yield document.tobytes(deflate=True, use_objstms=1)
        yield document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="", owner_pw="o")
    form = raw_pdf.stream(b"0 0 m 9 9 l S", b"/Type/XObject/Subtype/Form/BBox[0 0 99 99]")
    pattern = raw_pdf.stream(
        b"0 0 3 3 re f",
        b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9",
    )
    content = b"q 2 0 0 2 5 5 cm /X Do Q /Pattern cs /P scn 0 0 90 60 re f"
    resources = b"/XObject<</X 5 0 R>>/Pattern<</P 6 0 R>>"
    yield raw_pdf.one_page(content, resources, [form, pattern], packed=False)


def _contents() -> Iterator[bytes]:
    styles: tuple[dict[str, object], ...] = (
        {"grid": False},
        {"grid": True, "decimals": 2},
        {"grid": False, "trace_pieces": 7},
        {"grid": False, "join_rows": True},
        {"grid": False, "snap_pt": 0.12},
    )
    for style in styles:
        with pymupdf.open(stream=_drawn(**style), filetype="pdf") as document:
            yield document[0].read_contents()
    yield b"q 1 0 0 1 5 5 cm 0 0 m 10 20 30 40 50 60 c 1 2 3 4 v 5 6 7 8 y h B* 9 9 20 20 re W n Q"
    yield (
        b"0.5 g 1 0 0 RG 0.1 0 0 0.9 k 3 w 1 J 1 j [3 1] 0 d 10 10 m 600 10 l s "
        b"BT /F0 9 Tf (x) Tj ET"
    )


def _lines() -> Iterator[bytes]:
    ecg = synthetic_ecg(seed=1, seconds=3, fs_hz=_FEW_HZ)
    traces = [trace_points(lead_box, LAYOUT, ecg) for lead_box in LAYOUT.boxes]
    grid = [np.array([(x, 5.0), (x, 75.0)]) for x in range(5, 80, 5)]
    grid += [np.array([(5.0, y), (75.0, y)]) for y in range(5, 80, 5)]
    yield _as_bytes(traces)
    yield _as_bytes(grid + traces)
    yield _as_bytes([trace[at : at + 2] for trace in traces for at in range(len(trace) - 1)])
    yield _as_bytes([trace[::-1] for trace in traces])


def _as_bytes(lines: list[np.ndarray]) -> bytes:
    between = np.array([(-1, -1)])
    rows = [part for line in lines for part in (np.rint(line * 100), between)]
    return np.concatenate(rows).astype("<i2").tobytes()
