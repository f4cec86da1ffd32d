"""Image bytes to upright 8-bit pixels, and the checks that a file is whole."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from ecgvision.errors import UnreadableError
from ecgvision.media.raster import PAPER, PIXEL_LIMIT, as_kind, oriented, refuse_too_large

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# Resolutions outside are defaults of software (72, 96) or of screens, not of paper.
_BELIEVABLE_DPI = (100.0, 1200.0)
# A fax has 204 x 98 dots per inch; nothing on paper is further from square than this.
_MOST_OBLONG = 2.5

# Pages an image file may have; Pillow takes longer for each the more there are before it.
_MOST_FRAMES = 2000
_BAND_PX = 1 << 22

_EXIF_ORIENTATION = 274
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 256, 257, 262, 0

# EXIF orientation: (rows and columns swapped, then mirrored in x, then in y).
_ORIENTATIONS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


@dataclass(frozen=True, slots=True)
class ImageHead:
    """What an image's header says: its size as stored, its place upright, its resolution.

    `dpi` is (x, y) of the stored pixels, None where it cannot be believed.
    """

    kind: str
    mode: str
    stored_px: tuple[int, int]
    orientation: int
    dpi: tuple[float, float] | None
    plain: bool

    @property
    def upright_px(self) -> tuple[int, int]:
        width, height = self.stored_px
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def upright_dpi(self) -> tuple[float, float] | None:
        if self.dpi is None or self.orientation < 5:
            return self.dpi
        return self.dpi[1], self.dpi[0]


def damaged(source: Path, page: int | None, found: str) -> UnreadableError:
    return UnreadableError(
        "image-damaged",
        source,
        page,
        expected="a whole image",
        found=found,
        hint="copy or export the file again",
    )


def believable_dpi(dpi: object) -> tuple[float, float] | None:
    """The resolution as (x, y) dots per inch where it can be that of paper, else None."""
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (x > 0 and y > 0):
        return None
    low, high = min(x, y), max(x, y)
    if not _BELIEVABLE_DPI[0] <= high <= _BELIEVABLE_DPI[1] or high > _MOST_OBLONG * low:
        return None
    return x, y


def frame_count(data: bytes, source: Path) -> int:
    """Number of pages in an image file; refuses those with more than anybody scans into one."""
    with _pillow(data, source, None) as image:
        count = 1
        if image.format == "TIFF":
            with suppress(EOFError):
                while count <= _MOST_FRAMES:
                    image.seek(count)
                    count += 1
    if count > _MOST_FRAMES:
        raise UnreadableError(
            "file-too-large",
            source,
            None,
            expected=f"an image file of at most {_MOST_FRAMES:,} pages",
            found="more",
            hint="split the file",
        )
    return count


def read_head(data: bytes, source: Path, page: int) -> ImageHead:
    """The header of one page (from 1), without decoding; refuses bombs."""
    with _pillow(data, source, page) as image:
        width, height = image.size
        orientation = _orientation(image)
        tags = getattr(image, "tag_v2", {})
        if image.format == "TIFF":  # Pillow already swaps the size of turned TIFFs, at times
            width, height = int(tags.get(_TIFF_WIDTH, width)), int(tags.get(_TIFF_HEIGHT, height))
        refuse_too_large(width * height, PIXEL_LIMIT, source, page, "an image")
        if width < 1 or height < 1:
            raise UnreadableError(
                "page-empty-size",
                source,
                page,
                expected="an image with pixels",
                found=f"{width} x {height} pixels",
                hint="export the file again",
            )
        kind = str(image.format)
        plain = (
            kind in ("JPEG", "MPO", "PNG")
            and image.mode in ("L", "RGB")
            and "transparency" not in image.info
        )
        return ImageHead(
            kind,
            image.mode,
            (width, height),
            orientation,
            believable_dpi(image.info.get("dpi")),
            plain,
        )


def check_whole(data: bytes, source: Path) -> None:
    """Raise image-damaged for a JPEG or PNG that stops early or whose bytes are wrong."""
    if data.startswith(b"\xff\xd8"):
        complete = jpeg_is_whole(data)
    elif data.startswith(b"\x89PNG"):
        complete = _png_is_whole(data)
    else:
        return  # Pillow checks the others while decoding
    if not complete:
        raise damaged(source, None, "one that stops early or has damaged parts")


def decode_upright(data: bytes, head: ImageHead, source: Path, page: int, grey: bool) -> Pixels:
    """The page's pixels, upright, (H, W) or (H, W, 3) RGB."""
    if head.plain:
        pixels = decode_plain(data, grey)
        if pixels is None or (pixels.shape[1], pixels.shape[0]) != head.stored_px:
            raise damaged(source, page, "pixels that cannot be decoded")
        orientation = head.orientation
    else:
        pixels, orientation = _decode_odd(data, source, page, grey)
    if orientation in _ORIENTATIONS:
        pixels = oriented(pixels, *_ORIENTATIONS[orientation])
    return pixels


def decode_plain(data: bytes, grey: bool) -> Pixels | None:
    """A plain 8-bit JPEG or PNG as stored, EXIF ignored; None where it does not decode."""
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None:
        return None
    return np.asarray(pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def jpeg_is_whole(data: bytes) -> bool:
    """Whether the markers lead to the end of the image; what follows it does not matter."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return False
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            return True
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == 0xDA:  # coded pixels follow, up to the next true marker
            following = _NEXT_MARKER.search(data, at)
            if following is None:
                return False
            at = following.start()
    return data[at : at + 2] == b"\xff\xd9"


_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _png_is_whole(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        length = int(struct.unpack_from(">I", data, at)[0])
        end = at + 8 + length
        if end + 4 > len(data):
            return False
        body = memoryview(data)[at + 4 : end]
        if zlib.crc32(body) != struct.unpack_from(">I", data, end)[0]:
            return False
        if bytes(body[:4]) == b"IEND":
            return True
        at = end + 4
    return False


@contextmanager
def _pillow(data: bytes, source: Path, page: int | None) -> Iterator[Image.Image]:
    """One page opened with Pillow, whose plugins raise all sorts of errors on broken files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large images and odd tags; both are handled here
        try:
            image = Image.open(io.BytesIO(data))
            if page is not None and page > 1:
                image.seek(page - 1)
            yield image
        except (UnreadableError, MemoryError):
            raise
        except Image.DecompressionBombError:
            refuse_too_large(PIXEL_LIMIT + 1, PIXEL_LIMIT, source, page, "an image")
        except Exception as error:
            raise damaged(source, page, "one that cannot be decoded") from error


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_odd(data: bytes, source: Path, page: int, grey: bool) -> tuple[Pixels, int]:
    """Everything but plain JPEG and PNG; also the orientation that is still to be applied."""
    with _pillow(data, source, page) as image:
        tags = getattr(image, "tag_v2", {})
        negative = tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        image.load()
        pixels = _flat(image, negative, grey)
        # Pillow turns TIFFs itself and then drops the tag; what is left is for us to do.
        return pixels, _orientation(image)


def _flat(image: Image.Image, negative: bool, grey: bool) -> Pixels:
    """Any of Pillow's modes as 8-bit grey or RGB on white paper.

    Band by band: wide numbers for a whole large image would take gigabytes.
    """
    width, height = image.size
    rows = max(1, _BAND_PX // width)
    bands = [(0, y, width, min(y + rows, height)) for y in range(0, height, rows)]
    peak = None
    if image.mode[0] in "IF":
        peak = max(float(_finite(np.asarray(image.crop(band))).max(initial=0)) for band in bands)
    out = np.empty((height, width) if grey else (height, width, 3), np.uint8)
    for band in bands:
        part = image.crop(band)
        flat = _flat_colours(part) if peak is None else _to_8_bit(part, negative, peak)
        out[band[1] : band[3]] = as_kind(flat, grey)
    return out


def _flat_colours(image: Image.Image) -> Pixels:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.uint16)
        alpha = rgba[:, :, 3:]
        mixed = (rgba[:, :, :3] * alpha + PAPER * (255 - alpha) + 127) // 255
        return mixed.astype(np.uint8)
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"), np.uint8)


def _finite(deep: np.ndarray) -> np.ndarray:
    if deep.dtype.kind != "f":
        return deep
    return np.nan_to_num(deep.astype(np.float64), nan=1.0, posinf=1.0, neginf=0.0)


def _to_8_bit(image: Image.Image, negative: bool, peak: float) -> Pixels:
    """16-bit, 32-bit and floating greys, of which the whole image's highest is `peak`.

    `negative` tells that Pillow leaves white at zero.
    """
    deep = _finite(np.asarray(image))
    if deep.dtype.kind == "f":
        scaled = deep * (255.0 if peak <= 1.0 else 1.0)
    else:
        scaled = deep // 256 if deep.dtype.itemsize == 2 or peak > 255 else deep
    eight = np.clip(scaled, 0, 255).astype(np.uint8)
    return 255 - eight if negative else eight
