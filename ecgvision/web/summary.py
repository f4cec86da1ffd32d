"""One page of PDF that sums up what was read of an ECG page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from markupsafe import escape

from ecgvision import __version__
from ecgvision.media.htmlpage import html_page
from ecgvision.web.languages import words
from ecgvision.web.settings import NOTICE
from ecgvision.web.shapes import ModelAbout, PageResult

_PICTURE = "overlay.png"
_FINDINGS = 4
_CSS = """
body { font-family: sans-serif; font-size: 10px; color: #1b1f24; }
h1 { font-size: 18px; margin: 0 0 4px 0; }
h2 { font-size: 12px; margin: 10px 0 3px 0; }
p { margin: 2px 0; }
.notice { border: 1px solid #9a3412; color: #9a3412; padding: 5px; font-weight: bold; }
table { width: 100%; border-collapse: collapse; }
td, th { text-align: left; padding: 2px 6px 2px 0; border-bottom: 1px solid #d0d5db; }
.small { color: #57606a; font-size: 8px; }
img { width: 250px; }
"""


def summary_pdf(
    page: PageResult,
    picture: bytes | None,
    name: str,
    language: str,
    model: ModelAbout | None,
) -> bytes:
    """The page's summary, of one page A4. It names nobody unless `name` is given."""
    told = words(language)
    parts = [*_head(told, name, page), *_recognised(told, page)]
    if page.reason is not None:
        parts += _reason(told, page)
    if page.answers and model is not None:
        parts += _answers(told, page, model)
    parts.append(f'<p class="small">ecgvision {escape(__version__)}. {escape(NOTICE)}</p>')
    if picture is not None:
        # It has what is left of the page, and may be made smaller.
        parts.append(f'<h2>{escape(told["tab.overlay"])}</h2><img src="{_PICTURE}">')
    images = {} if picture is None else {_PICTURE: picture}
    return html_page("".join(parts), _CSS, images)


def _head(told: Mapping[str, str], name: str, page: PageResult) -> Iterator[str]:
    yield f"<h1>{escape(told['pdf.title'])}</h1>"
    yield f'<p class="notice">{escape(told["notice"])}</p>'
    if name.strip():
        yield f"<p><b>{escape(told['pdf.name'])}:</b> {escape(_plain(name))}</p>"
    made = time.strftime("%Y-%m-%d %H:%M")
    which = told["page.of"].replace("{page}", str(page.page)).replace("{pages}", str(page.pages))
    yield f"<p>{escape(told['pdf.made'])} {made}. {escape(which)}</p>"


def _recognised(told: Mapping[str, str], page: PageResult) -> Iterator[str]:
    if page.format is None or page.scale is None:
        return
    scale = page.scale
    yield f"<h2>{escape(told['page.recognised'])}</h2>"
    yield f"<p>{escape(page.format)}, {escape(page.layout or '')}. "
    yield f"{scale.speed_mm_per_s:.4g} mm/s ({escape(_source(told, scale.speed_from))}), "
    yield f"{scale.gain_mm_per_mv:.4g} mm/mV ({escape(_source(told, scale.gain_from))})</p>"
    if page.verdict:
        yield f"<h2>{escape(told['page.quality'])}: "
        yield f"{escape(told.get(f'verdict.{page.verdict}', page.verdict))}</h2>"
    for finding in page.findings[:_FINDINGS]:
        title = told.get(f"finding.{finding.code}", finding.code)
        yield f"<p><b>{escape(title)}.</b> {escape(finding.message)}</p>"


def _source(told: Mapping[str, str], source: str) -> str:
    return told.get(f"from.{source}", source)


def _reason(told: Mapping[str, str], page: PageResult) -> Iterator[str]:
    if page.reason is None:
        return
    code = page.reason.code
    yield f"<h2>{escape(told['page.refused'])}</h2>"
    yield f"<p>{escape(told.get(f'reason.{code}', page.reason.found))} [{escape(code)}]</p>"


def _answers(told: Mapping[str, str], page: PageResult, model: ModelAbout) -> Iterator[str]:
    yield f"<h2>{escape(told['answers.title'])}</h2>"
    yield f"<p>{escape(model.title)} ({escape(model.id)})</p>"
    if model.simulated:
        yield f'<p class="notice">{escape(told["answers.simulated"])}</p>'
    yield "<table><tr>"
    for key in ("answers.task", "answers.probability", "answers.decision", "answers.threshold"):
        yield f"<th>{escape(told[key])}</th>"
    yield "</tr>"
    for answer in page.answers:
        decision = {True: "answers.positive", False: "answers.negative", None: "answers.none"}
        threshold = "" if answer.threshold is None else f"{100 * answer.threshold:.1f} %"
        yield f"<tr><td>{escape(answer.title)}</td><td>{100 * answer.probability:.1f} %</td>"
        yield f"<td>{escape(told[decision[answer.positive]])}</td>"
        yield f"<td>{threshold} {escape(answer.operating_point or '')}</td></tr>"
    yield "</table>"


def _plain(name: str) -> str:
    """What a person typed, on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
