"""EDAN SE-3: 6x2 or 3x4, with or without a rhythm strip, upright bars between the columns.

Measured on 16 real pages (281 x 199.6 mm at 200 dpi). The machine moves single rows to make room
for tall complexes, so a row may lie up to 12 mm from the places given here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecgvision import Box, FormatInfo, Layout, hookimpl, regular_layout

_SIX = (("I", "V1"), ("II", "V2"), ("III", "V3"), ("aVR", "V4"), ("aVL", "V5"), ("aVF", "V6"))
_THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
# Technician, physician and confirmation stand here, in the way of tall complexes of the first row.
_HEADER = Box(194.0, 22.0, 262.0, 34.5)


@hookimpl
def format_info() -> FormatInfo:
    return FormatInfo(
        id="edan-se3",
        aliases=("edan",),
        vendor="EDAN",
        model="SE-3",
        header_text=("ECG REPORT", "SE-3"),
        grid_rgb=((248, 160, 168), (232, 200, 200)),
        source="measured on 16 public pages of the machine",
    )


def _layout(
    name: str, rows: Sequence[Sequence[str]], baselines_mm: Sequence[float], strip: bool
) -> Layout:
    return regular_layout(
        name,
        page_mm=(281.05, 199.64),
        rows=rows,
        left_mm=19.4,
        baselines_mm=baselines_mm[: len(rows)],
        column_s=10.0 / len(rows[0]),
        rhythm=["II"] if strip else [],
        rhythm_baselines_mm=baselines_mm[len(rows) :],
        name_offset_mm=(0.3, -3.4),
        pulse_mm=(12.1, 16.8),
        separators=True,
        row_slack_mm=12.0,
        clear=(_HEADER,),
    )


@hookimpl
def lead_layouts() -> Sequence[Layout]:
    return (
        _layout("6x2+1R", _SIX, [50.7 + 21.85 * row for row in range(7)], True),
        _layout("6x2", _SIX, [65.2 + 23.5 * row for row in range(6)], False),
        _layout("3x4+1R", _THREE, [58.9 + 38.27 * row for row in range(4)], True),
        _layout("3x4", _THREE, [58.9 + 51.0 * row for row in range(3)], False),
    )
