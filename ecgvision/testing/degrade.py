"""What copying and scanning do to a drawn page, and which pixels are ink or paper afterwards."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from ecgvision.types import RENDER_PX_PER_MM, Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.testing.draw import DrawnPage
    from ecgvision.types import Page, Pixels

    Mask = NDArray[np.bool_]

MM_PER_INCH = 25.4


@contextmanager
def _first_page(pdf_bytes: bytes) -> Iterator[Page]:
    from ecgvision.media import open_report

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.pdf"
        path.write_bytes(pdf_bytes)
        yield open_report(path).page(1)


def _size_mm(page: Page) -> tuple[float, float]:
    if page.size_mm is None:
        raise ValueError("the page has no size in mm")
    return page.size_mm


def rasterise(pdf_bytes: bytes, px_per_mm: float = RENDER_PX_PER_MM, grey: bool = False) -> Pixels:
    """The first page as (H, W, 3) RGB, or (H, W) grey, ``uint8``."""
    with _first_page(pdf_bytes) as page:
        return page.pixels(px_per_mm, grey=grey)


def turned(pdf_bytes: bytes, px_per_mm: float, rotation_deg: float, *, grey: bool) -> Pixels:
    """The first page, laid `rotation_deg` clockwise about its centre on a white glass.

    Rendered twice as fine and then sampled: turning finished pixels would leave bands of sharp
    and of soft ink across the page, which no scanner makes.
    """
    if rotation_deg == 0:
        return rasterise(pdf_bytes, px_per_mm, grey)
    with _first_page(pdf_bytes) as page:
        size_mm = np.array(_size_mm(page))
        width, height = (max(1, round(length * px_per_mm)) for length in size_mm)
        glass = Box(0.0, 0.0, width / px_per_mm, height / px_per_mm)
        fine = page.pixels(2 * px_per_mm, glass, grey=grey)
    # From a pixel of the result to the place on the fine page that lands there; y runs down, so
    # a turn that is clockwise to the eye takes (x, y) to (x cos - y sin, x sin + y cos).
    angle = np.deg2rad(rotation_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    back = 2 * np.array([[cos, sin], [-sin, cos]])
    centre = size_mm * px_per_mm / 2
    # Pixels count from their centres, so 0.5 goes on before and off after; OpenCV's 2 x 2 mean
    # is stored half a fine pixel down and right of its place, which puts that 0.5 on again.
    start = 2 * centre - back @ (centre - 0.5)
    return np.asarray(
        cv2.warpAffine(
            cv2.blur(fine, (2, 2)),
            np.column_stack([back, start]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(255, 255, 255),
        ),
        dtype=np.uint8,
    )


def scanned_pixels(
    pdf_bytes: bytes,
    *,
    dpi: float = 200,
    rotation_deg: float = 0.7,
    blur_px: float = 0.7,
    noise_sigma: float = 6.0,
    seed: int = 0,
    grey: bool = False,
    one_bit: bool = False,
) -> Pixels:
    """What a scanner sees of the page, before any compression.

    (H, W, 3) RGB, or (H, W) with `grey` or `one_bit` (then 0 or 255). `rotation_deg` is
    clockwise, `blur_px` the standard deviation of a Gaussian, `noise_sigma` that of white noise
    in grey levels. The same seed gives the same noise.
    """
    flat = grey or one_bit
    pixels = turned(pdf_bytes, dpi / MM_PER_INCH, rotation_deg, grey=flat).astype(np.float32)
    if blur_px > 0:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), blur_px), dtype=np.float32)
    if noise_sigma > 0:
        rng = np.random.default_rng(seed)
        pixels += noise_sigma * rng.standard_normal(pixels.shape, dtype=np.float32)
    if one_bit:
        return np.where(pixels < 128, 0, 255).astype(np.uint8)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def scanned(
    pdf_bytes: bytes,
    *,
    dpi: float = 200,
    rotation_deg: float = 0.7,
    blur_px: float = 0.7,
    noise_sigma: float = 6.0,
    jpeg_quality: int = 80,
    seed: int = 0,
    grey: bool = False,
    one_bit: bool = False,
) -> bytes:
    """A PDF that holds nothing but a scan of the page.

    It is as large as the page to the next whole pixel. The scan is a JPEG, or lossless with
    `one_bit`; the rest is as in `scanned_pixels`.
    """
    from ecgvision.media.canvas import PdfCanvas

    pixels = scanned_pixels(
        pdf_bytes,
        dpi=dpi,
        rotation_deg=rotation_deg,
        blur_px=blur_px,
        noise_sigma=noise_sigma,
        seed=seed,
        grey=grey,
        one_bit=one_bit,
    )
    height, width = pixels.shape[:2]
    size_mm = (width / dpi * MM_PER_INCH, height / dpi * MM_PER_INCH)
    canvas = PdfCanvas(size_mm)
    image = _encoded(pixels, None, jpeg_quality=None if one_bit else jpeg_quality, bits=one_bit)
    canvas.image(image, Box(0.0, 0.0, *size_mm))
    return canvas.tobytes()


def as_png(pdf_bytes: bytes, dpi: float = 300, with_dpi: bool = True) -> bytes:
    """The page as a PNG; without its resolution inside where `with_dpi` is False."""
    pixels = rasterise(pdf_bytes, dpi / MM_PER_INCH)
    return _encoded(pixels, dpi if with_dpi else None)


def as_jpeg(pdf_bytes: bytes, quality: int = 75, dpi: float = 300, with_dpi: bool = True) -> bytes:
    """The page as a JPEG; without its resolution inside where `with_dpi` is False."""
    pixels = rasterise(pdf_bytes, dpi / MM_PER_INCH)
    return _encoded(pixels, dpi if with_dpi else None, jpeg_quality=quality)


def _encoded(
    pixels: Pixels, dpi: float | None, *, jpeg_quality: int | None = None, bits: bool = False
) -> bytes:
    image = Image.fromarray(pixels)
    if bits:
        image = image.convert("1", dither=Image.Dither.NONE)
    options = {} if dpi is None else {"dpi": (dpi, dpi)}
    out = io.BytesIO()
    if jpeg_quality is None:
        image.save(out, "PNG", compress_level=6, **options)
    else:
        image.save(out, "JPEG", quality=jpeg_quality, **options)
    return out.getvalue()


def ink_truth(
    drawn: DrawnPage, px_per_mm: float = RENDER_PX_PER_MM, rotation_deg: float = 0.0
) -> Mask:
    """(H, W) bool: the pixels of which a trace covers more than half."""
    return turned(drawn.trace_only_pdf, px_per_mm, rotation_deg, grey=True) < 128


def paper_truth(
    drawn: DrawnPage, px_per_mm: float = RENDER_PX_PER_MM, rotation_deg: float = 0.0
) -> Mask:
    """(H, W) bool: the pixels two pen widths or more away from anything but paper and grid.

    Traces, pulses, lead names, separators, header and footer count as such; grid removal has no
    business leaving ink there.
    """
    ink = turned(drawn.ink_only_pdf, px_per_mm, rotation_deg, grey=True) < 250
    away_px = cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away_px >= 2 * drawn.pen_mm * px_per_mm, dtype=np.bool_)
