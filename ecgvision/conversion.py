"""From a file to pictures of its leads: opens, recognises, normalises; the library's front door."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgvision import __version__
from ecgvision.detect import GOOD_SCORE, with_header
from ecgvision.errors import NoMatchError, PageError, UnreadableError, UsageError
from ecgvision.evidence import upright
from ecgvision.media import Renderer, open_report
from ecgvision.media.views import rendered
from ecgvision.normalise import ImageOptions, canonical_image, published_image
from ecgvision.plugins import Format, Formats, load_formats
from ecgvision.strokes import trace_strokes
from ecgvision.trace import trace_leads
from ecgvision.types import EcgImage, Match, Notice, Page

AUTO = "auto"
CUSTOM = "custom"
# Two formats this close on one page cannot be told apart.
_AMBIGUOUS = 0.06


@dataclass(frozen=True)
class Conversion:
    """One page turned into a picture: what it was, how it was read, and what came out."""

    source: Path
    source_sha256: str
    page_number: int
    page_count: int
    origin: str
    format_id: str
    match: Match
    image: EcgImage
    notices: tuple[Notice, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """What goes into the JSON beside the picture: numbers and codes, no text of the page."""
        match, layout = self.match, self.match.layout
        return {
            "source": {
                "name": self.source.name,
                "sha256": self.source_sha256,
                "page": self.page_number,
                "pages": self.page_count,
                "kind": self.origin,
            },
            "format": self.format_id,
            "layout": layout.name,
            "match": {
                "score": round(match.score, 3),
                "offset_mm": [round(v, 2) + 0.0 for v in match.offset_mm],
                "rotation_deg": round(match.rotation_deg, 2),
                "quarter_turns": match.quarter_turns,
            },
            "scale": {
                "page_mm": [round(v, 2) for v in match.page_mm] if match.page_mm else None,
                "from": match.scale_from,
                "speed_mm_per_s": layout.speed_mm_per_s,
                "gain_mm_per_mv": layout.gain_mm_per_mv,
                "speed_and_gain_from": "layout",
            },
            "image": {
                "style": self.image.style,
                "px_per_mm": round(self.image.px_per_mm, 4),
                "size_px": [self.image.pixels.shape[1], self.image.pixels.shape[0]],
                "speed_mm_per_s": self.image.speed_mm_per_s,
                "gain_mm_per_mv": self.image.gain_mm_per_mv,
                "leads": [
                    {
                        "lead": b.lead,
                        "box_mm": [
                            round(v, 3)
                            for v in (b.box.left_mm, b.box.top_mm, b.box.right_mm, b.box.bottom_mm)
                        ],
                        "start_s": round(b.start_s, 3),
                        "stop_s": round(b.stop_s, 3),
                    }
                    for b in self.image.boxes
                ],
            },
            "warnings": [{"code": n.code, "message": n.message} for n in self.notices],
            "versions": self.versions,
        }


def convert(
    path: str | Path,
    *,
    format: str = AUTO,
    layout: str | Path | None = None,
    options: ImageOptions | None = None,
    renderer: Renderer = "pymupdf",
) -> list[Conversion]:
    """Every page of a report as a `Conversion`; raises the first page's error, if any.

    `format` is a format's id or alias, "auto", or "custom" with `layout` a TOML file.

    Raises `PageError` for a file or page that cannot be used, `UsageError` for a wrong argument.
    """
    chosen = choose_formats(format, layout)
    found = []
    for result in convert_each(path, chosen, options or ImageOptions(), renderer):
        if isinstance(result, PageError):
            raise result
        found.append(result)
    return found


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


def convert_each(
    path: str | Path,
    formats: Sequence[Format],
    options: ImageOptions,
    renderer: Renderer = "pymupdf",
) -> Iterator[Conversion | PageError]:
    """Page by page a `Conversion`, or the error that page ended in; never stops half way."""
    source = Path(path)
    try:
        report = open_report(source, renderer=renderer)
        digest = _sha256(source)
    except PageError as error:
        yield error
        return
    with report:
        for number in range(1, report.page_count + 1):
            try:
                page = as_read(report.page(number), renderer)
                yield _convert_page(page, report.page_count, digest, formats, options)
            except PageError as error:
                yield error
            except Exception as error:  # a bug, of ours or of a plugin, costs this page only
                yield _internal(source, number, error)


def _sha256(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(
            "file-unreadable",
            source,
            None,
            expected="a file that can be read",
            found=error.strerror or type(error).__name__,
            hint="check that it is still there and may be read",
        ) from error


def _internal(source: Path, number: int, error: Exception) -> PageError:
    """What a bug on one page is told as: where it was, as its own words may quote the page."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = PageError(
        "internal",
        source,
        number,
        expected="a page that can be worked on",
        found=f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}",
        hint="please report it with what --debug shows",
    )
    told.__cause__ = error
    return told


def as_read(page: Page, renderer: Renderer = "pymupdf") -> Page:
    """The page as the pipeline reads it: a vector page by its strokes, or else by its pixels.

    By its pixels where poppler is to draw it, and where its strokes hold no traces: some machines
    draw traces as filled shapes.
    """
    by_pixels = renderer == "poppler" or (page.origin == "vector" and not trace_strokes(page))
    return rendered(page) if by_pixels else page


def _convert_page(
    page: Page, page_count: int, digest: str, formats: Sequence[Format], options: ImageOptions
) -> Conversion:
    found = recognise(page, formats)
    image, notices = normalise_page(page, found.format, found.match, options)
    return Conversion(
        source=page.source,
        source_sha256=digest,
        page_number=page.number,
        page_count=page_count,
        origin=page.origin,
        format_id=found.format.info.id,
        match=found.match,
        image=image,
        notices=(*found.notices, *notices),
        versions={"ecgvision": __version__},
    )


def normalise_page(
    page: Page, chosen: Format, match: Match, options: ImageOptions
) -> tuple[EcgImage, tuple[Notice, ...]]:
    """The picture of a recognised page, and what a reader of it must know."""
    level = upright(page, match)
    if options.style == "canonical":
        ink = chosen.remove_grid(level, match.layout)
        traces = trace_leads(level, match.layout, ink)
        image, notices = canonical_image(traces, match.layout, options)
        return image, notices
    if match.layout.published is None:
        raise NoMatchError(
            "style-not-published",
            page.source,
            page.number,
            expected="a layout with a published style",
            found=f"layout {match.layout.name} of {chosen.info.id}, which has none",
            hint="use --style canonical",
        )
    ink = chosen.remove_grid(level, match.layout)
    windows = options.style == "published-windows"
    return published_image(level, match, ink, windows=windows), ()


@dataclass(frozen=True, slots=True)
class Recognised:
    """The format and layout of a page, and what must be said of formats that broke on it."""

    format: Format
    match: Match
    notices: tuple[Notice, ...] = ()


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
