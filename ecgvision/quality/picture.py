"""The page with what was read off it drawn over it, and the verdict, for a person to judge.

Only the leads' area is shown: what is printed above and below it stays out, and with it the
patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.runs import true_runs
from ecgvision.types import LEADS, RGB, Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.quality.ink import CutPeak
    from ecgvision.quality.verdict import Quality
    from ecgvision.recording import Calibration, LeadCurve
    from ecgvision.types import Layout, LeadBox, Page, Pixels

_WIDTH_PX = 1600
_MARGIN_MM = 2.0
_PALE = 0.45  # how much of the page's own ink stays, so that the colours show
_FINDINGS = 3
_LINE_PX = 26
_EDGE_PX = 10
_GAP_MM = 0.6  # a smaller gap in a curve is not worth a mark
_SUBPIXEL = 4  # bits

# Neighbours get different colours, so that it is seen where one ends and the next begins.
_LEADS: tuple[RGB, ...] = ((0, 90, 200), (0, 130, 60), (150, 30, 150), (190, 90, 0))
_GAP: RGB = (230, 0, 0)
_START: RGB = (90, 90, 90)
_WHITE: RGB = (255, 255, 255)
_BLACK: RGB = (0, 0, 0)
_VERDICT: dict[str, RGB] = {
    "good": (0, 130, 60),
    "doubtful": (215, 120, 0),
    "refused": (200, 0, 0),
    "not judged": (110, 110, 110),
}


def qc_picture(
    page: Page,
    layout: Layout,
    curves: Sequence[LeadCurve],
    quality: Quality | None,
    calibration: Calibration | None,
    cut: Sequence[CutPeak] = (),
) -> Pixels:
    """(H, 1600, 3) RGB ``uint8`` of an upright, level page and the layout as measured on it.

    Curves are coloured, gaps in them and peaks that were cut off are red, starts of boxes grey.
    Other print that reaches into the leads' area (the layout's `clear` boxes, and words of a vector
    page) is left out.
    """
    area = _area(layout, page.known_mm)
    px_per_mm = _WIDTH_PX / area.width_mm
    picture = _pale(page, layout, area, px_per_mm)
    by_box = {curve.lead_box: curve for curve in curves}
    for at_row, row in enumerate(layout.rows):
        for column, lead_box in enumerate(row):
            rgb = _LEADS[(at_row + column) % len(_LEADS)]
            curve = by_box.get(lead_box) or _same_lead(curves, lead_box)
            _draw_lead(picture, lead_box, curve, _Scale(area, px_per_mm), rgb)
    scale = _Scale(area, px_per_mm)
    for peak in cut:
        ends = scale.px(peak.x_mm, peak.turn_mm), scale.px(peak.x_mm, peak.tip_mm)
        cv2.line(picture, *ends, _GAP, 4)
    return np.vstack([_strip(quality, calibration, picture.shape[1]), picture])


class _Scale:
    """From mm of the page to pixels of the picture."""

    def __init__(self, area: Box, px_per_mm: float) -> None:
        self.area, self.px_per_mm = area, px_per_mm

    def px(self, x_mm: float, y_mm: float) -> tuple[int, int]:
        x, y = x_mm - self.area.left_mm, y_mm - self.area.top_mm
        return round(x * self.px_per_mm), round(y * self.px_per_mm)

    def fine(self, points_mm: NDArray[np.float64]) -> NDArray[np.int32]:
        corner = (self.area.left_mm, self.area.top_mm)
        fine = (points_mm - corner) * self.px_per_mm * 2**_SUBPIXEL
        whole: NDArray[np.int32] = np.rint(fine).astype(np.int32)
        return whole


def _area(layout: Layout, page_mm: tuple[float, float]) -> Box:
    """What the boxes cover, a little more, and no more than the page."""
    boxes = [lead_box.box for lead_box in layout.boxes]
    grown = Box(
        min(box.left_mm for box in boxes),
        min(box.top_mm for box in boxes),
        max(box.right_mm for box in boxes),
        max(box.bottom_mm for box in boxes),
    ).grown(_MARGIN_MM, 0.0)
    return Box(
        max(0.0, grown.left_mm),
        max(0.0, grown.top_mm),
        min(page_mm[0], grown.right_mm),
        min(page_mm[1], grown.bottom_mm),
    )


def _pale(page: Page, layout: Layout, area: Box, px_per_mm: float) -> Pixels:
    pixels = page.pixels(px_per_mm, area)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    paled = 255 - (255 - pixels.astype(np.float32)) * _PALE
    picture: Pixels = np.ascontiguousarray(paled.astype(np.uint8))
    words = [word.box for word in page.texts if word.text.strip() not in LEADS]
    scale = _Scale(area, px_per_mm)
    for box in (*layout.clear, *(word.grown(0.5, 0.5) for word in words)):
        corners = scale.px(box.left_mm, box.top_mm), scale.px(box.right_mm, box.bottom_mm)
        cv2.rectangle(picture, *corners, _WHITE, cv2.FILLED)
    return picture


def _same_lead(curves: Sequence[LeadCurve], lead_box: LeadBox) -> LeadCurve | None:
    """The curve of a box that was measured anew since."""
    return next(
        (
            curve
            for curve in curves
            if curve.lead_box.lead == lead_box.lead
            and curve.lead_box.rhythm_strip == lead_box.rhythm_strip
        ),
        None,
    )


def _draw_lead(
    picture: Pixels, lead_box: LeadBox, curve: LeadCurve | None, scale: _Scale, rgb: RGB
) -> None:
    box, level_mm = lead_box.box, lead_box.baseline_mm
    tick_mm = min(4.0, box.height_mm / 4)
    cv2.line(
        picture,
        scale.px(box.left_mm, level_mm - tick_mm),
        scale.px(box.left_mm, level_mm + tick_mm),
        _START,
        2,
    )
    if curve is None:
        gaps = [(box.left_mm, box.right_mm)]
    else:
        points_mm = np.column_stack([curve.x_mm, curve.y_mm])
        known = np.isfinite(curve.x_mm) & np.isfinite(curve.y_mm)
        for start, stop in true_runs(known):
            fine = scale.fine(points_mm[start:stop])
            cv2.polylines(picture, [fine], False, rgb, 2, cv2.LINE_AA, _SUBPIXEL)
        gaps = list(_gaps(curve.x_mm, known, box))
    for left_mm, right_mm in gaps:
        corners = scale.px(left_mm, level_mm - 0.5), scale.px(right_mm, level_mm + 0.5)
        cv2.rectangle(picture, *corners, _GAP, cv2.FILLED)
    name = f"{lead_box.lead} strip" if lead_box.rhythm_strip else lead_box.lead
    (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    right, top = scale.px(box.right_mm - 1.0, box.top_mm + 1.0)
    corner = (right - width, max(top, 0) + height)
    cv2.putText(picture, name, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6, rgb, 2, cv2.LINE_AA)


def _gaps(
    x_mm: NDArray[np.float64], known: NDArray[np.bool_], box: Box
) -> Iterator[tuple[float, float]]:
    """From where to where nothing was read, ends of the box included."""
    at = box.left_mm
    for start, stop in true_runs(known):
        if x_mm[start] - at > _GAP_MM:
            yield at, float(x_mm[start])
        at = float(x_mm[stop - 1])
    if box.right_mm - at > _GAP_MM:
        yield at, box.right_mm


def _strip(quality: Quality | None, calibration: Calibration | None, width_px: int) -> Pixels:
    """The verdict in its colour, the scale, and the worst findings in words."""
    verdict = quality.verdict if quality is not None else "not judged"
    rgb = _VERDICT[verdict]
    head = verdict.upper()
    scale = ""
    if calibration is not None:
        scale = (
            f"{calibration.speed_mm_per_s:.4g} mm/s from {calibration.speed_from}, "
            f"{calibration.gain_mm_per_mv:.4g} mm/mV from {calibration.gain_from}"
        )
    findings = quality.findings if quality is not None else ()
    lines = [f"{finding.code}: {finding.message}" for finding in findings[:_FINDINGS]]
    if len(findings) > _FINDINGS:
        lines[-1] += f"  (and {len(findings) - _FINDINGS} more)"
    strip = np.full((44 + _LINE_PX * len(lines) + (8 if lines else 0), width_px, 3), 255, np.uint8)
    strip[:40] = rgb
    face = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, head, (_EDGE_PX, 29), face, 0.9, _WHITE, 2, cv2.LINE_AA)
    (taken, _), _ = cv2.getTextSize(scale, face, 0.6, 1)
    cv2.putText(strip, scale, (width_px - taken - _EDGE_PX, 27), face, 0.6, _WHITE, 1, cv2.LINE_AA)
    for at, line in enumerate(lines):
        fitted = _fitted(line, width_px - 2 * _EDGE_PX)
        corner = (_EDGE_PX, 44 + _LINE_PX * at + 18)
        cv2.putText(strip, fitted, corner, face, 0.55, _BLACK, 1, cv2.LINE_AA)
    return strip


def _fitted(line: str, width_px: int) -> str:
    """The line in plain letters, its end left off where it is too long."""
    plain = line.encode("ascii", "replace").decode("ascii")
    shown = plain
    while cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0] > width_px:
        plain = plain[:-4]
        shown = plain + " ..."
    return shown
