"""GE MAC 1200: 6x2 without a grid or rhythm strip, US Letter landscape.

No page of this machine is public. All figures are taken from the publication (Boribalburephan
et al., Scientific Reports 14:7523, 2024, its code and figures), in pixels of pages rendered at
300 dpi.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecgvision import FormatInfo, Layout, PublishedStyle, Tile, hookimpl, regular_layout

_PX_PER_MM = 300 / 25.4
_SOURCE = "Boribalburephan et al. 2024, doi 10.1038/s41598-024-58131-6"

# The area cut for images, and the windows of 3 to 4 beats taken from it.
_IMAGE_LEFT_PX, _IMAGE_TOP_PX, _IMAGE_WIDTH_PX, _IMAGE_HEIGHT_PX = 180, 280, 2820, 1320
_WINDOWS_PX = ((0, 800), (1470, 2200))
# The area read for signals, and where names and columns stand in it.
_SIGNAL_LEFT_PX, _SIGNAL_TOP_PX = 176, 258
_NAME_LEFT_PX, _NAME_TOP_PX, _ROW_PITCH_PX, _COLUMN_PITCH_PX = 8, 26, 219, 1472


@hookimpl
def format_info() -> FormatInfo:
    return FormatInfo(
        id="ge-mac1200",
        aliases=("ge",),
        vendor="GE",
        model="MAC 1200",
        header_text=("MAC 1200",),
        source=f"taken from the publication: {_SOURCE}",
    )


@hookimpl
def lead_layouts() -> Sequence[Layout]:
    first_mm = (_IMAGE_TOP_PX + _IMAGE_HEIGHT_PX / 12) / _PX_PER_MM
    pitch_mm = _ROW_PITCH_PX / _PX_PER_MM
    name_top_mm = (_SIGNAL_TOP_PX + _NAME_TOP_PX) / _PX_PER_MM
    layout = regular_layout(
        "6x2",
        page_mm=(279.4, 215.9),
        rows=[
            ("I", "V1"),
            ("II", "V2"),
            ("III", "V3"),
            ("aVR", "V4"),
            ("aVL", "V5"),
            ("aVF", "V6"),
        ],
        left_mm=_SIGNAL_LEFT_PX / _PX_PER_MM,
        baselines_mm=[first_mm + row * pitch_mm for row in range(6)],
        column_s=5.0,
        column_pitch_mm=_COLUMN_PITCH_PX / _PX_PER_MM,
        name_offset_mm=(_NAME_LEFT_PX / _PX_PER_MM, name_top_mm - first_mm),
        grid=False,
        published=PublishedStyle(
            _SOURCE,
            _IMAGE_WIDTH_PX,
            _IMAGE_HEIGHT_PX,
            (Tile(_IMAGE_LEFT_PX, _IMAGE_TOP_PX, _IMAGE_WIDTH_PX, _IMAGE_HEIGHT_PX, 0, 0),),
            windows_px=_WINDOWS_PX,
        ),
    )
    return (layout,)
