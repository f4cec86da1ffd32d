"""Charts as inline SVG that stretches to its place; all words stand beside it as HTML.

So letters keep their size on a telephone, and every chart has a table with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup, escape

from ecgvision.report.figures import STATUSES, Outcomes
from ecgvision.report.throughput import Throughput

_WIDTH, _HEIGHT = 1000.0, 200.0
_PAUSE_WIDTH = 24.0
# A label needs this share of the chart's width.
_LABEL_ROOM = 0.16


@dataclass(frozen=True, slots=True)
class Tick:
    """A word beside an axis, `percent` of the way along it."""

    percent: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """`svg` fills its place; `x` and `y` are the words along its lower and left edge."""

    svg: Markup
    x: tuple[Tick, ...] = ()
    y: tuple[Tick, ...] = ()


def bar(outcomes: Outcomes, whole: int) -> Markup:
    """A thin bar: what was done, refused and failed, as parts of `whole`. Numbers stand beside."""
    return _bar([(status, getattr(outcomes, status)) for status in STATUSES], whole)


def plain_bar(number: int, whole: int, name: str = "plain") -> Markup:
    """A thin bar of one colour, `number` of `whole` long."""
    return _bar([(name, number)], whole)


def _bar(parts: Sequence[tuple[str, int]], whole: int) -> Markup:
    left, rects = 0.0, []
    for name, number in parts:
        width = _WIDTH * number / max(whole, 1)
        if number:
            rects.append(rect(name, left, 0, width, 10))
        left += width
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        "{}</svg>"
    ).format(Markup("").join(rects))


def years_chart(years: Sequence[tuple[str, Outcomes]]) -> Chart:
    """A column a year, done below refused below failed."""
    highest = max((outcomes.total for _, outcomes in years), default=0)
    top = round_up(highest)
    step = _WIDTH / max(len(years), 1)
    marks: list[Markup] = []
    for k, (_, outcomes) in enumerate(years):
        base = _HEIGHT
        for status in STATUSES:
            height = _HEIGHT * getattr(outcomes, status) / top
            base -= height
            if height:
                marks.append(rect(status, step * (k + 0.12), base, step * 0.76, height))
    every = math.ceil(len(years) * _LABEL_ROOM / 1.6)
    ticks = [
        Tick(100 * (k + 0.5) / len(years), name)
        for k, (name, _) in enumerate(years)
        if k % max(every, 1) == 0
    ]
    told = ", ".join(f"{name}: {outcomes.total:,}" for name, outcomes in years)
    svg = _svg("years", "Pages by the year of their file", f"Pages a year: {told}.", marks, top)
    return Chart(svg, tuple(ticks), _y_ticks(top))


def throughput_chart(throughput: Throughput) -> Chart:
    """Pages per second as steps over the time of work; dashes stand for pauses."""
    spells = [spell for stretch in throughput.stretches for spell in stretch]
    top = round_up(max((spell.pages_per_s for spell in spells), default=0.0))
    pauses = max(len(throughput.stretches) - 1, 0)
    pause_width = min(_PAUSE_WIDTH, _WIDTH / 4 / max(pauses, 1))
    per_s = (_WIDTH - pause_width * pauses) / max(throughput.seconds, 1e-9)
    marks: list[Markup] = []
    ticks: list[Tick] = []
    left = 0.0
    for number, stretch in enumerate(throughput.stretches):
        if number:
            middle = left + pause_width / 2
            marks.append(line("pause", middle, 0, middle, _HEIGHT))
            left += pause_width
        start = left
        points = [(left, _HEIGHT)]
        for spell in stretch:
            y = _HEIGHT * (1 - spell.pages_per_s / top)
            points += [(left, y), (left + per_s * spell.seconds, y)]
            left += per_s * spell.seconds
        points.append((left, _HEIGHT))
        marks.append(_area(points))
        ticks += _time_ticks(stretch[0].start_s, start, left, [tick.percent for tick in ticks])
    text = (
        f"{throughput.pages:,} pages in {throughput.seconds:,.0f} s of work, "
        f"{throughput.pages_per_s:.3g} pages per second on average, "
        f"at most {max((s.pages_per_s for s in spells), default=0.0):.3g}, {pauses} pauses."
    )
    svg = _svg("throughput", "Pages per second over the time of work", text, marks, top)
    return Chart(svg, tuple(ticks), _y_ticks(top))


def _time_ticks(start_s: float, left: float, right: float, others: list[float]) -> list[Tick]:
    """When a stretch of work began, where there is room for it."""
    percent = 100 * left / _WIDTH
    room = 100 * _LABEL_ROOM
    if percent > 100 - room or (others and percent - max(others) < room):
        return []
    return [Tick(percent, clock(start_s), "start")]


def clock(seconds: float) -> str:
    """Seconds since 1970 as date and time, UTC.

    >>> clock(0)
    '1970-01-01 00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def round_up(value: float) -> float:
    """The next round number that is not smaller; 1 for nothing.

    >>> round_up(130), round_up(0.05), round_up(0)
    (150.0, 0.05, 1.0)
    """
    if value <= 0:
        return 1.0
    power = math.floor(math.log10(value))
    steps = (float(f"{step}e{power}") for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10))
    return next(step for step in steps if step >= value)


def _y_ticks(top: float) -> tuple[Tick, ...]:
    return tuple(Tick(100 * (1 - share), f"{top * share:,.6g}") for share in (1.0, 0.5, 0.0))


def _svg(key: str, title: str, text: str, marks: Sequence[Markup], top: float) -> Markup:
    grid = [line("rule", 0, y, _WIDTH, y) for y in (0.0, _HEIGHT / 2, _HEIGHT)]
    return Markup(
        '<svg class="plot" viewBox="0 0 1000 200" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{key}-title {key}-text">'
        '<title id="{key}-title">{title}</title><desc id="{key}-text">{text}</desc>'
        "{grid}{marks}</svg>"
    ).format(
        key=key,
        title=title,
        text=text,
        grid=Markup("").join(grid),
        marks=Markup("").join(marks),
    )


def rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        escape(name), *(f"{number:.2f}" for number in (x, y, width, height))
    )


def line(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        name, *(f"{number:.2f}" for number in (x1, y1, x2, y2))
    )


def _area(points: Sequence[tuple[float, float]]) -> Markup:
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return Markup('<polygon class="area" points="{}"/>').format(path)
