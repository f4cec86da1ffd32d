"""The hooks: four of a format, two of them required and two with defaults, and one of models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ecgvision.types import FormatInfo, Layout, Match, Page, Pixels

hookspec = pluggy.HookspecMarker("ecgvision")
hookimpl = pluggy.HookimplMarker("ecgvision")


@hookspec(firstresult=True)
def format_info() -> FormatInfo:  # type: ignore[empty-body]
    """Names, machine and colours of the format. Required."""


@hookspec(firstresult=True)
def lead_layouts() -> Sequence[Layout]:  # type: ignore[empty-body]
    """The layouts the machine prints: lead positions in mm on the page. Required."""


@hookspec(firstresult=True)
def detect_layout(page: Page, layouts: Sequence[Layout]) -> Match | None:
    """The layout found on the page and where it lies, or None to leave it to the default."""


@hookspec(firstresult=True)
def remove_grid(page: Page, layout: Layout) -> Pixels:  # type: ignore[empty-body]
    """(H, W) uint8 of the whole page at its own px/mm, 0 ink and 255 paper, grid gone."""


@hookspec
def ecgvision_models() -> Iterable[str | Path]:  # type: ignore[empty-body]
    """The paths of `model.toml` files, each with its card and its files beside it."""
