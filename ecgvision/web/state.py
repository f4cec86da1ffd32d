"""What the requests of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecgvision import __version__
from ecgvision.errors import UsageError
from ecgvision.plugins import Formats, load_formats
from ecgvision.web.errors import WebError
from ecgvision.web.settings import NOTICE, RISK_HIGH, RISK_LOW, Settings
from ecgvision.web.shapes import About, Ceilings, FormatAbout, ModelAbout
from ecgvision.web.uploads import Uploads

if TYPE_CHECKING:
    from ecgvision.plugins import Format


@dataclass
class Shared:
    """Settings, uploads, and what is looked up once."""

    settings: Settings
    uploads: Uploads
    model: ModelAbout | None
    formats: Formats = field(default_factory=load_formats)
    _drawing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ready_model(self) -> str | None:
        """The model to ask; None where there is none, or it has no weights."""
        return self.settings.model if self.model is not None and self.model.ready else None

    async def drawn(self, draw: Callable[..., bytes], *arguments: Any) -> bytes:
        """What `draw` gives, beside the event loop; one at a time, as the PDF library wants it."""
        async with self._drawing:
            return await asyncio.to_thread(draw, *arguments)

    def about(self) -> About:
        limits = self.settings.limits
        return About(
            version=__version__,
            notice=NOTICE,
            model=self.model,
            formats=[_about(one) for one in self.formats.formats],
            risk_low=RISK_LOW,
            risk_high=RISK_HIGH,
            limits=Ceilings(
                upload_bytes=limits.upload_bytes,
                pages=limits.pages,
                page_s=limits.page_s,
                keep_s=limits.keep_s,
            ),
        )

    def format_id(self, name: str) -> str:
        """The id of a format by its name, or "auto"; raises `WebError`."""
        if name.lower() == "auto":
            return "auto"
        try:
            return self.formats.find(name).info.id
        except UsageError as error:
            raise WebError(422, "format-unknown", str(error), "see /api/about") from None

    def clinical(self, text: str) -> dict[str, float]:
        """The clinical features in "age_years=67,sex=1"; raises `WebError`."""
        known = [] if self.model is None else self.model.clinical
        found: dict[str, float] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            name, _, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = float("nan")
            if name not in known or not abs(number) < 1e6:  # also for NaN
                takes = ", ".join(known) or "no clinical features"
                raise WebError(
                    422,
                    "clinical-unknown",
                    f"expected NAME=NUMBER of {takes}, found {part!r}",
                    "leave it out, or write it as age_years=67",
                )
            found[name] = number
        return found


def _about(one: Format) -> FormatAbout:
    return FormatAbout(
        id=one.info.id,
        vendor=one.info.vendor,
        model=one.info.model,
        layouts=[layout.name for layout in one.layouts],
    )
