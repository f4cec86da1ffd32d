"""Puts a report page and the image made of it side by side: page, image, picture to write.

python docs/before_after.py demo/philips.pdf demo/out/philips.png demo/before-after.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import ecgvision

HEIGHT_PX = 1100
MARGIN_PX = 40
LABEL_PX = 60
BACK = (236, 238, 241)
DARK = (40, 44, 52)


def side_by_side(page_path: Path, after: Image.Image, label: str) -> Image.Image:
    """The first page of the report on the left, a picture made of it on the right."""
    with ecgvision.open_report(page_path) as report:
        pixels = report.page(1).pixels()
    before, shown = _scaled(Image.fromarray(pixels)), _scaled(after.convert("RGB"))
    width = before.width + shown.width + 3 * MARGIN_PX
    sheet = Image.new("RGB", (width, HEIGHT_PX + LABEL_PX + 2 * MARGIN_PX), BACK)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=32)
    left = MARGIN_PX
    for picture, title in ((before, f"Before: {page_path.name}"), (shown, label)):
        draw.text((left, MARGIN_PX), title, font=font, fill=DARK)
        sheet.paste(picture, (left, MARGIN_PX + LABEL_PX))
        left += picture.width + MARGIN_PX
    return sheet


def _scaled(picture: Image.Image) -> Image.Image:
    width = round(picture.width * HEIGHT_PX / picture.height)
    return picture.resize((width, HEIGHT_PX), Image.Resampling.LANCZOS)


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    page_path, image_path, out = map(Path, arguments)
    with Image.open(image_path) as image:
        side_by_side(page_path, image, "After: 12 leads").save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
