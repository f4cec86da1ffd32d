"""The core's own answers to the hooks a format leaves out, called after the format's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecgvision.hookspecs import hookimpl

if TYPE_CHECKING:
    from ecgvision.types import Layout, Match, Page, Pixels


@hookimpl(trylast=True)
def detect_layout(page: Page, layouts: Sequence[Layout]) -> Match | None:
    from ecgvision.detect import find_layout  # OpenCV is not loaded before a page is read

    return find_layout(page, layouts)


@hookimpl(trylast=True)
def remove_grid(page: Page, layout: Layout) -> Pixels:
    from ecgvision.grid import ink_of_page

    return ink_of_page(page)
