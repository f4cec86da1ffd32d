"""What is told and drawn of one page for the browser."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ecgvision.conversion import as_read
from ecgvision.errors import PageError
from ecgvision.evidence import upright
from ecgvision.media.views import scaled
from ecgvision.output import png_bytes
from ecgvision.web.settings import NOTICE

if TYPE_CHECKING:
    from ecgvision.media import Report
    from ecgvision.recording import LeadSignal
    from ecgvision.result import Conversion
    from ecgvision.types import EcgImage, Layout, LeadBox, Page, Pixels

# Wide enough to put a box to half a millimetre, small enough to come at once.
_PICTURE_PX = 1400
# What an image without a resolution is taken for, so that boxes can be laid on it: A4 across.
_GUESSED_WIDTH_MM = 297.0
_JPEG_QUALITY = 82
_TRACE_RGB = (0, 90, 200)
_NAME_RGB = (30, 40, 50)
_PALE = 0.45
_SUBPIXEL = 4  # bits

PICTURE, IMAGE, OVERLAY, CHECK = "page.jpg", "image.png", "overlay.png", "check.png"
LAYOUT = "layout.toml"


def reason(error: PageError) -> dict[str, str]:
    return {
        "code": error.code,
        "expected": error.expected,
        "found": error.found,
        "hint": error.hint,
    }


def refused(error: PageError, number: int, count: int) -> dict[str, Any]:
    return {"page": number, "pages": count, "status": "refused", "reason": reason(error)}


def described(page: Conversion) -> dict[str, Any]:
    """All that is told of a page that was read, as `PageResult` has it."""
    scale, quality = page.calibration, page.quality
    layout = page.match.layout
    return {
        "page": page.page_number,
        "pages": page.page_count,
        "status": "done" if page.refusal is None else "withheld",
        "reason": None if page.refusal is None else reason(page.refusal),
        "origin": page.origin,
        "format": page.format_id,
        "layout": layout.name,
        "score": round(page.match.score, 3),
        "scale": {
            "speed_mm_per_s": round(scale.speed_mm_per_s, 3),
            "gain_mm_per_mv": round(scale.gain_mm_per_mv, 3),
            "speed_from": scale.speed_from,
            "gain_from": scale.gain_from,
        },
        "verdict": None if quality is None else quality.verdict,
        "findings": [] if quality is None else [one.as_dict() for one in quality.findings],
        "warnings": warnings(page),
        "arrangement": arrangement(layout, page.match.page_mm),
    }


def warnings(page: Conversion) -> list[dict[str, str]]:
    return [{"code": one.code, "message": one.message} for one in page.notices]


def arrangement(layout: Layout, page_mm: tuple[float, float] | None = None) -> dict[str, Any]:
    """The layout's boxes as `Arrangement` has them."""
    width_mm, height_mm = page_mm or layout.page_mm
    return {
        "page_mm": [round(width_mm, 3), round(height_mm, 3)],
        "boxes": [_area(lead_box) for lead_box in layout.boxes],
    }


def _area(lead_box: LeadBox) -> dict[str, Any]:
    box = lead_box.box
    return {
        "lead": lead_box.lead,
        "rhythm_strip": lead_box.rhythm_strip,
        "left_mm": round(box.left_mm, 3),
        "top_mm": round(box.top_mm, 3),
        "right_mm": round(box.right_mm, 3),
        "bottom_mm": round(box.bottom_mm, 3),
        "start_s": round(max(lead_box.start_s, 0.0), 4),
    }


# --- pictures and files ---------------------------------------------------------------------------


def draw(report: Report, page: Conversion, files: dict[str, bytes]) -> dict[str, Any]:
    """Add the pictures and signal files of a page that was read; how large its picture is."""
    from ecgvision.layout_file import to_toml
    from ecgvision.types import FormatInfo

    level = upright(as_read(report.page(page.page_number)), page.match)
    told = _picture(level, files)
    files[IMAGE] = noted(png_bytes(page.image.pixels, page.image.px_per_mm))
    if page.recording is not None:
        files[OVERLAY] = noted(png_bytes(overlay(page)))
    if page.qc is not None:
        files[CHECK] = noted(png_bytes(page.qc))
    files[LAYOUT] = to_toml(FormatInfo("page"), [page.match.layout]).encode()
    if page.recording is not None and page.refusal is None:
        files |= _signals(page)
    return told


def _signals(page: Conversion) -> dict[str, bytes]:
    """The signals as CSV and WFDB; none where they do not fit into such a file."""
    from ecgvision.writers import WriterError, recording_files

    found: dict[str, bytes] = {}
    if page.recording is None:
        return found
    for kind in ("csv", "wfdb"):
        try:
            details = {**page.details(), "notice": NOTICE}
            found |= recording_files(page.recording, kind, "ecg", details)
        except WriterError:  # a lead without a sample, or one of more than 32 mV
            continue
    return found


def draw_unknown(report: Report, number: int, files: dict[str, bytes]) -> dict[str, Any]:
    """The picture of a page that no format fits, as it lies in the file; nothing if it has none."""
    try:
        page = as_read(report.page(number))
        if page.size_mm is None and page.size_px is not None:
            page = scaled(page, page.size_px[0] / _GUESSED_WIDTH_MM)
        return _picture(page, files)
    except PageError:
        return {}


def _picture(page: Page, files: dict[str, bytes]) -> dict[str, Any]:
    width_mm, height_mm = page.known_mm
    pixels = page.pixels(_PICTURE_PX / width_mm)
    height, width = pixels.shape[:2]
    order = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    done, encoded = cv2.imencode(".jpg", order, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        return {}
    files[PICTURE] = encoded.tobytes()
    return {
        "picture_px": [width, height],
        "picture_mm": [round(width_mm, 3), round(height_mm, 3)],
    }


def overlay(page: Conversion) -> Pixels:
    """(H, W, 3) RGB ``uint8``: the normalised image, pale, with the signals drawn over it."""
    image, recording = page.image, page.recording
    pale = 255 - (255 - image.pixels.astype(np.float32)) * _PALE
    picture: Pixels = np.ascontiguousarray(np.repeat(pale.astype(np.uint8)[:, :, None], 3, axis=2))
    if recording is not None:
        signals = {one.lead: one for one in recording.boxes if not one.rhythm_strip}
        for lead_box in image.boxes:
            if lead_box.lead in signals:
                # The image keeps chest leads as high as they are printed, the signals do not.
                taller = page.calibration.gain_of(lead_box.lead) / page.calibration.gain_mm_per_mv
                _draw_signal(
                    picture, image, lead_box, signals[lead_box.lead], recording.fs_hz, taller
                )
    label_leads(picture, image)
    return picture


def label_leads(picture: Pixels, image: EcgImage) -> None:
    """Write each lead's name into the top left corner of its box on a picture of any width."""
    scale = picture.shape[1] / image.pixels.shape[1] * image.px_per_mm
    size = picture.shape[1] / 1100
    face = cv2.FONT_HERSHEY_SIMPLEX
    for lead_box in image.boxes:
        box = lead_box.box
        at = round(box.left_mm * scale + 14 * size), round(box.top_mm * scale + 34 * size)
        thick = max(1, round(2 * size))
        cv2.putText(picture, lead_box.lead, at, face, size, _NAME_RGB, thick, cv2.LINE_AA)


def _draw_signal(
    picture: Pixels,
    image: EcgImage,
    lead_box: LeadBox,
    signal: LeadSignal,
    fs_hz: float,
    taller: float,
) -> None:
    known_mv = signal.signal_mv[np.isfinite(signal.signal_mv)]
    if not known_mv.size:
        return
    box = lead_box.box
    times_s = signal.start_s + np.arange(len(signal.signal_mv)) / fs_hz
    x_mm = box.left_mm + (times_s - lead_box.start_s) * image.speed_mm_per_s
    # The image has each lead's own level in the middle of its box.
    height_mv = (signal.signal_mv.astype(np.float64) - np.median(known_mv)) * taller
    y_mm = lead_box.baseline_mm - height_mv * image.gain_mm_per_mv
    points = np.column_stack([x_mm, y_mm]) * image.px_per_mm * 2**_SUBPIXEL
    inside = np.isfinite(y_mm) & (y_mm > box.top_mm) & (y_mm < box.bottom_mm)
    inside &= (x_mm >= box.left_mm) & (x_mm <= box.right_mm)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    thick = max(1, round(0.2 * image.px_per_mm))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        line = np.rint(points[start:stop]).astype(np.int32)
        cv2.polylines(picture, [line], False, _TRACE_RGB, thick, cv2.LINE_AA, _SUBPIXEL)


def noted(png: bytes) -> bytes:
    """The PNG with the notice in its own words, where programs show a picture's description."""
    body = b"tEXtDescription\0" + NOTICE.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    head = 8 + 25  # signature and IHDR
    return png[:head] + chunk + png[head:]
