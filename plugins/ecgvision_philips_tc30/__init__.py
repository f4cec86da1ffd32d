"""Philips PageWriter TC30: 3x4 and a rhythm strip on a printed grid, US Letter landscape.

No page of this machine is public. All figures are taken from the publication (Boribalburephan
et al., Scientific Reports 14:7523, 2024, its code and figures), in pixels of pages rendered at
300 dpi; the rows' baselines and the rhythm strip are measured on each page, as the publication
gives only where the names stand and where it cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecgvision import FormatInfo, Layout, PublishedStyle, Tile, hookimpl, regular_layout

_PX_PER_MM = 300 / 25.4
_SOURCE = "Boribalburephan et al. 2024, doi 10.1038/s41598-024-58131-6"

# The published area of the page, and how it was cut: four columns of three rows.
_AREA_LEFT_PX, _AREA_TOP_PX = 82, 950
_CUT_LEFT_PX, _CUT_TOP_PX = (0, 740, 1478, 2217), (0, 350, 700)
_CUT_WIDTH_PX, _CUT_HEIGHT_PX = 701, 350
# The left edges of the printed names lie 757 px apart: 2.5 s of paper are 738, so a gap follows.
_NAME_PITCH_PX, _NAME_LEFT_PX, _NAME_TOP_PX, _ROW_PITCH_PX = 757, 13, 46, 354

_ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))


def _published() -> PublishedStyle:
    tiles = tuple(
        Tile(
            left_px=_AREA_LEFT_PX + _CUT_LEFT_PX[column],
            top_px=_AREA_TOP_PX + _CUT_TOP_PX[row],
            width_px=_CUT_WIDTH_PX,
            height_px=_CUT_HEIGHT_PX,
            to_left_px=_CUT_WIDTH_PX * (column // 2),
            to_top_px=_CUT_HEIGHT_PX * (3 * (column % 2) + row),
        )
        for column in range(4)
        for row in range(3)
    )
    return PublishedStyle(_SOURCE, 2 * _CUT_WIDTH_PX, 6 * _CUT_HEIGHT_PX, tiles)


def _layout(name: str, column_pitch_mm: float, column_s: float = 2.5) -> Layout:
    first_mm = (_AREA_TOP_PX + _CUT_HEIGHT_PX / 2) / _PX_PER_MM
    pitch_mm = _ROW_PITCH_PX / _PX_PER_MM
    return regular_layout(
        name,
        page_mm=(279.4, 215.9),
        rows=_ROWS,
        left_mm=_AREA_LEFT_PX / _PX_PER_MM,
        baselines_mm=[first_mm + row * pitch_mm for row in range(3)],
        column_s=column_s,
        column_pitch_mm=column_pitch_mm,
        rhythm=["II"],
        rhythm_baselines_mm=[first_mm + 3 * pitch_mm],
        name_offset_mm=(
            _NAME_LEFT_PX / _PX_PER_MM,
            (_NAME_TOP_PX - _CUT_HEIGHT_PX / 2) / _PX_PER_MM,
        ),
        grid=True,
        published=_published(),
    )


@hookimpl
def format_info() -> FormatInfo:
    return FormatInfo(
        id="philips-tc30",
        aliases=("philips",),
        vendor="Philips",
        model="PageWriter TC30",
        header_text=("PageWriter TC30",),
        grid_rgb=((216, 111, 98), (250, 200, 168), (168, 0, 0)),
        source=f"taken from the publication: {_SOURCE}",
    )


@hookimpl
def lead_layouts() -> Sequence[Layout]:
    return (
        _layout("3x4+1R", _NAME_PITCH_PX / _PX_PER_MM),
        # Exports without gaps: the columns follow each other at 2.5 s of paper.
        _layout("3x4+1R-joined", 62.5),
        # ... and those whose columns fill the names' pitch: a little more than 2.5 s of each lead.
        _layout("3x4+1R-wide", _NAME_PITCH_PX / _PX_PER_MM, _NAME_PITCH_PX / _PX_PER_MM / 25),
    )
