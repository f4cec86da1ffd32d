"""Draws the sample of `docs/render.md`: a page of each published format and its images.

python docs/rendered_picture.py docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ecgvision.dataset.drawing import DrawOptions, draw_record
from ecgvision.dataset.drawing_style import page_pdf, page_style
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import load_formats
from ecgvision.testing import rasterise, synthetic_ecg

# format, name of the record, whether it is scanned
SAMPLES = (("ge-mac1200", "sample", 0.0), ("philips-tc30", "sample", 1.0))
_HEIGHT_PX, _MARGIN_PX, _LABEL_PX = 384, 16, 30
_BACK, _DARK = (236, 238, 241), (40, 44, 52)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    ecg = synthetic_ecg(seed=4, heart_rate_bpm=70, seconds=10, fs_hz=250, noise_mv=0.008)
    rows = []
    for format_id, record, scan_share in SAMPLES:
        chosen = load_formats().find(format_id)
        style = page_style(chosen, record, ecg.seconds, 0, scan_share)
        page = Image.fromarray(rasterise(page_pdf(chosen, ecg, style), 4.0))
        width = round(page.width * _HEIGHT_PX / page.height)
        pictures = [(f"{format_id}, drawn", page.resize((width, _HEIGHT_PX), Image.Resampling.BOX))]
        for name, image in (
            ("canonical", ImageOptions()),
            ("published-windows", ImageOptions(style="published-windows")),
        ):
            options = DrawOptions(image, scan_share=scan_share)
            (drawn,) = draw_record(record, ecg, [format_id], options)
            if drawn.image is None:
                raise SystemExit(f"{format_id} was refused: {drawn.error}")
            pictures.append((f"384 x 384, {name}", Image.fromarray(drawn.image).convert("RGB")))
        rows.append(_row(pictures))
    sheet = Image.fromarray(np.vstack([np.asarray(row) for row in rows]))
    sheet = sheet.quantize(48, dither=Image.Dither.NONE)
    sheet.save(Path(arguments[0]) / "rendered.png", optimize=True)
    return 0


def _row(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    width = sum(picture.width for _, picture in pictures) + _MARGIN_PX * (len(pictures) + 1)
    row = Image.new("RGB", (width, _HEIGHT_PX + _LABEL_PX + 2 * _MARGIN_PX), _BACK)
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(size=18)
    left = _MARGIN_PX
    for title, picture in pictures:
        draw.text((left, _MARGIN_PX), title, font=font, fill=_DARK)
        row.paste(picture, (left, _MARGIN_PX + _LABEL_PX))
        left += picture.width + _MARGIN_PX
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
