"""Draws the report page of any format from its declarations alone, with its truth beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.testing.paper import GridStyle, draw_grid, grid_area, print_area
from ecgvision.testing.synthetic import Ecg
from ecgvision.types import RGB, Box, FormatInfo, Layout, LeadBox

if TYPE_CHECKING:
    from ecgvision.media.canvas import PdfCanvas
    from ecgvision.types import Points

Grid = bool | GridStyle | Literal["dotted", "grey", "black"] | None

SYNTHETIC_PATIENT = (
    "Name: SYNTHETIC, PATIENT",
    "ID: 000000",
    "01-Jan-2000 12:00:00",
    "Not a real recording",
)
"""What stands in a drawn page's header instead of a patient."""

_WHITE: RGB = (255, 255, 255)
_BLACK: RGB = (0, 0, 0)
_NAME_MM = 2.6
_TEXT_MM = 2.3
_LINE_MM = 4.2
_SEPARATOR_MM = 0.3
_SEPARATOR_BEYOND_MM = 5.0


@dataclass(frozen=True, eq=False)
class DrawnPage:
    """A page and what is known of it.

    `layout` is the layout as drawn, offset included.
    """

    pdf: bytes = field(repr=False)
    layout: Layout
    ecg: Ecg = field(repr=False)
    pen_mm: float
    _pen: _Pen = field(repr=False)
    _words: _Print = field(repr=False)

    @cached_property
    def trace_only_pdf(self) -> bytes:
        """Nothing but the traces, in black on white, for `ink_truth`."""
        return _pdf(self.layout, self.ecg, self._pen)

    @cached_property
    def ink_only_pdf(self) -> bytes:
        """All print but no grid and no paper colour, for `paper_truth`."""
        return _pdf(self.layout, self.ecg, self._pen, words=self._words)

    def save(self, path: Path | str) -> Path:
        path = Path(path)
        path.write_bytes(self.pdf)
        return path


@dataclass(frozen=True, slots=True)
class _Pen:
    """How the traces are put on paper; `pieces` is the number of points per path."""

    width_mm: float
    rgb: RGB
    decimals: int
    snap_pt: float | None
    pieces: int | None
    join_rows: bool


@dataclass(frozen=True, slots=True)
class _Print:
    """Everything black on the page but the traces.

    `header` are blocks of lines side by side, which end above `header_ends_mm`.
    """

    header: tuple[tuple[str, ...], ...]
    header_ends_mm: float
    footer: str
    footer_from_mm: float
    pulse_foot_mm: float


def draw_page(
    layout: Layout,
    info: FormatInfo,
    ecg: Ecg,
    *,
    pen_mm: float = 0.3,
    grid: Grid = None,
    offset_mm: tuple[float, float] = (0.0, 0.0),
    patient_text: Sequence[str] = SYNTHETIC_PATIENT,
    header: bool = True,
    footer: bool = True,
    decimals: int = 4,
    snap_pt: float | None = None,
    trace_pieces: int | None = None,
    join_rows: bool = False,
    pulse_foot_mm: float = 0.5,
) -> DrawnPage:
    """The page this format's machine would print of `ecg`, as a vector PDF with text.

    `grid` is drawn as the layout has it, unless told: True or False, a `GridStyle`, or
    "dotted" (the format's colours), "grey" or "black". A layout that leaves it open gets one if
    the format names grid colours. `offset_mm` moves leads, grid, pulses and lead names, not the
    header. `header` holds the format's header text and `patient_text`, `footer` the paper speed
    and gain. Coordinates are written with `decimals` and rounded to multiples of `snap_pt`
    points where given; `trace_pieces` cuts each trace into paths of that many points, which
    share their ends; `join_rows` runs one path through all leads of a row.

    A lead's samples with start_s <= time < stop_s stand at box.left + (time - start_s) * speed
    and baseline - mV * gain. NaN is not drawn, and a recording that ends early leaves the rest
    of its box empty.
    """
    if not pen_mm > 0 or (trace_pieces is not None and trace_pieces < 2):
        raise ValueError(
            "expected a pen over 0 mm and at least 2 points per path, "
            f"found {pen_mm} mm and {trace_pieces}"
        )
    drawn = layout.shifted(*offset_mm)
    style = _grid_style(grid, layout, info)
    pen = _Pen(pen_mm, info.ink_rgb, decimals, snap_pt, trace_pieces, join_rows)
    black = replace(pen, rgb=_BLACK)
    area = print_area(drawn) if style is None else grid_area(drawn)
    words = _Print(
        header=(tuple(patient_text), info.header_text) if header else (),
        header_ends_mm=area.top_mm - 1.0,
        footer=_speed_and_gain(layout) if footer else "",
        footer_from_mm=area.bottom_mm + 1.5,
        pulse_foot_mm=pulse_foot_mm,
    )
    return DrawnPage(
        pdf=_pdf(drawn, ecg, pen, words=words, grid=style, paper_rgb=info.paper_rgb),
        layout=drawn,
        ecg=ecg,
        pen_mm=pen_mm,
        _pen=black,
        _words=words,
    )


def _speed_and_gain(layout: Layout) -> str:
    return f"{layout.speed_mm_per_s:g} mm/s {layout.gain_mm_per_mv:g} mm/mV 0.05-150 Hz"


def _grid_style(grid: Grid, layout: Layout, info: FormatInfo) -> GridStyle | None:
    if grid is None:
        grid = bool(info.grid_rgb) if layout.grid is None else layout.grid
    if isinstance(grid, GridStyle):
        return grid
    if grid == "grey":
        return GridStyle.grey()
    if grid == "black":
        return GridStyle.black()
    return GridStyle.of(info, dotted=grid == "dotted") if grid else None


def _pdf(
    layout: Layout,
    ecg: Ecg,
    pen: _Pen,
    *,
    words: _Print | None = None,
    grid: GridStyle | None = None,
    paper_rgb: RGB = _WHITE,
) -> bytes:
    """The page from the bottom up: paper, grid, print, traces."""
    from ecgvision.media.canvas import PdfCanvas  # the PDF library is not loaded before

    canvas = PdfCanvas(layout.page_mm)
    if paper_rgb != _WHITE:
        canvas.rect(Box(0.0, 0.0, *layout.page_mm), paper_rgb)
    if grid is not None:
        draw_grid(canvas, grid_area(layout), grid)
    if words is not None:
        _draw_words(canvas, layout, words, pen.rgb)
        _draw_pulses(canvas, layout, words, pen)
        _draw_separators(canvas, layout, pen.rgb)
    for row in layout.rows:
        _draw_row(canvas, row, layout, ecg, pen)
    return canvas.tobytes()


def trace_points(lead_box: LeadBox, layout: Layout, ecg: Ecg) -> Points:
    """(n, 2) float64: where the lead's samples stand on the page, in mm; NaN where not known."""
    times_s, signal_mv = ecg.window(lead_box.lead, lead_box.start_s, lead_box.stop_s)
    across = lead_box.box.left_mm + (times_s - lead_box.start_s) * layout.speed_mm_per_s
    down = lead_box.baseline_mm - signal_mv.astype(np.float64) * layout.gain_mm_per_mv
    return np.column_stack([across, down])


def _draw_row(
    canvas: PdfCanvas, row: Sequence[LeadBox], layout: Layout, ecg: Ecg, pen: _Pen
) -> None:
    leads = [trace_points(lead_box, layout, ecg) for lead_box in row]
    if pen.join_rows:
        leads = [np.concatenate(leads)]
    for points in leads:
        for run in _finite_runs(points):
            step = len(run) - 1 if pen.pieces is None else pen.pieces - 1
            for start in range(0, len(run) - 1, step):
                canvas.polyline(
                    run[start : start + step + 1],
                    pen.width_mm,
                    pen.rgb,
                    decimals=pen.decimals,
                    snap_pt=pen.snap_pt,
                )


def _finite_runs(points: Points) -> Iterator[Points]:
    """The stretches between NaNs that have at least two points."""
    known = np.isfinite(points[:, 1])
    cuts = np.flatnonzero(np.diff(known)) + 1
    for run in np.split(np.arange(len(points)), cuts):
        if len(run) > 1 and known[run[0]]:
            yield points[run]


def _draw_pulses(canvas: PdfCanvas, layout: Layout, words: _Print, pen: _Pen) -> None:
    """1 mV up and down before each row, standing on a short foot at either end."""
    if layout.pulse_mm is None:
        return
    left, right = layout.pulse_mm
    foot = min(words.pulse_foot_mm, (right - left) / 4)
    across = [left, left + foot, left + foot, right - foot, right - foot, right]
    for row in layout.rows:
        low = row[0].baseline_mm
        high = low - layout.gain_mm_per_mv
        points = np.column_stack([across, [low, low, high, high, low, low]])
        canvas.polyline(points, pen.width_mm, pen.rgb, decimals=pen.decimals, snap_pt=pen.snap_pt)


def _draw_separators(canvas: PdfCanvas, layout: Layout, rgb: RGB) -> None:
    """One bar between each two columns, along all rows of the twelve leads."""
    if not layout.separators:
        return
    rows = [row for row in layout.rows if not row[0].rhythm_strip]
    top = rows[0][0].baseline_mm - _SEPARATOR_BEYOND_MM
    bottom = rows[-1][0].baseline_mm + _SEPARATOR_BEYOND_MM
    longest = max(rows, key=len)
    for before, after in pairwise(longest):
        x = (before.box.right_mm + after.box.left_mm) / 2
        canvas.line(x, top, x, bottom, _SEPARATOR_MM, rgb)


def _draw_words(canvas: PdfCanvas, layout: Layout, words: _Print, rgb: RGB) -> None:
    """Header above the leads, footer below them, and the lead names."""
    left = max(5.0, print_area(layout).left_mm)
    for text, x, y in _header_places(layout, words, left):
        canvas.text(text, x, y, _TEXT_MM, rgb)
    if words.footer:
        lowest = layout.page_mm[1] - 1.5 * _TEXT_MM
        canvas.text(words.footer, left, min(words.footer_from_mm, lowest), _TEXT_MM, rgb)
    for lead_box in layout.boxes:
        if lead_box.name_mm is not None:
            canvas.text(lead_box.lead, *lead_box.name_mm, _NAME_MM, rgb)


def _header_places(
    layout: Layout, words: _Print, left_mm: float
) -> Iterator[tuple[str, float, float]]:
    """Each header line and its top left corner in mm.

    Lines go down as far as there is room above the leads and on in the next column; a page with
    no room at all gets one line at its very top.
    """
    room_mm = words.header_ends_mm - _LINE_MM
    deep = max(1, int(room_mm / _LINE_MM))
    top = max(1.5, min(_LINE_MM, words.header_ends_mm - deep * _LINE_MM))
    columns = [b[k : k + deep] for b in words.header for k in range(0, len(b), deep)]
    pitch_mm = min(64.0, (layout.page_mm[0] - left_mm - 5.0) / max(1, len(columns)))
    for column, lines in enumerate(columns):
        for line, text in enumerate(lines):
            yield text, left_mm + column * pitch_mm, top + line * _LINE_MM
