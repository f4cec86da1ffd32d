"""Writing PDF pages by hand, with every digit of every coordinate under control.

What reads reports is tested on pages whose truth is known to the last decimal, and machines
differ in just that: how many decimals, which lattice. The files are the same byte for byte
whenever the same page is drawn.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ecgvision.types import RGB, Box

_PT_PER_MM = 72 / 25.4
_CAP_HEIGHT = 0.718  # of Helvetica's em
_BLACK: RGB = (0, 0, 0)


class PdfCanvas:
    """A PDF in the making. All places are mm from the page's top left corner, y down.

    >>> canvas = PdfCanvas((210, 297))
    >>> canvas.line(10, 20, 60, 20)
    >>> canvas.tobytes()[:8]
    b'%PDF-1.7'
    """

    def __init__(self, page_mm: tuple[float, float]) -> None:
        self._pages: list[tuple[tuple[float, float], list[bytes]]] = []
        self._images: list[bytes] = []
        self.page(page_mm)

    def page(self, size_mm: tuple[float, float]) -> None:
        """Add a page and go on drawing there."""
        self._pages.append((size_mm, []))

    def line(
        self,
        x0_mm: float,
        y0_mm: float,
        x1_mm: float,
        y1_mm: float,
        width_mm: float = 0.1,
        rgb: RGB = _BLACK,
        *,
        round_caps: bool = False,
        decimals: int = 4,
        snap_pt: float | None = None,
    ) -> None:
        """A straight line."""
        ends = [(x0_mm, y0_mm), (x1_mm, y1_mm)]
        self.polyline(ends, width_mm, rgb, round_caps, decimals, snap_pt)

    def polyline(
        self,
        points_mm: ArrayLike,
        width_mm: float = 0.1,
        rgb: RGB = _BLACK,
        round_caps: bool = True,
        decimals: int = 4,
        snap_pt: float | None = None,
    ) -> None:
        """Connected lines through (n, 2) points.

        `decimals` is the number of digits written after the point, in pt; `snap_pt` moves every
        coordinate to a multiple of it first, as some machines' own lattice does.
        """
        points = np.asarray(points_mm, np.float64).reshape(-1, 2)
        if len(points) < 2 or not np.isfinite(points).all():
            raise ValueError(f"a line needs two points or more, all finite, found {len(points)}")
        x_pt, y_pt = points[:, 0] * _PT_PER_MM, self._height_pt - points[:, 1] * _PT_PER_MM
        if snap_pt:
            x_pt, y_pt = np.round(x_pt / snap_pt) * snap_pt, np.round(y_pt / snap_pt) * snap_pt
        pairs = [
            f"{_digits(x, decimals)} {_digits(y, decimals)}"
            for x, y in zip(x_pt.tolist(), y_pt.tolist(), strict=True)
        ]
        style = int(round_caps)
        path = f"{pairs[0]} m\n" + "".join(f"{pair} l\n" for pair in pairs[1:])
        width = _digits(width_mm * _PT_PER_MM, 5)
        self._draw(f"q {_color(rgb)} RG {width} w {style} J {style} j\n{path}S Q\n")

    def rect(self, box: Box, rgb: RGB = _BLACK) -> None:
        """A filled rectangle."""
        self._draw(f"q {_color(rgb)} rg {self._placed(box, ' ')} re f Q\n")

    def text(
        self,
        text: str,
        x_mm: float,
        y_mm: float,
        height_mm: float,
        rgb: RGB = _BLACK,
        bold: bool = False,
    ) -> None:
        """One line of Helvetica: the top left of its capitals, and how high these are."""
        size = height_mm * _PT_PER_MM / _CAP_HEIGHT
        x = x_mm * _PT_PER_MM
        y = self._height_pt - (y_mm + height_mm) * _PT_PER_MM
        escaped = text.encode("cp1252", "replace")
        for special in (b"\\", b"(", b")"):
            escaped = escaped.replace(special, b"\\" + special)
        begin = f"BT {_color(rgb)} rg /F{int(bold)} {_digits(size, 4)} Tf "
        place = f"{_digits(x, 4)} {_digits(y, 4)} Td ("
        self._draw((begin + place).encode() + escaped + b") Tj ET\n")

    def image(self, data: bytes, box: Box) -> None:
        """A JPEG, kept byte for byte, or any image Pillow reads, kept pixel for pixel."""
        name = f"/I{len(self._images)}"
        self._images.append(_image_object(data))
        left, bottom, width, height = self._placed(box, "|").split("|")
        self._draw(f"q {width} 0 0 {height} {left} {bottom} cm {name} Do Q\n")

    def tobytes(self) -> bytes:
        """The finished file."""
        objects: list[bytes] = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
        add = _adder(objects)
        fonts = [
            add(b"<</Type/Font/Subtype/Type1/BaseFont/%b/Encoding/WinAnsiEncoding>>" % name)
            for name in (b"Helvetica", b"Helvetica-Bold")
        ]
        listed = b"".join(b"/F%d %d 0 R" % (i, number) for i, number in enumerate(fonts))
        images = b"".join(b"/I%d %d 0 R" % (i, add(o)) for i, o in enumerate(self._images))
        resources = add(b"<</Font<<%b>>/XObject<<%b>>>>" % (listed, images))
        kids = []
        for (width_mm, height_mm), parts in self._pages:
            content = add(_stream(b"", b"".join(parts)))
            size = f"{_digits(width_mm * _PT_PER_MM, 4)} {_digits(height_mm * _PT_PER_MM, 4)}"
            kids.append(
                add(
                    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %b]/Resources %d 0 R/Contents %d 0 R>>"
                    % (size.encode(), resources, content)
                )
            )
        listed = b" ".join(b"%d 0 R" % kid for kid in kids)
        objects[1] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (listed, len(kids))
        return _file(objects)

    def save(self, path: str | Path) -> None:
        """Write the finished file."""
        Path(path).write_bytes(self.tobytes())

    @property
    def _height_pt(self) -> float:
        return self._pages[-1][0][1] * _PT_PER_MM

    def _draw(self, operators: str | bytes) -> None:
        part = operators.encode() if isinstance(operators, str) else operators
        self._pages[-1][1].append(part)

    def _placed(self, box: Box, between: str) -> str:
        """Left, bottom, width and height in pt."""
        numbers = (
            box.left_mm * _PT_PER_MM,
            self._height_pt - box.bottom_mm * _PT_PER_MM,
            box.width_mm * _PT_PER_MM,
            box.height_mm * _PT_PER_MM,
        )
        return between.join(_digits(number, 5) for number in numbers)


def _digits(number: float, decimals: int) -> str:
    """A number as PDF writes it: no exponent, no zeros at the end, no minus zero."""
    text = f"{number:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _color(rgb: RGB) -> str:
    return " ".join(_digits(part / 255, 5) for part in rgb)


def _adder(objects: list[bytes]) -> Callable[[bytes], int]:
    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    return add


def _stream(entries: bytes, data: bytes) -> bytes:
    packed = zlib.compress(data, 6)
    return _raw_stream(entries + b"/Filter/FlateDecode", packed)


def _raw_stream(entries: bytes, data: bytes) -> bytes:
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (entries, len(data), data)


def _image_object(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        is_jpeg = image.format == "JPEG" and image.mode in ("L", "RGB")
        grey = image.mode in ("1", "L", "I;16")
        pixels = b"" if is_jpeg else image.convert("L" if grey else "RGB").tobytes()
    space = b"/DeviceGray" if grey else b"/DeviceRGB"
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace%b" % (
        width,
        height,
        space,
    )
    if is_jpeg:
        return _raw_stream(entries + b"/Filter/DCTDecode", data)
    return _stream(entries, pixels)


def _file(objects: list[bytes]) -> bytes:
    """Objects, their index and the trailer. The /ID comes from the content, not from a clock."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    name = hashlib.sha256(bytes(out)).hexdigest()[:32].encode()
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R/ID[<%b><%b>]>>\n" % (len(objects) + 1, name, name)
    out += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(out)
