"""Scanned PDF pages: finding the embedded image and taking its own pixels out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ecgvision.media.decode import decode_plain, jpeg_is_whole
from ecgvision.media.mupdf import pymupdf
from ecgvision.media.raster import (
    PIXEL_LIMIT,
    as_kind,
    oriented,
    pixel_count,
    slice_padded,
    squared,
)
from ecgvision.media.vectors import Frame

if TYPE_CHECKING:
    from ecgvision.types import Pixels, Points

_COVERED = 0.85
# Lines that a scanner's software adds (a border, a rule) have few corners; traces have hundreds.
_FEW_SEGMENTS = 64
# Below 50 dpi an image is a background, not a scan.
_LEAST_PX_PER_MM = 50 / 25.4
# Images further from square pixels are resampled; nearer ones come from page sizes in whole pt.
_SQUARE = 0.005
# How far an image may lean in its page (in its own pixels, over all its length) and be upright.
_LEAN_PX = 0.5
_MISFIT_PX = 2.0
# Saving and restoring the state, placing and painting: no clip, no mask, no blending.
_PLAIN = re.compile(rb"(?:[-+.\d]+|q|Q|cm|/\w+\s+Do|\s+)*")


@dataclass(frozen=True, slots=True)
class Placed:
    """One image on the page: unit square to mm is `u * right + v * down + corner`, v downwards."""

    right_mm: Points
    down_mm: Points
    corner_mm: Points
    size_px: tuple[int, int]

    @property
    def box_mm(self) -> tuple[float, float, float, float]:
        far = self.corner_mm + self.right_mm + self.down_mm
        low, high = np.minimum(self.corner_mm, far), np.maximum(self.corner_mm, far)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def transposed(self) -> bool:
        return abs(float(self.right_mm[1])) > abs(float(self.right_mm[0]))

    @property
    def px_per_mm(self) -> tuple[float, float]:
        """Pixels per mm across and down the page as shown."""
        across, down = self.size_px[::-1] if self.transposed else self.size_px
        left, top, right, bottom = self.box_mm
        return across / max(right - left, 1e-9), down / max(bottom - top, 1e-9)

    @property
    def upright(self) -> bool:
        """Whether rows and columns run along the page's edges."""
        lean = self.right_mm[0 if self.transposed else 1], self.down_mm[1 if self.transposed else 0]
        return max(abs(float(part)) for part in lean) * max(self.px_per_mm) < _LEAN_PX

    def orient(self, pixels: Pixels) -> Pixels:
        """The image's pixels as they lie on the page."""
        along = 1 if self.transposed else 0
        x_step = self.down_mm[0] if self.transposed else self.right_mm[0]
        y_step = self.right_mm[along] if self.transposed else self.down_mm[1]
        return oriented(pixels, self.transposed, bool(x_step < 0), bool(y_step < 0))

    def share_of(self, size_mm: tuple[float, float]) -> float:
        """The part of the page it covers."""
        left, top, right, bottom = self.box_mm
        width = min(right, size_mm[0]) - max(left, 0.0)
        height = min(bottom, size_mm[1]) - max(top, 0.0)
        return max(width, 0.0) * max(height, 0.0) / (size_mm[0] * size_mm[1])


@dataclass(frozen=True, slots=True)
class Scan:
    """A page that is a scan: its images and what else is painted.

    `xref` is the one image's number in the file where its own pixels can be taken; None where
    the page must be drawn (several images, leaning ones, print over the image).
    """

    images: tuple[Placed, ...]
    xref: int | None

    @property
    def px_per_mm(self) -> float:
        """The finer of the resolutions found; one number where pixels are nearly square."""
        across, down = max(
            (image.px_per_mm for image in self.images), key=lambda both: both[0] * both[1]
        )
        nearly = max(across, down) <= min(across, down) * (1 + _SQUARE)
        return float(np.sqrt(across * down)) if nearly else max(across, down)


def find_scan(page: Any, frame: Frame, size_mm: tuple[float, float]) -> Scan | None:
    """What makes the page a scan, or None where it is drawn by lines."""
    listed = page.get_images(full=True)
    if not listed:
        return None
    log = page.get_bboxlog()
    kinds = [entry[0] for entry in log]
    if not any(kind in ("fill-image", "fill-imgmask") for kind in kinds):
        return None
    images = tuple(_placed(info, frame) for info in page.get_image_info())
    images = tuple(image for image in images if image.share_of(size_mm) > 0)
    if sum(image.share_of(size_mm) for image in images) < _COVERED:
        return None
    painted_over = any(kind in ("fill-path", "stroke-path", "fill-shade") for kind in kinds)
    if painted_over and _segment_count(page) > _FEW_SEGMENTS:
        return None
    over = painted_over or any(kind in ("fill-text", "stroke-text") for kind in kinds)
    scan = Scan(images, None)
    if scan.px_per_mm < _LEAST_PX_PER_MM:
        return None
    alone = len(images) == 1 and images[0].upright and page.first_annot is None
    if over or not alone or page.first_widget is not None:
        return scan
    return Scan(images, _xref_of(listed, images[0]))


def _placed(info: dict[str, Any], frame: Frame) -> Placed:
    a, b, c, d, e, f = info["transform"]
    corners = frame.points(np.array([(e, f), (e + a, f + b), (e + c, f + d)], np.float64))
    return Placed(
        corners[1] - corners[0],
        corners[2] - corners[0],
        corners[0],
        (max(1, int(info["width"])), max(1, int(info["height"]))),
    )


def _segment_count(page: Any) -> int:
    return sum(len(drawing["items"]) for drawing in page.get_cdrawings())


def _xref_of(listed: Sequence[Any], image: Placed) -> int | None:
    """The number of the image with these dimensions, where there is just one."""
    fitting = {entry[0] for entry in listed if (entry[2], entry[3]) == image.size_px}
    masked = any(entry[1] for entry in listed if entry[0] in fitting)
    return fitting.pop() if len(fitting) == 1 and not masked else None


def is_plain(document: Any, page: Any, xref: int) -> bool:
    """Whether the page does nothing but place one image in a colour space that needs no care.

    Its own pixels are then what a reader sees; anything else has to be compared with the page.
    """
    space = document.xref_get_key(xref, "ColorSpace")[1]
    hidden = document.xref_get_key(xref, "OC")[0] != "null"
    if space not in ("/DeviceRGB", "/DeviceGray") or hidden:
        return False
    content: bytes = page.read_contents()
    return content.count(b"Do") == 1 and _PLAIN.fullmatch(content) is not None


def own_pixels(document: Any, xref: int, image: Placed, grey: bool) -> Pixels | None:
    """The embedded image's pixels as they lie on the page; None where they cannot be taken."""
    width, height = image.size_px
    if width * height > PIXEL_LIMIT:
        return None
    pixels = _from_jpeg(document, xref, grey)
    if pixels is None:
        pixels = _from_pixmap(document, xref, grey)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    return image.orient(pixels)


def _from_jpeg(document: Any, xref: int, grey: bool) -> Pixels | None:
    """A plain JPEG's bytes decoded directly, which is faster and exact."""
    kinds = {key: document.xref_get_key(xref, key)[1] for key in ("Filter", "ImageMask")}
    plain = kinds["Filter"].replace(" ", "") in ("/DCTDecode", "[/DCTDecode]")
    special = ("Decode", "DecodeParms", "SMask", "Mask", "ImageMask")
    if not plain or any(document.xref_get_key(xref, key)[0] != "null" for key in special):
        return None
    data = document.xref_stream_raw(xref)
    # Four components are CMYK, whose polarity is a matter of convention: left to MuPDF.
    if not data or document.extract_image(xref).get("colorspace") == 4 or not jpeg_is_whole(data):
        return None
    return decode_plain(data, grey)


def _from_pixmap(document: Any, xref: int, grey: bool) -> Pixels | None:
    if document.xref_get_key(xref, "ImageMask")[1] == "true":
        return None  # a stencil has no colour of its own
    pixmap = pymupdf.Pixmap(document, xref)
    if pixmap.alpha or pixmap.colorspace is None:
        return None
    if pixmap.colorspace.n == 1 and pixmap.n == 1:
        return as_kind(array_of(pixmap), grey)
    return as_kind(array_of(pymupdf.Pixmap(pymupdf.csRGB, pixmap)), grey)


def array_of(pixmap: Any) -> Pixels:
    """A copy of a pixmap's samples as (H, W) or (H, W, 3); the pixmap's own memory goes with it."""
    rows = np.frombuffer(pixmap.samples_mv, np.uint8).reshape(pixmap.height, pixmap.stride)
    flat = rows[:, : pixmap.width * pixmap.n].copy()
    return flat if pixmap.n == 1 else flat.reshape(pixmap.height, pixmap.width, pixmap.n)


def page_frame(
    scan: Scan, size_mm: tuple[float, float]
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The page's size in pixels and the mm that these pixels are.

    An image that fills its page is the page: the mm give way by the fraction of a percent that
    pages in whole points are off.
    """
    k = scan.px_per_mm
    image = scan.images[0]
    if scan.xref is not None:
        across, down = image.size_px[::-1] if image.transposed else image.size_px
        left, top, right, bottom = image.box_mm
        misfit = max(abs(left), abs(top), abs(right - size_mm[0]), abs(bottom - size_mm[1]))
        kx, ky = image.px_per_mm
        if max(kx, ky) <= min(kx, ky) * (1 + _SQUARE) and misfit * k < _MISFIT_PX:
            return (across, down), (across / k, down / k)
    width = pixel_count(size_mm[0], k)
    k = width / size_mm[0]
    return (width, pixel_count(size_mm[1], k)), size_mm


def on_page(pixels: Pixels, image: Placed, size_px: tuple[int, int], k: float) -> Pixels:
    """The image laid on the white page of `size_px` at `k` px/mm."""
    if (pixels.shape[1], pixels.shape[0]) == size_px:
        return pixels
    left, top, right, bottom = image.box_mm
    kx, ky = image.px_per_mm
    if max(kx, ky) > min(kx, ky) * (1 + _SQUARE):
        pixels = squared(pixels, (pixel_count(right - left, k), pixel_count(bottom - top, k)))
    return slice_padded(pixels, -round(left * k), -round(top * k), (size_px[1], size_px[0]))


def agree(one: Pixels, other: Pixels) -> bool:
    """Whether two small grey pictures of a page show the same, polarity and turn included."""
    if one.shape != other.shape:
        return False
    first, second = (cv2.blur(p, (3, 3)).astype(np.float64) for p in (one, other))
    if float(np.abs(first - second).mean()) > 16:
        return False
    spread = float(first.std() * second.std())
    if spread < 4.0:
        return bool(abs(float(first.std() - second.std())) < 2.0)
    covariance = float(((first - first.mean()) * (second - second.mean())).mean())
    return bool(covariance / spread > 0.9)
