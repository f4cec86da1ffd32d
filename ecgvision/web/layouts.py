"""Lead boxes as a person put them, made a layout file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.layout_file import parse_layout_file, to_toml
from ecgvision.plugins import Formats
from ecgvision.types import Box, FormatInfo, Layout, LeadBox
from ecgvision.web import pages
from ecgvision.web.errors import WebError
from ecgvision.web.shapes import Arrangement, Corrected, LeadArea
from ecgvision.web.uploads import Upload

_FILE = "corrected.toml"
_ID = "corrected"
_NOTES = (
    "Lead boxes put by hand on the screening page of ecgvision.",
    "Use it with: ecgvision convert PAGE --format custom --layout FILE",
)


def declared(formats: Formats, format_id: str, number: int) -> Arrangement:
    """The boxes of a format's layout as its plugin declares them; raises `WebError`."""
    try:
        layout = formats.find(format_id).layouts[number]
    except (UsageError, IndexError):
        raise WebError(404, "layout-unknown", "there is no such layout", "see /api/about") from None
    return Arrangement.model_validate(pages.arrangement(layout))


def toml(upload: Upload, number: int, boxes: Corrected) -> str:
    """The layout file of these boxes on a page; raises `WebError` where they cannot be.

    What the page's own layout knows besides its boxes, such as the place of the calibration
    pulse, is kept.
    """
    page = upload.page(number)
    try:
        layout = _layout(boxes, _before(upload, number) if pages.LAYOUT in page.files else None)
        return to_toml(FormatInfo(_ID), [layout], _NOTES)
    except EcgVisionError as error:
        raise WebError(
            422, "layout-impossible", str(error), "move the boxes, or change the paper speed"
        ) from None


def stored(folder: Path, text: str) -> Path:
    path = folder / _FILE
    path.write_text(text, encoding="utf-8")
    return path


def _before(upload: Upload, number: int) -> Layout:
    text = upload.file(number, pages.LAYOUT).decode()
    return parse_layout_file(text, pages.LAYOUT)[1][0]


def _layout(boxes: Corrected, before: Layout | None) -> Layout:
    leads = tuple(_lead_box(area, boxes.speed_mm_per_s) for area in boxes.boxes)
    base = before or Layout(_ID, boxes.page_mm, leads, boxes.speed_mm_per_s)
    return replace(
        base,
        name=_ID,
        page_mm=boxes.page_mm,
        boxes=leads,
        speed_mm_per_s=boxes.speed_mm_per_s,
        gain_mm_per_mv=boxes.gain_mm_per_mv,
        published=None,
    )


def _lead_box(area: LeadArea, speed_mm_per_s: float) -> LeadBox:
    box = Box(area.left_mm, area.top_mm, area.right_mm, area.bottom_mm)
    start_s = area.start_s
    return LeadBox(
        area.lead, box, start_s, start_s + box.width_mm / speed_mm_per_s, area.rhythm_strip
    )
