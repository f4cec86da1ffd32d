"""The picture that a card shows, drawn anew: its pixels go up, and nothing else of the file."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from ecgvision.errors import EcgVisionError

PICTURE = "calibration.png"
LARGEST_BYTES = 1_000_000
LARGEST_SIDE_PX = 4096

# What a picture of each of Pillow's kinds is drawn as; no plot has sixteen bits.
_DRAWN_AS = {"1": "L", "L": "L", "LA": "RGBA", "P": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}


class PictureError(EcgVisionError):
    """A card's picture cannot go up as it is; the message names the file."""

    code = "not-for-the-hub"


def read_picture(path: Path) -> bytes:
    """The picture in that file as it may go up: a PNG without words, times or profiles.

    Raises `PictureError`.
    """
    name = f"{path.parent.name}/{path.name}"
    # A link may lead anywhere.
    if path.is_symlink():
        raise PictureError(
            f"{name}: expected a file, found a link; put the picture itself beside the card"
        )
    if not path.is_file():
        raise PictureError(
            f"{name}: expected the picture that the card shows, found none; put it beside the "
            "card, or take it out of the text"
        )
    try:
        with path.open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{name}: cannot be read: {error.strerror}; check its rights") from error
    return drawn_anew(name, data)


def drawn_anew(name: str, data: bytes) -> bytes:
    """A PNG of the same pixels; raises `PictureError` where these bytes are no whole, small PNG."""
    if len(data) > LARGEST_BYTES:
        raise PictureError(
            f"{name}: expected {LARGEST_BYTES:,} bytes at most, found more; draw it smaller"
        )
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            _check_size(name, *image.size)
            drawn = image.convert(_drawn_as(name, image.mode))
    except PictureError:
        raise
    except Exception as error:  # whatever Pillow makes of damaged bytes
        raise PictureError(
            f"{name}: expected a whole PNG, found something else; save it as PNG, or copy it anew"
        ) from error
    written = io.BytesIO()
    # From its bytes: a copy of the image would keep the words that came with it.
    Image.frombytes(drawn.mode, drawn.size, drawn.tobytes()).save(written, "PNG", optimize=True)
    return written.getvalue()


def _check_size(name: str, width_px: int, height_px: int) -> None:
    if max(width_px, height_px) > LARGEST_SIDE_PX:
        raise PictureError(
            f"{name}: expected at most {LARGEST_SIDE_PX:,} px a side, found {width_px:,} x "
            f"{height_px:,}; draw it smaller"
        )


def _drawn_as(name: str, mode: str) -> str:
    if mode not in _DRAWN_AS:
        raise PictureError(
            f"{name}: expected 8 bits for each colour, found a PNG of the kind {mode}; save it "
            "with 8"
        )
    return _DRAWN_AS[mode]
