"""GE MUSE: vector PDF, 3x4 with no, one or three rhythm strips on a grid, US Letter.

The page with three strips is measured on a real export. For the others only the columns are
known; their rows are taken to be spread evenly over the grid, and are measured on each page.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecgvision import FormatInfo, Layout, hookimpl, regular_layout

_ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_GRID_TOP_MM, _GRID_BOTTOM_MM = 58.4, 199.4
_MM_PER_POINT = 25.4 / 72


@hookimpl
def format_info() -> FormatInfo:
    return FormatInfo(
        id="ge-muse",
        aliases=("muse",),
        vendor="GE",
        model="MUSE",
        header_text=("12SL", "Vent. rate", "CID:"),
        grid_rgb=((254, 163, 172), (255, 214, 223)),
        source="measured on a public example export of a fictitious patient",
    )


def _layout(name: str, strips: Sequence[str], baselines_mm: Sequence[float]) -> Layout:
    return regular_layout(
        name,
        page_mm=(279.4, 215.9),
        rows=_ROWS,
        left_mm=30.618 * _MM_PER_POINT,
        # 1,238 samples of 2 ms are drawn of each lead: 2.474 s, then a gap of two samples' width.
        column_s=2.5,
        column_pitch_mm=177.1875 * _MM_PER_POINT,
        baselines_mm=baselines_mm[:3],
        rhythm=strips,
        rhythm_baselines_mm=baselines_mm[3:],
        name_offset_mm=(0.0, 3.0),
        pulse_mm=(4.5, 10.4),
        grid=True,
    )


def _even(rows: int) -> list[float]:
    pitch_mm = (_GRID_BOTTOM_MM - _GRID_TOP_MM) / rows
    return [_GRID_TOP_MM + pitch_mm * (row + 0.5) for row in range(rows)]


@hookimpl
def lead_layouts() -> Sequence[Layout]:
    measured_mm = [67.30 + 24.653 * row for row in range(6)]
    return (
        _layout("3x4+3R", ("V1", "II", "V5"), measured_mm),
        _layout("3x4+1R", ("II",), _even(4)),
        _layout("3x4", (), _even(3)),
    )
