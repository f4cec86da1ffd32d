"""What a hostile file is to the tests, and the good page that they are made from."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ecgvision.plugins import load_formats
from ecgvision.testing import as_png, draw_page, synthetic_ecg

GOOD = "good"
# What a harmless page without an ECG ends in.
NO_ECG = "format-not-found"
BOMB_SIDE = 30_000
BOMB_BYTES = 300_000_000


@dataclass(frozen=True)
class Case:
    """A file, and the codes that all of its results must have; `pages` is how many to read."""

    name: str
    make: Callable[[Path], Path]
    codes: frozenset[str]
    pages: int = 20


@cache
def good_pdf() -> bytes:
    """A page that must come out whatever lies beside it."""
    found = {one.info.id: one for one in load_formats().formats}["philips-tc30"]
    ecg = synthetic_ecg(seed=3, noise_mv=0.01, seconds=12)
    return draw_page(found.layouts[0], found.info, ecg).pdf


@cache
def good_png() -> bytes:
    return as_png(good_pdf(), dpi=120)


@cache
def good_pixels() -> np.ndarray:
    with Image.open(io.BytesIO(good_png())) as image:
        return np.asarray(image.convert("L"))


def of(name: str, data: Callable[[], bytes], *codes: str, suffix: str = ".pdf") -> Case:
    def make(folder: Path) -> Path:
        path = folder / f"{name}{suffix}"
        path.write_bytes(data())
        return path

    return Case(name, make, frozenset(codes))


@cache
def zeros(count: int) -> bytes:
    """So many zero bytes, packed."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(bytes(count & (1 << 20) - 1)), packer.flush()])
