"""Draws the pictures of `docs/quality.md` anew, from a synthetic ECG alone.

python docs/quality_picture.py docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

import ecgvision
from ecgvision.conversion import choose_formats
from ecgvision.quality import assess
from ecgvision.quality.picture import qc_picture
from ecgvision.recording import Calibration, LeadCurve, LeadSignal, Recording
from ecgvision.testing import Ecg, draw_page, synthetic_ecg
from ecgvision.types import LEADS, Layout

_FS_HZ = 500.0


def curves_of(ecg: Ecg, layout: Layout) -> list[LeadCurve]:
    """The curves that a perfect reader would read off the page, V5 with a gap in the middle."""
    found = []
    for lead_box in layout.boxes:
        times_s, mv = ecg.window(lead_box.lead, lead_box.start_s, lead_box.stop_s)
        x_mm = lead_box.box.left_mm + (times_s - lead_box.start_s) * layout.speed_mm_per_s
        y_mm = lead_box.baseline_mm - mv.astype(np.float64) * layout.gain_mm_per_mv
        if lead_box.lead == "V5" and not lead_box.rhythm_strip:
            y_mm[400:950] = np.nan
        found.append(LeadCurve(lead_box, x_mm, y_mm, "vector", 1.0))
    return found


def recording_of(curves: list[LeadCurve], layout: Layout) -> Recording:
    boxes = []
    for curve in curves:
        one = curve.lead_box
        mv = ((one.baseline_mm - curve.y_mm) / layout.gain_mm_per_mv).astype(np.float32)
        boxes.append(
            LeadSignal(
                one.lead,
                one.rhythm_strip,
                one.start_s,
                one.stop_s,
                mv,
                "vector",
                1.0,
                float(np.isfinite(mv).mean()),
            )
        )
    length = round(max(box.stop_s for box in boxes) * _FS_HZ)
    nothing = np.full((len(LEADS), length), np.nan, np.float32)
    return Recording(nothing, _FS_HZ, np.zeros((0, length), np.float32), boxes=tuple(boxes))


def swapped(ecg: Ecg, one: str, other: str) -> Ecg:
    order = list(range(len(LEADS)))
    first, second = LEADS.index(one), LEADS.index(other)
    order[first], order[second] = second, first
    return Ecg(ecg.signal_mv[order], ecg.fs_hz, ecg.r_peaks_s)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    chosen = choose_formats("philips-tc30")[0]
    (layout,) = (one for one in chosen.layouts if one.name == "3x4+1R")
    ecg = swapped(synthetic_ecg(seed=4, seconds=11, noise_mv=0.01), "II", "V2")
    drawn = draw_page(layout, chosen.info, ecg)
    with TemporaryDirectory() as folder:
        path = drawn.save(Path(folder) / "page.pdf")
        with ecgvision.open_report(path) as report:
            page = report.page(1)
            curves = curves_of(ecg, drawn.layout)
            scale = Calibration(25.0, 10.0, "text", "pulse")
            quality = assess(recording_of(curves, layout), scale, layout)
            picture = qc_picture(page, drawn.layout, curves, quality, scale)
    image = Image.fromarray(picture).quantize(160, dither=Image.Dither.NONE)
    image.save(Path(arguments[0]) / "quality-check.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
