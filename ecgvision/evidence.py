"""What can be measured on a page before its format is known: rows, edges, bars, names, grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision import grid as grid_module
from ecgvision.grid_seen import find_grid, grid_lines
from ecgvision.ink_rows import THIN_MM, Row, rows_of_ink, thin_runs
from ecgvision.lean import grid_lean_deg, starts_lean_deg
from ecgvision.media.raster import reduced
from ecgvision.media.views import levelled, levelled_pixels, own_pixels, scaled, turned
from ecgvision.ruled import long_bars, without_frame
from ecgvision.strokes import grid_pitch_mm, sorted_strokes, upright_bars
from ecgvision.types import LEADS, Box, Layout, Match, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Fine enough for a 0.3 mm pen, coarse enough to be quick.
MASK_PX_PER_MM = 6.0
_MOST_SKEW_DEG, _DOUBTED_SKEW_DEG, _LEAST_SKEW_DEG = 3.5, 1.5, 0.05
# The rows' beginnings are found again after levelling by them: that many times.
_STARTS_ROUNDS = 2
# A page whose size nobody knows is taken for this wide until its scale is measured.
_GUESSED_WIDTH_MM = 280.0


@dataclass(frozen=True)
class Evidence:
    """What was measured on an upright, level page.

    `page` is the page it was measured on, `scale_from` tells where its size came from (None:
    guessed). `mask` is (H, W) bool, True where there is ink, at `mask_px_per_mm`. `bars_mm` are
    the x of long upright bars, `names` the printed lead names as (lead, x, y) of their middle.
    """

    page: Page
    rotation_deg: float
    quarter_turns: int
    scale_from: str | None
    mask: Bools
    mask_px_per_mm: float
    rows: tuple[Row, ...]
    bars_mm: tuple[float, ...]
    names: tuple[tuple[str, float, float], ...]
    measure_grid_mm: Callable[[], float | None]

    @property
    def grid_mm(self) -> float | None:
        """The pitch of the printed grid, None without one; measured when first asked for."""
        return self.measure_grid_mm()


def gather(page: Page, quarter_turns: int) -> Evidence:
    """Measure the page after turning it; measured once and remembered with the page."""
    key = ("evidence", quarter_turns)
    if key not in page.memo:
        if quarter_turns >= 2:  # upside down: what was measured, seen from the other side
            evidence = _flipped(gather(page, quarter_turns - 2))
        else:
            evidence = _gather(page, quarter_turns)
        page.memo[key] = evidence
        remember_upright(page, evidence)
    found: Evidence = page.memo[key]
    return found


def upright(page: Page, match: Match) -> Page:
    """The page turned, scaled and levelled as the match says: its layout's boxes fit it."""
    key = ("upright", match.quarter_turns, match.rotation_deg, match.page_mm)
    if key not in page.memo:
        view = turned(page, match.quarter_turns) if match.quarter_turns else page
        if view.origin != "vector" and match.page_mm and view.size_mm != match.page_mm:
            view = scaled(view, _width_px(view) / match.page_mm[0])
        if view.origin != "vector":
            view = levelled(view, match.rotation_deg)
        page.memo[key] = view
    found: Page = page.memo[key]
    return found


def remember_upright(page: Page, evidence: Evidence) -> None:
    """Keep the page that was measured, so that `upright` does not turn and level it again."""
    key = ("upright", evidence.quarter_turns, evidence.rotation_deg, evidence.page.size_mm)
    page.memo[key] = evidence.page


def rescaled(evidence: Evidence, factor: float) -> Evidence:
    """The same evidence with all lengths `factor` times as long: for pages of unknown scale."""
    return replace(
        evidence,
        page=_rescaled(evidence.page, 1 / factor),
        scale_from="layout",
        mask_px_per_mm=evidence.mask_px_per_mm / factor,
        rows=tuple(
            replace(
                row,
                baseline_mm=row.baseline_mm * factor,
                left_mm=row.left_mm * factor,
                right_mm=row.right_mm * factor,
            )
            for row in evidence.rows
        ),
        bars_mm=tuple(x * factor for x in evidence.bars_mm),
        names=tuple((lead, x * factor, y * factor) for lead, x, y in evidence.names),
        measure_grid_mm=lambda: evidence.grid_mm and evidence.grid_mm * factor,
    )


def _gather(page: Page, quarter_turns: int) -> Evidence:
    upright = turned(page, quarter_turns) if quarter_turns else page
    sized, scale_from = _sized(upright)
    rotation = 0.0
    pitch: Callable[[], float | None]
    if sized.origin == "vector":
        drawn = grid_module.draw_strokes(sized, MASK_PX_PER_MM, smooth=False)
        mask, scale = drawn < 128, MASK_PX_PER_MM
        pitch = partial(grid_pitch_mm, sorted_strokes(sized).grid)
    else:
        small, scale = _reduced(sized)
        # What was picked of a page is levelled in a third of the time of its three channels.
        ink = grid_module.ink_of_pixels(small, scale)
        light = cv2.bitwise_not(grid_lines(small))
        rotation = _skew_of(ink, light, scale)
        if rotation:
            sized, ink = levelled(sized, rotation), levelled_pixels(ink, rotation)
        mask = ink < 128
        pitch = partial(_pitch_mm, light, rotation, scale, scale_from is not None)
        if scale_from is None and (found := pitch()):
            sized, scale_from = _rescaled(sized, found), "grid"
            scale, pitch = scale * found, lambda: 1.0
        mask = without_frame(mask, scale)
    return Evidence(
        page=sized,
        rotation_deg=rotation,
        quarter_turns=quarter_turns,
        scale_from=scale_from,
        mask=mask,
        mask_px_per_mm=scale,
        rows=rows_of_ink(mask, scale),
        bars_mm=upright_bars(sized) if sized.origin == "vector" else long_bars(mask, scale),
        names=lead_names(sized),
        measure_grid_mm=cache(pitch),
    )


def _pitch_mm(light: Pixels, rotation_deg: float, px_per_mm: float, known: bool) -> float | None:
    """The pitch of the grid in mm, of whatever `px_per_mm` are where they are not `known`."""
    level = levelled_pixels(light, rotation_deg) if rotation_deg else light
    seen = find_grid(level, px_per_mm if known else None)
    return seen.across_px / px_per_mm if seen else None


def _flipped(evidence: Evidence) -> Evidence:
    """The same page turned by half a turn."""
    width_mm, height_mm = evidence.page.known_mm
    return replace(
        evidence,
        page=turned(evidence.page, 2),
        quarter_turns=evidence.quarter_turns + 2,
        mask=evidence.mask[::-1, ::-1],
        rows=tuple(
            replace(
                row,
                baseline_mm=height_mm - row.baseline_mm,
                left_mm=width_mm - row.right_mm,
                right_mm=width_mm - row.left_mm,
            )
            for row in reversed(evidence.rows)
        ),
        bars_mm=tuple(width_mm - x for x in reversed(evidence.bars_mm)),
        names=tuple((lead, width_mm - x, height_mm - y) for lead, x, y in evidence.names),
    )


def _sized(page: Page) -> tuple[Page, str | None]:
    if page.size_mm is not None:
        return page, "image" if page.origin == "image" else "pdf"
    return scaled(page, _width_px(page) / _GUESSED_WIDTH_MM), None


def _width_px(page: Page) -> int:
    if page.size_px is None:
        raise ValueError(f"{page.source.name} page {page.number}: it has no pixels of its own")
    return page.size_px[0]


def _rescaled(page: Page, factor: float) -> Page:
    """The page with `factor` times as many pixels per mm."""
    return scaled(page, page.px_per_mm * factor)


def _reduced(page: Page) -> tuple[Pixels, float]:
    """The page's pixels, by a whole factor smaller, and their px/mm."""
    factor = max(1, round(page.px_per_mm / MASK_PX_PER_MM))
    return reduced(own_pixels(page), factor), page.px_per_mm / factor


def _skew_of(ink: Pixels, light: Pixels, px_per_mm: float) -> float:
    """The page's clockwise skew: by its rows of ink, then by its grid or where its rows begin.

    `ink` is the page without its grid, `light` its light print alone.
    """
    rotation = _skew_deg(ink < 128, px_per_mm)
    lean = grid_lean_deg(levelled_pixels(light, rotation) if rotation else light, px_per_mm)
    if lean is None and abs(rotation) > _DOUBTED_SKEW_DEG:
        # All leads may drift one way by as much, on a page that lies straight.
        lean = grid_lean_deg(light, px_per_mm)
        rotation = rotation if lean is None else 0.0
    if lean is None:
        for _ in range(_STARTS_ROUNDS):
            level = levelled_pixels(ink, rotation) if rotation else ink
            more = _starts_lean_deg(rows_of_ink(level < 128, px_per_mm))
            if more is None or abs(more) < _LEAST_SKEW_DEG:
                break
            rotation += more
        # Where signals lean by degrees, only now the grid is level enough to be seen.
        lean = grid_lean_deg(levelled_pixels(light, rotation), px_per_mm)
    rotation += lean or 0.0
    return rotation if abs(rotation) >= _LEAST_SKEW_DEG else 0.0


def _starts_lean_deg(rows: Sequence[Row]) -> float | None:
    """The lean of where the long rows begin: headers and footers are short."""
    longest = max((row.right_mm - row.left_mm for row in rows), default=0.0)
    long = [row for row in rows if row.right_mm - row.left_mm > longest / 2]
    lefts, levels = ([row.left_mm for row in long], [row.baseline_mm for row in long])
    return starts_lean_deg(np.array(lefts), np.array(levels))


def _skew_deg(mask: Bools, px_per_mm: float) -> float:
    """The clockwise skew at which the rows of ink are sharpest."""
    x, y = thin_runs(mask, THIN_MM * px_per_mm)
    if len(x) < 200:
        return 0.0
    x = x - mask.shape[1] / 2
    best = 0.0
    for span, step in ((_MOST_SKEW_DEG, 0.1), (0.1, 0.01)):
        angles = best + np.arange(-span, span + step / 2, step)
        sharp = [_sharpness(x, y, angle, 0.4 * px_per_mm) for angle in angles]
        best = float(angles[int(np.argmax(sharp))])
    return best if abs(best) >= _LEAST_SKEW_DEG else 0.0


def _sharpness(x: Floats, y: Floats, angle_deg: float, bin_px: float) -> float:
    level = y - x * np.tan(np.radians(angle_deg))
    counts = np.bincount(((level - level.min()) / bin_px).astype(np.int64))
    return float((counts.astype(np.float64) ** 2).sum())


def printed_names(page: Page) -> tuple[tuple[str, Box], ...]:
    """The lead names that are text on the page, with their boxes."""
    spelt = {lead.lower(): lead for lead in LEADS}
    named = ((spelt.get(text.text.strip().lower()), text.box) for text in page.texts)
    return tuple((lead, box) for lead, box in named if lead)


def lead_names(page: Page) -> tuple[tuple[str, float, float], ...]:
    """Printed lead names on the page as (lead, x, y) of the middle of each, in mm."""
    return tuple((lead, *box.centre_mm) for lead, box in printed_names(page))


# A lead's name fills part of this (mm); at least so much of it must be ink (mm2).
_NAME_WIDTH_MM, _NAME_HEIGHT_MM = 6.5, 4.5
_NAME_INK_MM2 = 0.4
# All names together may stand this far from where they are due, as rows do.
_NAME_SHIFTS_MM = ((-2.0, -1.0, 0.0, 1.0, 2.0), (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0))


def names_seen(evidence: Evidence, layout: Layout, places_mm: Sequence[tuple[float, float]]) -> int:
    """In how many of the places (top left corners of lead names) something is printed.

    The places are moved together to where most is found. Baselines are no print.
    """
    scale = evidence.mask_px_per_mm
    ink = evidence.mask.astype(np.uint8)
    for row in layout.rows:
        top = max(0, round((row[0].baseline_mm - 1.2) * scale))
        ink[top : round((row[0].baseline_mm + 1.2) * scale)] = 0
    places = np.array(places_mm)[:, :, None, None]
    across, down = (np.array(shifts) for shifts in _NAME_SHIFTS_MM)
    x, y = np.broadcast_arrays(places[:, 0] - 0.5 + across[:, None], places[:, 1] - 0.8 + down)
    seen = _inked_mm2(cv2.integral(ink), x, y, scale) >= _NAME_INK_MM2
    return int(seen.sum(axis=0).max())


def _inked_mm2(
    total: NDArray[np.int32], left_mm: Floats, top_mm: Floats, px_per_mm: float
) -> Floats:
    """Ink in names' places, of any shape, from the page's summed-up ink."""
    height, width = total.shape
    x0, x1 = (
        np.clip(np.rint(x * px_per_mm).astype(np.int64), 0, width - 1)
        for x in (left_mm, left_mm + _NAME_WIDTH_MM)
    )
    y0, y1 = (
        np.clip(np.rint(y * px_per_mm).astype(np.int64), 0, height - 1)
        for y in (top_mm, top_mm + _NAME_HEIGHT_MM)
    )
    pixels = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return pixels / px_per_mm**2
