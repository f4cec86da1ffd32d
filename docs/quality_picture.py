"""Draws `docs/pictures/quality-check.png` anew: a wrong page as `convert` reads and judges it.

python docs/quality_picture.py docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from ecgvision import convert
from ecgvision.conversion import SignalOptions
from ecgvision.recognition import choose_formats
from ecgvision.testing import Ecg, draw_page, synthetic_ecg
from ecgvision.types import LEADS


def wrong_ecg() -> Ecg:
    """II and V2 exchanged, and a part of V5 not printed."""
    right = synthetic_ecg(seed=4, seconds=11, noise_mv=0.01)
    order = list(range(len(LEADS)))
    order[1], order[7] = order[7], order[1]
    signal_mv = right.signal_mv[order].copy()
    signal_mv[LEADS.index("V5"), 4150:4700] = np.nan
    return Ecg(signal_mv, right.fs_hz, right.r_peaks_s)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    chosen = choose_formats("philips-tc30")[0]
    (layout,) = (one for one in chosen.layouts if one.name == "3x4+1R")
    how = SignalOptions(qc=True, min_quality="refused")
    with TemporaryDirectory() as folder:
        path = draw_page(layout, chosen.info, wrong_ecg()).save(Path(folder) / "page.pdf")
        (found,) = convert(path, format="philips-tc30", signals=how)
    image = Image.fromarray(found.qc).quantize(160, dither=Image.Dither.NONE)
    image.save(Path(arguments[0]) / "quality-check.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
