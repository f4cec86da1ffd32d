"""Where other print than lines is due: the leads' names."""

from __future__ import annotations

from collections.abc import Iterable

from ecgvision.types import Box, LeadBox

NAME_OFF_MM = 0.5
"""So far up and down may letters stand out of where they are due."""


def name_boxes(boxes: Iterable[LeadBox]) -> list[Box]:
    """Where the leads' names are printed: letters up to 3 mm high, and a little around them."""
    return [
        Box(b.name_mm[0] - 0.7, b.name_mm[1] - 0.8, b.name_mm[0] + 8, b.name_mm[1] + 3.8)
        for b in boxes
        if b.name_mm
    ]
