"""Which formats to try on a page, and which of them it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgvision.detect import GOOD_SCORE, with_header
from ecgvision.errors import NoMatchError, PageError, UsageError
from ecgvision.plugins import Format, Formats, load_formats
from ecgvision.types import Layout, Match, Notice, Page

AUTO = "auto"
CUSTOM = "custom"
# Two formats this close on one page cannot be told apart.
_AMBIGUOUS = 0.06


def choose_formats(
    name: str, layout: str | Path | None = None, installed: Formats | None = None
) -> Sequence[Format]:
    """The formats to try: one by name, or all of them for "auto". Raises `UsageError`.

    `installed` are the formats as `load_formats` gives them, which is called where there are none.
    """
    if name.lower() == CUSTOM:
        if layout is None:
            raise UsageError("format 'custom' needs a layout file: --layout acme.toml")
        from ecgvision.layout_file import load_layout_file  # pydantic is loaded for this alone

        return [load_layout_file(Path(layout))]
    if layout is not None:
        raise UsageError(f"--layout goes with --format custom, not with {name!r}")
    known = installed or load_formats()
    return known.formats if name.lower() == AUTO else [known.find(name)]


@dataclass(frozen=True, slots=True)
class Recognised:
    """The format and layout of a page, and what must be said of formats that broke on it."""

    format: Format
    match: Match
    notices: tuple[Notice, ...] = ()

    @property
    def declared(self) -> Layout | None:
        """The layout as the format declares it; None where a plugin matched one of its own."""
        name = self.match.layout.name
        return next((one for one in self.format.layouts if one.name == name), None)


def recognise(page: Page, formats: Sequence[Format]) -> Recognised:
    """What a page is. Raises `NoMatchError` where no format, or two, are good enough.

    A format that fails on the page does not keep the others from it: it is named in a notice.
    """
    tried: list[tuple[float, Format, Match]] = []
    others: dict[str, str] = {}
    notices: list[Notice] = []
    for candidate in formats:
        name = candidate.info.id
        try:
            match = candidate.detect(page)
        except PageError:
            raise
        except Exception as error:  # a plugin's hook may raise anything
            if len(formats) == 1:
                raise
            others[name] = f"its plugin broke with {type(error).__name__}"
            notices.append(Notice("plugin-broken", f"format {name} broke on this page"))
            continue
        if match is None:
            others[name] = "nothing like it"
            continue
        match = with_header(match, candidate.info, page)
        tried.append((match.score, candidate, match))
    tried.sort(key=lambda one: -one[0])
    good = [one for one in tried if one[0] >= GOOD_SCORE]
    if not good:
        raise _no_match(page, tried, others)
    if len(good) > 1 and good[0][0] - good[1][0] < _AMBIGUOUS:
        raise NoMatchError(
            "format-ambiguous",
            page.source,
            page.number,
            expected="a page of one format",
            found=" and ".join(f"{f.info.id} ({score:.2f})" for score, f, _ in good[:2]),
            hint="name the format with --format",
        )
    return Recognised(good[0][1], good[0][2], tuple(notices))


def _no_match(
    page: Page, tried: Sequence[tuple[float, Format, Match]], others: Mapping[str, str]
) -> NoMatchError:
    details = [f"{f.info.id} {m.layout.name}: {'; '.join(m.evidence)}" for _, f, m in tried]
    details += [f"{name}: {reason}" for name, reason in others.items()]
    names = [f.info.id for _, f, _ in tried] + list(others)
    return NoMatchError(
        "format-not-found",
        page.source,
        page.number,
        expected=f"a page of {' or '.join(names)}",
        found=" | ".join(details),
        hint="see `ecgvision inspect` and `ecgvision formats propose` for other machines",
    )
