"""What reports of all kinds share: one HTML page with its style inside, made from a template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def page_bytes(
    package: str,
    views: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
    *,
    own_style: str = "",
) -> bytes:
    """The page.html.jinja of `package`, with the macros and the style of all reports.

    `own_style` is added to that style.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(filters)
    shared = files("ecgvision.report")
    macros = shared.joinpath("macros.html.jinja").read_text("utf-8")
    template = environment.from_string(
        macros + files(package).joinpath("page.html.jinja").read_text("utf-8")
    )
    style = shared.joinpath("style.css").read_text("utf-8") + own_style
    text = template.render(style=Markup(style), **views)  # noqa: S704  # our own
    # Names may hold what no alphabet has; so this is a last resort.
    return text.encode("utf-8", "backslashreplace")
