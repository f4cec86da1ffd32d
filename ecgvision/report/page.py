"""The report as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from ecgvision.report import charts
from ecgvision.report.figures import Example, Figures, Outcomes, Reason
from ecgvision.report.html import page_bytes
from ecgvision.report.reasons import QUALITY, Words, explained
from ecgvision.report.throughput import Spell
from ecgvision.report.thumbnails import NOT_FOUND, Thumbnail
from ecgvision.report.wording import duration, number, rate, share, size

MARK = b'<meta name="generator" content="ecgvision report">'
"""Stands within the first bytes of every report, so that a report may replace a report."""

_MOST_ROWS = 40
_MOST_YEARS = 60
_VERDICTS = {
    "good": "good",
    "doubtful": "doubtful",
    "refused": "refused",
    "": "signals not read",
}
_ORIGINS = {
    "vector": "PDF drawn by lines",
    "scan": "PDF with a scanned page",
    "image": "image file",
    "rendered": "PDF, taken by its pixels",
    "raster": "image or scan",
    "": "not known",
}
_SCALE_SOURCES = {
    "text": "printed text",
    "grid": "grid",
    "pulse": "calibration pulse",
    "layout": "the format's layout",
    "given": "--speed or --gain",
    "": "not known",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: its words, what was counted, its share of a whole, a bar of it."""

    label: str
    number: int
    share: str
    bar: Markup
    detail: str = ""
    code: str = ""
    outcomes: Outcomes | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A reason, explained, with its examples and their pictures."""

    code: str
    words: Words
    line: Line
    examples: Sequence[tuple[Example, Thumbnail | None]]

    @property
    def pictures(self) -> Sequence[tuple[Example, Thumbnail]]:
        return [(example, one) for example, one in self.examples if one and one.png]


def page(
    name: str,
    figures: Figures,
    pictures: Mapping[str, Mapping[Example, Thumbnail]],
    remarks: Sequence[str],
) -> bytes:
    """The HTML for the run of the folder `name`; `pictures` are by reason code and example.

    Nothing in `pictures` says that none were asked for.
    """
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "duration": duration,
        "rate": rate,
        "size": size,
        "clock": charts.clock,
        "data_url": _data_url,
        "commands": _commands,
    }
    views = {
        "name": name,
        "mark": Markup(MARK.decode()),  # noqa: S704  # our own
        "figures": figures,
        "remarks": remarks,
        **_views(figures, pictures),
    }
    return page_bytes("ecgvision.report", views, filters)


def _views(figures: Figures, pictures: Mapping[str, Mapping[Example, Thumbnail]]) -> dict[str, Any]:
    known = _years(figures.years)
    undated = figures.years.get(None)
    spells = [spell for stretch in figures.throughput.stretches for spell in stretch]
    return {
        "statuses": _statuses(figures),
        "whole_bar": charts.bar(figures.pages, figures.pages.total),
        "cases": _cases(figures, pictures),
        "illustrated": bool(pictures),
        "unfound": any(one.why == NOT_FOUND for some in pictures.values() for one in some.values()),
        "verdicts": _verdicts(figures),
        "findings": _coded(figures.findings, figures.pages.total),
        "warnings": _coded(figures.warnings, figures.pages.total),
        "formats": _by_outcome(
            [
                (f"{form}, {layout}" if form or layout else "none found", one)
                for (form, layout), one in figures.formats.items()
            ]
        ),
        "origins": _by_outcome(
            [(_ORIGINS.get(origin, origin), one) for origin, one in figures.origins.items()]
        ),
        "years": known,
        "undated": undated.total if undated else 0,
        "years_chart": charts.years_chart(known),
        "spells": spells,
        "fastest": max(spells, key=_speed, default=None),
        "throughput_chart": charts.throughput_chart(figures.throughput),
        "scale_sources": _scales(figures.scale_sources),
        "speeds": _values(figures.speeds, "mm/s"),
        "gains": _values(figures.gains, "mm/mV"),
    }


def _years(years: Mapping[int | None, Outcomes]) -> list[tuple[str, Outcomes]]:
    """Every year from the first to the last, unless one of them is far off, as a wrong clock is."""
    known = [year for year in years if year is not None]
    if known and known[-1] - known[0] <= _MOST_YEARS:
        known = list(range(known[0], known[-1] + 1))
    return [(str(year), years.get(year, Outcomes())) for year in known]


def _speed(spell: Spell) -> float:
    return spell.pages_per_s


def _statuses(figures: Figures) -> list[tuple[str, str, int, str, int]]:
    """Status, what it means, pages, share, files."""
    meanings = {
        "done": "all outputs asked for were written",
        "refused": "read, but not to be used: no format fits, or the signals cannot be right",
        "failed": "could not be read, converted or written",
    }
    return [
        (
            status,
            meaning,
            getattr(figures.pages, status),
            share(getattr(figures.pages, status), figures.pages.total),
            getattr(figures.files, status),
        )
        for status, meaning in meanings.items()
    ]


def _cases(figures: Figures, pictures: Mapping[str, Mapping[Example, Thumbnail]]) -> list[Case]:
    most = max((reason.outcomes.total for reason in figures.reasons), default=0)
    return [
        _case(order, reason, (most, figures.pages.total), pictures.get(reason.code, {}))
        for order, reason in enumerate(figures.reasons, 1)
    ]


def _case(
    order: int, reason: Reason, wholes: tuple[int, int], pictures: Mapping[Example, Thumbnail]
) -> Case:
    """One reason; `wholes` are what its bar and its share are parts of."""
    total = reason.outcomes.total
    told = explained(reason.code)
    line = Line(
        told.title,
        total,
        share(total, wholes[1]),
        charts.bar(reason.outcomes, wholes[0]),
        code=reason.code or "no code",
        outcomes=reason.outcomes,
        target=f"reason-{order}",
    )
    examples = [(example, pictures.get(example)) for example in reason.examples]
    return Case(reason.code or "no code", told, line, examples)


def _verdicts(figures: Figures) -> list[Line]:
    total = figures.pages.total
    known = {verdict: figures.quality.get(verdict, 0) for verdict in _VERDICTS}
    known |= {verdict: n for verdict, n in figures.quality.items() if verdict not in known}
    return [
        Line(
            _VERDICTS.get(verdict, verdict),
            n,
            share(n, total),
            charts.plain_bar(n, total, f"verdict-{verdict}" if verdict in _VERDICTS else "plain"),
        )
        for verdict, n in known.items()
        if n or verdict
    ]


def _coded(counts: Mapping[str, int], whole: int) -> list[Line]:
    most = max(counts.values(), default=0)
    return _shortened(
        [
            Line(
                QUALITY.get(code, code),
                n,
                share(n, whole),
                charts.plain_bar(n, most),
                code=code if code in QUALITY else "",
            )
            for code, n in counts.items()
        ]
    )


def _by_outcome(counts: Sequence[tuple[str, Outcomes]]) -> list[Line]:
    whole = sum(one.total for _, one in counts)
    most = max((one.total for _, one in counts), default=0)
    return _shortened(
        [
            Line(label, one.total, share(one.total, whole), charts.bar(one, most), outcomes=one)
            for label, one in counts
        ]
    )


def _scales(counts: Mapping[tuple[str, str], int]) -> list[Line]:
    whole, most = sum(counts.values()), max(counts.values(), default=0)
    return [
        Line(
            f"speed from {_SCALE_SOURCES.get(speed, speed)}, "
            f"gain from {_SCALE_SOURCES.get(gain, gain)}",
            n,
            share(n, whole),
            charts.plain_bar(n, most),
        )
        for (speed, gain), n in counts.items()
    ]


def _values(counts: Mapping[float | None, int], unit: str) -> list[Line]:
    whole, most = sum(counts.values()), max(counts.values(), default=0)
    return [
        Line(
            "another, or not known" if value is None else f"{value:g} {unit}",
            n,
            share(n, whole),
            charts.plain_bar(n, most),
        )
        for value, n in counts.items()
    ]


def _shortened(lines: list[Line]) -> list[Line]:
    """The most frequent; the rest, of which there may be thousands, as one line."""
    if len(lines) <= _MOST_ROWS:
        return lines
    rest = lines[_MOST_ROWS:]
    total = sum(line.number for line in rest)
    return [*lines[:_MOST_ROWS], Line(f"{len(rest):,} others", total, "", Markup(""))]


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _commands(text: str) -> Markup:
    """The text with what stands in backticks set as commands."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if k % 2 else escape(part)
        for k, part in enumerate(parts)
    )
