"""A first layout from one sample page, or what could not be found on it.

Rows come from the ink, columns from the ends of strokes, from upright bars or from gaps that all
rows share, names from the page's text. What the page does not say is presumed and said to be;
what cannot be presumed safely leaves the proposal without a layout. Nothing of the page's text
but lead names, paper speed and gain is used or kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.calibration.text import printed_scale
from ecgvision.detect import GOOD_SCORE, find_layout
from ecgvision.errors import LayoutError
from ecgvision.evidence import Evidence, gather, rescaled
from ecgvision.grid import brightest_channel
from ecgvision.grid_seen import find_grid
from ecgvision.layout_file import to_toml, with_rhythm_s
from ecgvision.layouts import regular_layout
from ecgvision.strokes import sorted_strokes, trace_strokes
from ecgvision.survey.arrangement import (
    Arrangement,
    NotFoundError,
    Pulse,
    printed_names,
    split,
    stroke_arrangement,
)
from ecgvision.survey.ink_arrangement import ink_arrangement
from ecgvision.types import LEADS, FormatInfo, Layout, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

FORMAT_ID = "my-machine"
"""The id of a proposed format, to be changed by hand: the page's own words stay on the page."""

_USUAL: dict[tuple[int, int], tuple[tuple[str, ...], ...]] = {
    (3, 4): (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")),
    (6, 2): (("I", "V1"), ("II", "V2"), ("III", "V3"), ("aVR", "V4"), ("aVL", "V5"), ("aVF", "V6")),
    (12, 1): tuple((lead,) for lead in LEADS),
}
_USUAL_STRIPS: dict[int, tuple[str, ...]] = {
    1: ("II",),
    2: ("II", "V1"),
    3: ("V1", "II", "V5"),
}
_USUAL_SPEED, _USUAL_GAIN = 25.0, 10.0

# A trace may end this much before the next one begins though its samples go on: the interval
# between the last sample and the next is not drawn.
_SAMPLE_GAP_MM = 0.8


@dataclass(frozen=True)
class Proposal:
    """A format with one layout, or with None where too little was found to be right.

    `found` says what was measured, `missing` what was not found: presumed where the layout is
    there, and the reason where it is not.
    """

    info: FormatInfo
    layout: Layout | None
    found: tuple[str, ...]
    missing: tuple[str, ...]

    def to_toml(self) -> str:
        """The proposal as a layout file. Raises `LayoutError` where there is no layout."""
        if self.layout is None:
            raise LayoutError(f"no layout could be proposed: {'; '.join(self.missing)}")
        notes = [
            "Proposed from one sample page. Look at `ecgvision formats check`, then correct it.",
            *(f"found: {note}" for note in self.found),
            *(f"to be checked: {note}" for note in self.missing),
        ]
        return to_toml(self.info, [self.layout], notes)


@dataclass
class _Log:
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def propose_layout(page: Page) -> Proposal:
    """A layout for pages like this one, measured on it as it lies or turned by a quarter."""
    upright = _propose(page, 0)
    if upright.layout is not None:
        return upright
    turned = (_propose(page, turns) for turns in (1, 3))
    return next((proposal for proposal in turned if proposal.layout is not None), upright)


def _propose(page: Page, turns: int) -> Proposal:
    log = _Log()
    info = FormatInfo(FORMAT_ID)
    layout = None
    try:
        evidence = gather(page, turns)
        info = _info(evidence.page)
        evidence, plan = _scaled(evidence, log)
        if turns and plan.pulse is None and not evidence.names:
            raise NotFoundError(
                "which way up the page is: it has neither lead names nor a calibration pulse"
            )
        layout = _checked(page, _layout(evidence, plan, log))
    except NotFoundError as error:
        log.missing.append(str(error))
    except LayoutError as error:
        log.missing.append(f"a possible layout: {error}")
    return Proposal(info, layout, tuple(log.found), tuple(log.missing))


def _checked(page: Page, layout: Layout) -> Layout:
    """The layout, if it is found again on the page that it was measured on."""
    match = find_layout(page, [layout])
    if match is None or match.score < GOOD_SCORE:
        why = f": {'; '.join(match.evidence)}" if match else ""
        raise NotFoundError(f"the proposed layout on its own page{why}")
    return layout


def _scaled(evidence: Evidence, log: _Log) -> tuple[Evidence, Arrangement]:
    """The evidence and the arrangement of the leads in it, in true mm."""
    plan = _arrangement(evidence)
    if evidence.scale_from is not None:
        what = {"pdf": "the PDF", "image": "the image's resolution", "grid": "the grid"}
        log.found.append(f"scale: from {what.get(evidence.scale_from, evidence.scale_from)}")
        return evidence, plan
    if plan.pulse is None:
        raise NotFoundError("the scale: no resolution, no grid and no calibration pulse")
    # The image has no resolution: a pulse is 1 mV, nearly always drawn 10 mm high.
    evidence = rescaled(evidence, _USUAL_GAIN / plan.pulse.height_mm)
    log.missing.append("the scale: presumed from a calibration pulse 10 mm high")
    return evidence, _arrangement(evidence)


def _arrangement(evidence: Evidence) -> Arrangement:
    if evidence.page.origin == "vector":
        plan = stroke_arrangement(evidence)
        if plan is not None:
            return plan
    return ink_arrangement(evidence)


# --- from the plan to a layout ----------------------------------------------------------------


def _layout(evidence: Evidence, plan: Arrangement, log: _Log) -> Layout:
    twelve = len(plan.baselines_mm) - plan.strips
    name = f"{twelve}x{len(plan.starts_mm)}" + (f"+{plan.strips}R" if plan.strips else "")
    log.found.append(
        f"{name}: rows at {', '.join(f'{y:.1f}' for y in plan.baselines_mm)} mm, columns at "
        f"{', '.join(f'{x:.1f}' for x in plan.starts_mm)} mm from {plan.columns_from}"
    )
    rows, strips, name_offset = _leads(evidence, plan, log)
    speed, gain = _speed_and_gain(evidence.page, plan.pulse, log)
    digits = 2 if evidence.page.origin == "vector" else 1
    numbers = _column_numbers(plan, speed, vector=digits == 2)
    baselines = [round(y, digits) for y in plan.baselines_mm]
    width, height = evidence.page.size_mm or (0.0, 0.0)
    pulse = plan.pulse and (round(plan.pulse.left_mm, digits), round(plan.pulse.right_mm, digits))
    layout = regular_layout(
        name,
        page_mm=(round(width, 2), round(height, 2)),
        rows=rows,
        left_mm=round(plan.starts_mm[0], digits),
        baselines_mm=baselines[:twelve],
        rhythm=strips,
        rhythm_baselines_mm=baselines[twelve:],
        name_offset_mm=name_offset,
        speed_mm_per_s=speed,
        gain_mm_per_mv=gain,
        grid=_has_grid(evidence, log),
        pulse_mm=pulse,
        separators=plan.separators,
        **numbers,
    )
    due_mm = len(plan.starts_mm) * numbers["column_s"] * speed
    if plan.strip_mm is not None and abs(plan.strip_mm - due_mm) > 0.5:
        layout = with_rhythm_s(layout, round(plan.strip_mm / speed, 2))
    return layout


def _column_numbers(plan: Arrangement, speed: float, *, vector: bool) -> dict[str, float]:
    """Seconds per column, and the columns' distance where it is not just that."""
    width = plan.column_mm
    pitch = width
    if len(plan.starts_mm) > 1:
        pitch = (plan.starts_mm[-1] - plan.starts_mm[0]) / (len(plan.starts_mm) - 1)
    seconds = (width if pitch - width > _SAMPLE_GAP_MM else pitch) / speed
    # Pixels are no finer than this, and machines print round numbers of seconds.
    near = round(seconds / 0.05) * 0.05
    exact = not vector and abs(near - seconds) < 0.012 * seconds
    seconds = round(near if exact else seconds, 2)
    numbers = {"column_s": seconds}
    if len(plan.starts_mm) > 1 and abs(pitch - seconds * speed) > 0.005:
        numbers["column_pitch_mm"] = round(pitch, 3 if vector else 2)
    return numbers


def _leads(
    evidence: Evidence, plan: Arrangement, log: _Log
) -> tuple[Sequence[Sequence[str]], Sequence[str], tuple[float, float] | None]:
    """(rows of leads, rhythm strips, where a name stands): as printed, else as is usual."""
    columns = len(plan.starts_mm)
    twelve = len(plan.baselines_mm) - plan.strips
    cells, offset = _printed(evidence, plan)
    usual = _USUAL.get((twelve, columns))
    printed = [[cells.get((row, column)) for column in range(columns)] for row in range(twelve)]
    flat = [lead for row in printed for lead in row]
    if len(set(flat)) == len(flat) and None not in flat:
        log.found.append("lead names: printed on the page")
        rows: Sequence[Sequence[str]] = [[lead for lead in row if lead] for row in printed]
    elif usual is None:
        raise NotFoundError(f"lead names: {twelve} rows of {columns} are no usual arrangement")
    elif any(
        lead not in (None, usual[row][column])
        for row, leads in enumerate(printed)
        for column, lead in enumerate(leads)
    ):
        raise NotFoundError("all lead names: those that are printed are not in the usual order")
    else:
        rows = usual
        log.missing.append(f"lead names: presumed, the usual ones of {twelve} x {columns}")
    strips = [cells.get((twelve + n, 0)) for n in range(plan.strips)]
    if None in strips:
        if plan.strips not in _USUAL_STRIPS:
            raise NotFoundError(f"which leads the {plan.strips} rhythm strips are")
        presumed = _USUAL_STRIPS[plan.strips]
        strips = [lead or presumed[n] for n, lead in enumerate(strips)]
        log.missing.append(f"the rhythm strips' leads: presumed {', '.join(presumed)}")
    return rows, [lead for lead in strips if lead], offset


def _printed(
    evidence: Evidence, plan: Arrangement
) -> tuple[dict[tuple[int, int], str], tuple[float, float] | None]:
    """The lead names by (row, column), and where they stand from column start and baseline.

    Names stand above or below their baselines, sometimes nearer to the next row's: they are
    taken row by row in order, and only if all rows agree on the distance.
    """
    levels = plan.baselines_mm
    pitch = min((b - a for a, b in pairwise(levels)), default=30.0)
    area = (levels[0] - pitch, levels[-1] + pitch)
    names = [
        (lead, box)
        for lead, box in printed_names(evidence.page)
        if area[0] < box.top_mm < area[1] and box.left_mm > plan.starts_mm[0] - 3.0
    ]
    tops = split((box.top_mm for _, box in names), 0.3 * pitch)
    if len(tops) not in (len(levels), len(levels) - plan.strips):
        return {}, None
    shifts = [median(group) - level for group, level in zip(tops, levels, strict=False)]
    if max(shifts) - min(shifts) > 0.25 * pitch:
        return {}, None
    cells: dict[tuple[int, int], str] = {}
    across = []
    for lead, box in names:
        row = next(n for n, group in enumerate(tops) if box.top_mm in group)
        column = sum(box.centre_mm[0] >= start for start in plan.starts_mm) - 1
        if (row, column) in cells:
            return {}, None  # other words that read like lead names stand among them
        cells[row, column] = lead
        across.append(box.left_mm - plan.starts_mm[column])
    if max(across) - min(across) > 2.0 or max(shifts) - min(shifts) > 2.0:
        return cells, None
    return cells, (round(median(across), 1), round(median(shifts), 1))


def _speed_and_gain(page: Page, pulse: Pulse | None, log: _Log) -> tuple[float, float]:
    printed = printed_scale(page.texts)
    speed = _one_number(printed.speeds_mm_per_s, "paper speed", "mm/s", log)
    gain = _one_number(printed.gains_mm_per_mv, "gain", "mm/mV", log)
    if speed is None:
        speed = _USUAL_SPEED
        log.missing.append(f"the paper speed: presumed {speed:g} mm/s")
    measured = None
    if pulse is not None:
        log.found.append(
            f"calibration pulse at {pulse.left_mm:.1f} to {pulse.right_mm:.1f} mm, "
            f"{pulse.height_mm:.1f} mm high"
        )
        near = min((5.0, 10.0, 20.0), key=lambda g: abs(g - pulse.height_mm))
        measured = near if abs(near - pulse.height_mm) < 0.08 * near else None
    if gain is None:
        gain = measured or _USUAL_GAIN
        how = "taken from the calibration pulse" if measured else "presumed"
        (log.found if measured else log.missing).append(f"the gain: {how}, {gain:g} mm/mV")
    elif measured and measured != gain:
        log.missing.append(f"one gain: {gain:g} mm/mV is printed, the pulse shows {measured:g}")
    return speed, gain


def _one_number(values: Sequence[float], what: str, unit: str, log: _Log) -> float | None:
    """The number that the page prints, the first one where it prints several."""
    if not values:
        return None
    shown = " and ".join(f"{value:g}" for value in values)
    if len(values) > 1:
        log.missing.append(f"one {what}: {shown} {unit} are printed, {values[0]:g} is taken")
    else:
        log.found.append(f"{what}: printed, {shown} {unit}")
    return values[0]


def _has_grid(evidence: Evidence, log: _Log) -> bool | None:
    """Whether the page has a grid; None where a page of pixels does not tell."""
    page = evidence.page
    if evidence.grid_mm is not None:
        seen: bool | None = True
    elif page.origin == "vector":
        seen = False
    else:
        pixels = page.pixels()
        has_one = find_grid(pixels, page.px_per_mm if evidence.scale_from else None) is not None
        seen = True if has_one else (False if _plain(pixels, page.px_per_mm) else None)
    if seen is None:
        log.missing.append("a grid's pitch, though the paper is not plain: either is accepted")
    else:
        log.found.append("a grid" if seen else "no grid")
    return seen


def _plain(pixels: Pixels, px_per_mm: float) -> bool:
    """Whether the paper away from all print is white all over."""
    dark = pixels if pixels.ndim == 2 else pixels.min(axis=2)
    print_ = (brightest_channel(pixels) < 128).astype(np.uint8)
    reach = 2 * round(px_per_mm) + 1
    away = cv2.dilate(print_, np.ones((reach, reach), np.uint8)) == 0
    return bool(away.any()) and float((dark[away] < 235).mean()) < 0.002


def _info(page: Page) -> FormatInfo:
    """The looks of a vector page's lines; colours of pixels are not worth keeping."""
    colours = [s.rgb for s in trace_strokes(page) if len(s.points_mm) > 5]
    grid = Counter(stroke.rgb for stroke in sorted_strokes(page).grid)
    return FormatInfo(
        FORMAT_ID,
        ink_rgb=Counter(colours).most_common(1)[0][0] if colours else (0, 0, 0),
        grid_rgb=tuple(rgb for rgb, _ in grid.most_common(3)),
    )
