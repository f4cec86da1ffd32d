"""Normalised pictures as a network takes them: all of one size, small, and still legible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.types import Pixels

IMAGE_PX = (384, 384)
"""Height and width of a picture unless told: the study's."""

# Below, a lead has a few pixels only; above, a data set would hold more than its pages do.
_LEAST_PX, _MOST_PX = 32, 4096


def check_image_px(height_px: int, width_px: int) -> None:
    """Raise `UsageError` for a size that no network takes."""
    for name, side in (("height", height_px), ("width", width_px)):
        if not _LEAST_PX <= side <= _MOST_PX:
            raise UsageError(
                f"the {name} of the images (--image-px) must lie in {_LEAST_PX} to {_MOST_PX} "
                f"pixels, found {side}"
            )


def network_image(pixels: Pixels, height_px: int, width_px: int) -> Pixels:
    """A grey picture of ink on paper, (H, W) ``uint8``, as one of (height_px, width_px).

    Both sides are fitted, so that lead boxes keep their share of the picture; the aspect is not
    kept. Thin traces would turn grey and break up if areas were merely averaged. So ink is first
    thickened along each side that shrinks, by a minimum over as many pixels as become one, less
    one: a line two pixels thin, as thin as pens get here, still blackens a pixel of the result or
    nearly so, and the greys of its edges tell where within a pixel it runs. Paper stays 255.

    >>> thin = np.full((160, 160), 255, np.uint8)
    >>> thin[82:84] = 0
    >>> network_image(thin, 32, 32)[14:19, 0].tolist()
    [255, 255, 51, 204, 255]
    """
    check_image_px(height_px, width_px)
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"expected (H, W) uint8, found {pixels.shape} {pixels.dtype}")
    tall, wide = (
        _thickening(old, new) for old, new in zip(pixels.shape, (height_px, width_px), strict=True)
    )
    thick = pixels
    if tall > 1 or wide > 1:
        thick = cv2.erode(pixels, np.ones((tall, wide), np.uint8))
    shrinks = pixels.shape[0] > height_px or pixels.shape[1] > width_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small: Pixels = cv2.resize(thick, (width_px, height_px), interpolation=how)
    return small


def _thickening(before_px: int, after_px: int) -> int:
    """How many pixels the minimum is taken over."""
    return max(1, round(before_px / after_px - 1))
