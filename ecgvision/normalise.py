"""Makes the same picture of every format's leads, and the publication's own pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ecgvision.qrs import beats_window, qrs_times
from ecgvision.trace import LeadTrace
from ecgvision.types import (
    LEADS,
    Box,
    EcgImage,
    Layout,
    LeadBox,
    Match,
    Notice,
    Page,
    PublishedStyle,
)

if TYPE_CHECKING:
    from ecgvision.types import Pixels

Style = Literal["canonical", "published", "published-windows"]
STYLES: tuple[Style, ...] = ("canonical", "published", "published-windows")

# The canonical picture shows every lead at the usual paper speed and gain, whatever the page's.
SPEED_MM_PER_S = 25.0
GAIN_MM_PER_MV = 10.0
PEN_MM = 0.3
_OVERSAMPLING = 4
_LEAST_COVERAGE = 0.5


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How the picture is to be: its style, and for the canonical style its size.

    Each lead gets a box of `lead_s` seconds (2.5 unless given; 5 with `beats`) by
    `lead_height_mm` (2 mV up and down unless given: precordial leads often pass 1.5 mV). `beats`
    (3 or 4) cuts every lead to that many QRS complexes.
    """

    style: Style = "canonical"
    px_per_mm: float = 8.0
    lead_s: float | None = None
    lead_height_mm: float = 40.0
    beats: int | None = None

    @property
    def box_s(self) -> float:
        return self.lead_s or (5.0 if self.beats else 2.5)


def canonical_image(
    traces: Sequence[LeadTrace], layout: Layout, options: ImageOptions
) -> tuple[EcgImage, tuple[Notice, ...]]:
    """Six rows by two columns in standard lead order, each lead drawn from its own trace."""
    by_lead = {t.lead_box.lead: t for t in traces if not t.lead_box.rhythm_strip}
    windows, notices = _windows(by_lead, layout, options)
    scale = options.px_per_mm
    width_px = round(options.box_s * SPEED_MM_PER_S * scale)
    height_px = round(options.lead_height_mm * scale)
    pixels = np.full((6 * height_px, 2 * width_px), 255, np.uint8)
    boxes, missing, clipped = [], [], []
    for index, lead in enumerate(LEADS):
        row, column = index % 6, index // 6
        left, top = column * width_px, row * height_px
        box = Box(left / scale, top / scale, (left + width_px) / scale, (top + height_px) / scale)
        trace = by_lead.get(lead)
        start_s, stop_s = windows.get(lead, (0.0, options.box_s))
        begin_s = trace.lead_box.start_s if trace else 0.0
        boxes.append(LeadBox(lead, box, begin_s + start_s, begin_s + stop_s))
        if trace is None or trace.coverage < _LEAST_COVERAGE:
            missing.append(lead)
        if trace is None or not np.isfinite(trace.level_mm):
            continue
        drawn = _drawn(trace, layout, start_s, stop_s, (height_px, width_px), scale)
        pixels[top : top + height_px, left : left + width_px] = drawn
        if _reaches_out(trace, layout, options.lead_height_mm):
            clipped.append(lead)
    if missing:
        notices.append(Notice("lead-incomplete", f"less than half seen of {', '.join(missing)}"))
    if clipped:
        notices.append(
            Notice(
                "lead-clipped",
                f"{', '.join(clipped)} reach out of {options.lead_height_mm:g} mm high boxes; "
                "a larger --lead-height shows them whole",
            )
        )
    image = EcgImage(pixels, scale, "canonical", tuple(boxes), SPEED_MM_PER_S, GAIN_MM_PER_MV)
    return image, tuple(notices)


def _windows(
    by_lead: dict[str, LeadTrace], layout: Layout, options: ImageOptions
) -> tuple[dict[str, tuple[float, float]], list[Notice]]:
    """For each lead which seconds of its window are shown, and what must be said about it."""
    notices: list[Notice] = []
    windows = {}
    for start_s in sorted({t.lead_box.start_s for t in by_lead.values()}):
        group = [t for t in by_lead.values() if t.lead_box.start_s == start_s]
        names = ", ".join(t.lead_box.lead for t in group)
        shown_s = min(t.lead_box.stop_s - t.lead_box.start_s for t in group)
        window = (0.0, min(shown_s, options.box_s))
        if options.beats:
            qrs = qrs_times(group, layout.speed_mm_per_s)
            begin, end, count = beats_window(qrs, shown_s, options.beats)
            window = (begin, min(end, begin + options.box_s))
            if count < options.beats:
                notices.append(
                    Notice("beats-fewer", f"{names} show {count} of {options.beats} beats")
                )
            elif end - begin > options.box_s:
                notices.append(
                    Notice(
                        "beats-cut",
                        f"{options.beats} beats of {names} take {end - begin:.1f} s and do not "
                        f"fit {options.box_s:g} s; a larger --lead-seconds shows them",
                    )
                )
        windows.update({t.lead_box.lead: window for t in group})
    return windows, notices


def _drawn(
    trace: LeadTrace,
    layout: Layout,
    start_s: float,
    stop_s: float,
    shape: tuple[int, int],
    px_per_mm: float,
) -> Pixels:
    """One lead from `start_s` to `stop_s` of its window, its own level in the middle."""
    left_mm = trace.lead_box.box.left_mm + start_s * layout.speed_mm_per_s
    right_mm = trace.lead_box.box.left_mm + stop_s * layout.speed_mm_per_s
    across = px_per_mm * SPEED_MM_PER_S / layout.speed_mm_per_s
    up = px_per_mm * GAIN_MM_PER_MV / layout.gain_mm_per_mv
    if trace.ink is None or trace.ink_box is None:
        return _from_lines(trace, left_mm, right_mm, across, up, shape, px_per_mm)
    return _from_ink(trace.ink, trace.ink_box, trace.level_mm, left_mm, right_mm, across, up, shape)


def _from_lines(
    trace: LeadTrace,
    left_mm: float,
    right_mm: float,
    across: float,
    up: float,
    shape: tuple[int, int],
    px_per_mm: float,
) -> Pixels:
    height, width = shape
    thickness = max(1, round(PEN_MM * px_per_mm * _OVERSAMPLING))
    lines = []
    for line in trace.lines:
        x = (line[:, 0] - left_mm) * across
        y = (line[:, 1] - trace.level_mm) * up + height / 2
        seen = (line[:, 0] >= left_mm - 0.01) & (line[:, 0] <= right_mm + 0.01)
        if seen.sum() > 1:
            lines.append(np.stack([x[seen], y[seen]], axis=1))
    pixels = np.full((height, width), 255, np.uint8)
    if not lines:
        return pixels
    # Only the rows that have ink: most of a lead's box is empty.
    depths = np.concatenate(lines)[:, 1]
    margin = thickness / _OVERSAMPLING + 2
    top = min(height, max(0, math.floor(depths.min() - margin)))
    bottom = min(height, max(top, math.ceil(depths.max() + margin)))
    if top == bottom:
        return pixels
    large = np.full(((bottom - top) * _OVERSAMPLING, width * _OVERSAMPLING), 255, np.uint8)
    for line in lines:
        fixed = np.round(((line - [0, top]) * _OVERSAMPLING - 0.5) * 16).astype(np.int32)
        cv2.polylines(large, [fixed.reshape(-1, 1, 2)], False, 0, thickness, cv2.LINE_AA, 4)
    pixels[top:bottom] = cv2.resize(large, (width, bottom - top), interpolation=cv2.INTER_AREA)
    return pixels


def _from_ink(
    ink: Pixels,
    ink_box: Box,
    level_mm: float,
    left_mm: float,
    right_mm: float,
    across: float,
    up: float,
    shape: tuple[int, int],
) -> Pixels:
    height, width = shape
    scale = ink.shape[1] / ink_box.width_mm
    half_mm = height / 2 / up
    # Cut first, then resample by areas: thin lines keep their ink.
    first = round((left_mm - ink_box.left_mm) * scale)
    last = round((right_mm - ink_box.left_mm) * scale)
    top = round((level_mm - half_mm - ink_box.top_mm) * scale)
    bottom = round((level_mm + half_mm - ink_box.top_mm) * scale)
    cut = cut_out(ink, first, top, last - first, bottom - top)
    columns = min(width, max(1, round((last - first) / scale * across)))
    paper = np.full((height, width), 255, np.uint8)
    paper[:, :columns] = cv2.resize(cut, (columns, height), interpolation=cv2.INTER_AREA)
    return paper


def cut_out(pixels: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """A rectangle of grey pixels; what lies outside the picture is paper."""
    paper = np.full((height, width), 255, np.uint8)
    y0, y1 = max(0, top), min(pixels.shape[0], top + height)
    x0, x1 = max(0, left), min(pixels.shape[1], left + width)
    if y0 < y1 and x0 < x1:
        paper[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return paper


def _reaches_out(trace: LeadTrace, layout: Layout, height_mm: float) -> bool:
    seen = trace.y_mm[np.isfinite(trace.y_mm)]
    up = GAIN_MM_PER_MV / layout.gain_mm_per_mv
    return bool(np.abs(seen - trace.level_mm).max() * up > height_mm / 2)


# --- the publication's own pictures -----------------------------------------------------------


def published_image(page: Page, match: Match, ink: Pixels, *, windows: bool) -> EcgImage:
    """The picture the publication cut from this layout, in its pixels: (H, W) ``uint8``.

    `ink` is the upright page without its grid. The cuts move with the leads' offset on the page,
    by whole pixels. Raises `ValueError` for a layout that was not published.
    """
    style = match.layout.published
    if style is None:
        raise ValueError(f"layout {match.layout.name} has no published style")
    scale = style.px_per_mm
    size = tuple(round(side * scale) for side in page.known_mm)
    same = (ink.shape[1], ink.shape[0]) == size
    source = ink if same else cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    names = _printed_names(page, match.layout, scale) if page.origin == "vector" else ()
    dx, dy = (round(offset * scale) for offset in match.offset_mm)
    pixels = np.full((style.height_px, style.width_px), 255, np.uint8)
    for tile in style.tiles:
        left, top = tile.left_px + dx, tile.top_px + dy
        part = cut_out(source, left, top, tile.width_px, tile.height_px)
        _print_names(part, names, left, top)
        y, x = tile.to_top_px, tile.to_left_px
        pixels[y : y + tile.height_px, x : x + tile.width_px] = part
    name = "published"
    if windows and style.windows_px:
        pixels = np.hstack([pixels[:, first:last] for first, last in style.windows_px])
        name = "published-windows"
    layout = match.layout
    boxes = published_boxes(layout, (dx, dy), windows=windows)
    return EcgImage(pixels, scale, name, boxes, layout.speed_mm_per_s, layout.gain_mm_per_mv)


def published_boxes(
    layout: Layout, offset_px: tuple[int, int] = (0, 0), *, windows: bool
) -> tuple[LeadBox, ...]:
    """Where the twelve leads stand in the layout's published picture, in mm from its corner.

    `offset_px` is how far the cuts move with the leads. Of a lead that is cut, the largest piece
    counts, and the seconds that it shows. Raises `ValueError` for a layout that was not published.
    """
    style = layout.published
    if style is None:
        raise ValueError(f"layout {layout.name} has no published style")
    windows_px = style.shown_px(windows)
    found = []
    for lead_box in layout.twelve:
        pieces = list(_pieces(lead_box, layout.speed_mm_per_s, style, offset_px, windows_px))
        if pieces:
            found.append(max(pieces, key=lambda one: one.box.width_mm * one.box.height_mm))
    return tuple(found)


def _pieces(
    lead_box: LeadBox,
    speed_mm_per_s: float,
    style: PublishedStyle,
    offset_px: tuple[int, int],
    windows_px: Sequence[tuple[int, int]],
) -> Iterator[LeadBox]:
    """What of a lead each tile and window shows."""
    scale, box = style.px_per_mm, lead_box.box
    for tile in style.tiles:
        dx = tile.to_left_px - tile.left_px - offset_px[0]
        dy = tile.to_top_px - tile.top_px - offset_px[1]
        top = max(box.top_mm * scale + dy, tile.to_top_px)
        bottom = min(box.bottom_mm * scale + dy, tile.to_top_px + tile.height_px)
        moved = 0
        for first, last in windows_px:
            left = max(box.left_mm * scale + dx, tile.to_left_px, first)
            right = min(box.right_mm * scale + dx, tile.to_left_px + tile.width_px, last)
            if left < right and top < bottom:
                sides = (left - first + moved, top, right - first + moved, bottom)
                shown = Box(*(side / scale for side in sides))
                start_s = lead_box.start_s + ((left - dx) / scale - box.left_mm) / speed_mm_per_s
                stop_s = start_s + shown.width_mm / speed_mm_per_s
                yield LeadBox(lead_box.lead, shown, start_s, stop_s)
            moved += last - first


def _printed_names(page: Page, layout: Layout, px_per_mm: float) -> list[tuple[Pixels, int, int]]:
    """The page's lead names, and no other text of it: each as a picture, and its left and top."""
    area = [b.box.grown(4, 4) for b in layout.boxes if not b.rhythm_strip]
    font_of = cache(ImageFont.load_default)  # names are of one size, and a font takes long to load
    found = []
    for text in page.texts:
        name, box = text.text.strip(), text.box
        if name not in LEADS or not any(a.contains(*box.centre_mm) for a in area):
            continue
        width, height = round(box.width_mm * px_per_mm) + 4, round(box.height_mm * px_per_mm) + 4
        label = Image.new("L", (2 * width, height), 255)
        # A printed line's box is about 1.2 times its font's size, and so is Pillow's own font's.
        font = font_of(round(max(4.0, box.height_mm * px_per_mm / 1.2), 1))
        ImageDraw.Draw(label).text((0, 0), name, fill=0, font=font)
        left, top = round(box.left_mm * px_per_mm), round(box.top_mm * px_per_mm)
        found.append((np.asarray(label), left, top))
    return found


def _print_names(
    part: Pixels, names: Iterable[tuple[Pixels, int, int]], left: int, top: int
) -> None:
    """Print names into `part`, which was cut from their page at (left, top), in place."""
    for label, x, y in names:
        y0, y1 = max(top, y), min(top + part.shape[0], y + label.shape[0])
        x0, x1 = max(left, x), min(left + part.shape[1], x + label.shape[1])
        if y0 < y1 and x0 < x1:
            area = part[y0 - top : y1 - top, x0 - left : x1 - left]
            np.minimum(area, label[y0 - y : y1 - y, x0 - x : x1 - x], out=area)
