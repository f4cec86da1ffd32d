"""Draws the pictures of the documentation anew, from synthetic ECGs alone.

python docs/pictures.py docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from before_after import side_by_side
from PIL import Image

import ecgvision
from ecgvision.normalise import ImageOptions, Style
from ecgvision.recognition import choose_formats
from ecgvision.survey.check import check_page
from ecgvision.testing import draw_page, scanned, synthetic_ecg

# name, format, layout, whether it is scanned, style of the image
PAGES: tuple[tuple[str, str, str, bool, Style], ...] = (
    ("philips", "philips-tc30", "3x4+1R", False, "canonical"),
    ("philips-scan", "philips-tc30", "3x4+1R", True, "canonical"),
    ("ge-scan", "ge-mac1200", "6x2", True, "canonical"),
    ("muse", "ge-muse", "3x4+3R", False, "canonical"),
    ("edan-scan", "edan-se3", "6x2+1R", True, "canonical"),
    ("philips-published", "philips-tc30", "3x4+1R", True, "published"),
    ("ge-published", "ge-mac1200", "6x2", True, "published"),
    ("ge-windows", "ge-mac1200", "6x2", True, "published-windows"),
)
_SCAN = {"dpi": 200, "rotation_deg": 1.2, "noise_sigma": 6.0, "jpeg_quality": 70}
_WIDTH_PX = 1400


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        for name, format_id, layout, scan, style in PAGES:
            page = draw(Path(folder) / f"{name}.pdf", format_id, layout, scan=scan)
            (result,) = ecgvision.convert(page, format=format_id, options=ImageOptions(style=style))
            after = Image.fromarray(result.image.pixels)
            _save(side_by_side(page, after, f"After: {style}"), out / f"{name}.png")
        page = draw(Path(folder) / "check.pdf", "philips-tc30", "3x4+1R", scan=True)
        with ecgvision.open_report(page) as report:
            checked = check_page(report.page(1), choose_formats("philips-tc30")[0])
        _save(Image.fromarray(checked.pixels), out / "check.png")
    return 0


def draw(path: Path, format_id: str, layout_name: str, *, scan: bool) -> Path:
    """A page of the format, moved a little on the paper, as vectors or as a scan."""
    chosen = choose_formats(format_id)[0]
    (layout,) = (one for one in chosen.layouts if one.name == layout_name)
    ecg = synthetic_ecg(seed=4, heart_rate_bpm=70, seconds=11, noise_mv=0.008)
    pdf = draw_page(layout, chosen.info, ecg, offset_mm=(2.0, -1.5)).pdf
    path.write_bytes(scanned(pdf, **_SCAN) if scan else pdf)
    return path


def _save(picture: Image.Image, path: Path) -> None:
    height = round(picture.height * _WIDTH_PX / picture.width)
    small = picture.convert("RGB").resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
    # Sixty-four colours are enough for a report, and keep the repository small.
    small.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
