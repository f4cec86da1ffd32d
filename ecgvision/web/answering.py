"""A model's answers to a page, as the browser is told them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ecgvision.web.shapes import ModelAbout

if TYPE_CHECKING:
    from ecgvision.result import Conversion


def about_model(name: str | None) -> ModelAbout | None:
    return None


def answered(
    name: str | None,
    page: Conversion,
    clinical: Mapping[str, float],
    files: dict[str, bytes] | None,
) -> dict[str, Any]:
    return {}
