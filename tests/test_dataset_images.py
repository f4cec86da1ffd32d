"""Normalised pictures made small: thin traces stay black, and stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ecgvision.dataset.images import network_image
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.types import Pixels


def line(shape: tuple[int, int], pen_px: float, slope: float) -> Pixels:
    """A line across a white picture, dark where it covers the middle of a pixel."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float) + 0.5
    far = np.abs(y - shape[0] / 2 - slope * (x - shape[1] / 2)) / np.hypot(1, slope)
    return np.where(far <= pen_px / 2, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(384, 384), (256, 256), (224, 224), (160, 200)])
@pytest.mark.parametrize("shape", [(1920, 1000), (1320, 1530), (2100, 1402)])
@pytest.mark.parametrize("slope", [0.0, 0.13, 5.0])
def test_a_thin_trace_keeps_its_ink_and_its_place(
    shape: tuple[int, int], size: tuple[int, int], slope: float
) -> None:
    small = network_image(line(shape, 2.4, slope), *size)
    assert small.shape == size
    assert small.dtype == np.uint8
    ink = 255.0 - small
    # Along the shallow line every column, along the steep one every row, has ink that is as much
    # as nearly one black pixel at least, and no more than three.
    along = ink.sum(axis=0 if slope < 1 else 1)
    seen = along[len(along) // 4 : -len(along) // 4] if slope < 1 else along[along > 0][3:-3]
    assert seen.min() >= 0.8 * 255
    steep = slope * shape[1] / shape[0] * size[0] / size[1] if slope < 1 else 1.0
    assert seen.max() <= (3 + 2 * steep) * 255
    # Its middle is where it was, to a pixel of the result.
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    off_y = (ink * rows).sum() / ink.sum() - size[0] / 2
    off_x = (ink * columns).sum() / ink.sum() - size[1] / 2
    assert abs(off_y) < 0.5
    assert abs(off_x) < 0.5


def test_paper_stays_paper_and_ink_stays_ink() -> None:
    assert (network_image(np.full((900, 700), 255, np.uint8), 224, 224) == 255).all()
    assert (network_image(np.zeros((900, 700), np.uint8), 224, 224) == 0).all()


def test_a_picture_of_that_size_is_left_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 48)).astype(np.uint8)
    assert (network_image(noise, 64, 48) == noise).all()


def test_a_smaller_picture_is_not_thickened() -> None:
    small = line((40, 40), 4, 0)
    large = network_image(small, 80, 80)
    assert (large < 128).sum() == pytest.approx(4 * (small < 128).sum(), rel=0.05)


@pytest.mark.parametrize("size", [(0, 384), (384, 31), (384, 5000), (-1, 384)])
def test_sizes_that_no_network_takes(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="--image-px"):
        network_image(np.zeros((100, 100), np.uint8), *size)


def test_colour_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(H, W\) uint8"):
        network_image(np.zeros((100, 100, 3), np.uint8), 64, 64)
