"""Reads what a conversion wrote of a page: its image as a network takes it, and its signals."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.about import DatasetError
from ecgvision.errors import PageError
from ecgvision.media.decode import check_whole, decode_upright, read_head
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# Beyond that it is no voltage of a heart in mV, but another unit.
_LARGEST_MV = 50.0


@dataclass(frozen=True, slots=True)
class Described:
    """What the JSON of a page says of its image: style and scale; nothing where there is none."""

    style: str = ""
    px_per_mm: float | None = None


@dataclass(frozen=True)
class PageSignals:
    """(12, n) float32 mV in the order of `LEADS`, NaN where nothing was read, at `fs_hz`."""

    signal_mv: NDArray[np.float32]
    fs_hz: float

    def fitted(self, samples: int) -> NDArray[np.float32]:
        """(12, samples): its first samples, and NaN where it ends before."""
        fitted = np.full((len(self.signal_mv), samples), np.nan, np.float32)
        count = min(samples, self.signal_mv.shape[1])
        fitted[:, :count] = self.signal_mv[:, :count]
        return fitted


def read_image(path: Path) -> Pixels:
    """(H, W) grey ``uint8``, upright; raises `PageError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unusable(path, "a file that can be read", error.strerror or "none") from error
    check_whole(data, path)
    return decode_upright(data, read_head(data, path, 1), path, 1, True)


def read_description(path: Path | None) -> Described:
    """Style and scale of the image, from the JSON beside it; raises `PageError`."""
    if path is None:
        return Described()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["image"]
        scale = told["px_per_mm"]
        return Described(str(told["style"]), None if scale is None else float(scale))
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"something else ({type(error).__name__})"
        raise _unusable(path, "the JSON that `ecgvision convert` writes", found) from error


def read_signals(path: Path) -> PageSignals:
    """The signals in an NPZ file of `ecgvision convert --signals npz`; raises `PageError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            signal_mv = np.asarray(file["signal_mv"], dtype=np.float32)
            leads, fs_hz = tuple(map(str, file["leads"])), float(file["fs_hz"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        found = f"something else ({type(error).__name__})"
        raise _unusable(path, "an NPZ with signal_mv, leads and fs_hz", found) from error
    if leads != LEADS or signal_mv.ndim != 2 or len(signal_mv) != len(LEADS):
        shape = " x ".join(map(str, signal_mv.shape))
        found = f"{shape} for {', '.join(leads)}"
        raise _unusable(path, "12 leads in standard order", found)
    largest_mv = float(np.max(np.abs(signal_mv[~np.isnan(signal_mv)]), initial=0.0))
    if not (math.isfinite(fs_hz) and fs_hz > 0 and largest_mv < _LARGEST_MV):
        found = f"{largest_mv:g} mV at {fs_hz:g} Hz"
        raise _unusable(path, f"less than {_LARGEST_MV:g} mV at a positive rate", found)
    return PageSignals(signal_mv, fs_hz)


def _unusable(path: Path, expected: str, found: str) -> PageError:
    hint = "convert the page again"
    return DatasetError("example-unusable", path, None, expected=expected, found=found, hint=hint)
