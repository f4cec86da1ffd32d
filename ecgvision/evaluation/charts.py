"""Diagrams of an evaluation as inline SVG in a square; words and numbers stand beside as HTML."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ecgvision.evaluation.tables import Row
from ecgvision.report.charts import Chart, Tick, line

SIDE = 1000.0
COLOURS = 8
"""Of curves; beyond them lines are dashed, then dotted."""

_STEP = 1.5  # finer than this is not drawn
_TICKS = tuple(Tick(100 * share, f"{share:g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
_Y_TICKS = tuple(Tick(100 - tick.percent, tick.text) for tick in _TICKS)


def curve_class(number: int) -> str:
    """How the curve of a model is drawn, by its place among the models."""
    return f"c{number % COLOURS} d{min(number // COLOURS, 2)}"


def swatch(number: int) -> Markup:
    """A piece of the line of a model, for legends."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true">'
        '<line class="curve {}" x1="0" y1="5" x2="30" y2="5"/></svg>'
    ).format(curve_class(number))


def point(number: int) -> Markup:
    """The mark of a reader, for legends."""
    return Markup('<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true">{}</svg>').format(
        _mark(15.0, 5.0, number, 4.5)
    )


def roc_chart(
    key: str, told: str, curves: Sequence[tuple[int, Sequence[Row]]], readers: Sequence[Row]
) -> Chart:
    """ROC curves of models by their places, and readers as points with their intervals."""
    marks = [line("chance", 0, SIDE, SIDE, 0)]
    marks += [
        _polyline(
            f"curve {curve_class(number)}", [(_number(r, "fpr"), _number(r, "tpr")) for r in rows]
        )
        for number, rows in curves
    ]
    for number, reader in enumerate(readers):
        x, y = 1 - _number(reader, "specificity"), _number(reader, "sensitivity")
        marks += _bars(reader, x, y)
        marks.append(_mark(x * SIDE, (1 - y) * SIDE, number, 13.0))
    return _square(key, "ROC curves", told, marks)


def calibration_chart(key: str, told: str, rows: Sequence[Row]) -> Chart:
    """Observed shares with intervals against mean probabilities, as given and by temperature."""
    marks = [line("chance", 0, SIDE, SIDE, 0)]
    for name, kind in (("as given", "c7"), ("by temperature", "c0")):
        points = [
            (_number(row, "predicted"), _number(row, "observed"))
            for row in rows
            if row["scaled"] == name
        ]
        marks.append(_polyline(f"curve {kind}", points))
        for row in rows:
            if row["scaled"] == name:
                x = _number(row, "predicted")
                marks.append(_span(kind, (x, _number(row, "low")), (x, _number(row, "high"))))
        marks += [_dot(kind, x, y) for x, y in points]
    return _square(key, "Calibration", told, marks)


def threshold_chart(key: str, told: str, rows: Sequence[Row]) -> Chart:
    """True and false positive rate against the threshold, with bands of their intervals."""
    marks = []
    for name, kind in (("tpr", "c0"), ("fpr", "c1")):
        x = [_number(row, "probability") for row in rows]
        lower = [(a, _number(row, f"{name}_low")) for a, row in zip(x, rows, strict=True)]
        upper = [(a, _number(row, f"{name}_high")) for a, row in zip(x, rows, strict=True)]
        marks.append(_polygon(f"band {kind}", [*lower, *reversed(upper)]))
        points = [(a, _number(row, name)) for a, row in zip(x, rows, strict=True)]
        marks.append(_polyline(f"curve {kind}", points))
    return _square(key, "Rates against the threshold", told, marks)


def interval_bar(value: float, low: float, high: float, start: float) -> Markup:
    """A figure's interval as a thin bar from `start` to 1, the figure as a mark on it."""
    if not np.isfinite(value):
        return Markup("")
    places = [SIDE * min(max((one - start) / (1 - start), 0), 1) for one in (low, high, value)]
    inside = Markup("")
    if np.isfinite(low) and np.isfinite(high):
        inside = Markup('<rect class="span" x="{}" y="0" width="{}" height="10"/>').format(
            f"{places[0]:.1f}", f"{places[1] - places[0]:.1f}"
        )
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{}'
        '<rect class="value" x="{}" y="0" width="14" height="10"/></svg>'
    ).format(inside, f"{min(max(places[2] - 7, 0), SIDE - 14):.1f}")


def _bars(reader: Row, x: float, y: float) -> list[Markup]:
    found = []
    low, high = _number(reader, "sensitivity_low"), _number(reader, "sensitivity_high")
    if np.isfinite(low):
        found.append(_span("reader", (x, low), (x, high)))
    low, high = _number(reader, "specificity_low"), _number(reader, "specificity_high")
    if np.isfinite(low):
        found.append(_span("reader", (1 - low, y), (1 - high, y)))
    return found


def _mark(x: float, y: float, number: int, size: float) -> Markup:
    """A diamond, a square, a triangle, and so on."""
    shapes = (
        ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
        ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        ((0, -1.2), (1.2, 1), (-1.2, 1)),
        ((0, 1.2), (1.2, -1), (-1.2, -1)),
    )
    corners = shapes[number % len(shapes)]
    text = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return Markup('<polygon class="reader" points="{}"/>').format(text)


def _dot(kind: str, x: float, y: float) -> Markup:
    return Markup('<circle class="dot-{}" cx="{}" cy="{}" r="11"/>').format(
        kind, f"{x * SIDE:.1f}", f"{(1 - y) * SIDE:.1f}"
    )


def _span(kind: str, first: tuple[float, float], last: tuple[float, float]) -> Markup:
    return line(
        f"whisker {kind}",
        first[0] * SIDE,
        (1 - first[1]) * SIDE,
        last[0] * SIDE,
        (1 - last[1]) * SIDE,
    )


def _polyline(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(name, _path(points))


def _polygon(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    return Markup('<polygon class="{}" points="{}"/>').format(name, _path(points))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Shares from 0 to 1 as points, without those that nobody can tell from the one before."""
    kept: list[tuple[float, float]] = []
    for number, (x, y) in enumerate(points):
        here = (x * SIDE, (1 - y) * SIDE)
        last = number == len(points) - 1
        if not kept or last or max(abs(a - b) for a, b in zip(here, kept[-1], strict=True)) > _STEP:
            kept.append(here)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)


def _square(key: str, title: str, told: str, marks: Sequence[Markup]) -> Chart:
    places = [SIDE * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    grid = [line("rule", 0, y, SIDE, y) for y in places] + [
        line("rule", x, 0, x, SIDE) for x in places
    ]
    svg = Markup(
        '<svg class="plot" viewBox="0 0 1000 1000" role="img" '
        'aria-labelledby="{key}-title {key}-text">'
        '<title id="{key}-title">{title}</title><desc id="{key}-text">{told}</desc>'
        "{grid}{marks}</svg>"
    ).format(
        key=key,
        title=title,
        told=told,
        grid=Markup("").join(grid),
        marks=Markup("").join(marks),
    )
    return Chart(svg, _TICKS, _Y_TICKS)


def _number(row: Row, name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else float("nan")
