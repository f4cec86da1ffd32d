"""The evaluation as one HTML page that needs nothing else, made from its tables alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from ecgvision.evaluation import charts, wording
from ecgvision.evaluation.evaluate import ALL, Evaluation
from ecgvision.evaluation.measure import TEST, VALIDATION
from ecgvision.evaluation.questions import Question
from ecgvision.evaluation.tables import Row
from ecgvision.report.charts import Chart
from ecgvision.report.html import page_bytes

MARK = b'<meta name="generator" content="ecgvision evaluation">'
"""Stands within the first bytes of every page, so that a page may replace a page."""

_FEW = 3  # charts of so many models are shown, those of more are folded away
_PAIRS = 15
_DELONG = "DeLong"


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell: text, a bar of the interval, whether it is the best of its column, and why not."""

    text: str
    bar: str = ""
    best: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: a model by its place, and its cells."""

    model: str
    title: str
    swatch: Markup
    cells: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with a caption and the names of its columns."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A small diagram under a heading."""

    heading: str
    chart: Chart


def page(evaluation: Evaluation) -> bytes:
    """The HTML; equal evaluations give equal bytes."""
    views = _Views(evaluation)
    return page_bytes(
        "ecgvision.evaluation",
        {
            "mark": Markup(MARK.decode()),  # noqa: S704  # our own
            "name": evaluation.dataset.about.name,
            "simulated": evaluation.dataset.about.simulated,
            "digest": evaluation.dataset.digest,
            "settings": evaluation.settings,
            "models": evaluation.models,
            "remarks": evaluation.remarks,
            "few": _FEW,
            "pairs": _PAIRS,
            **views.whole(),
        },
        {"p_value": wording.p_value, "number": "{:,}".format, "parted": _parted},
        own_style=files("ecgvision.evaluation").joinpath("style.css").read_text("utf-8"),
    )


class _Views:
    """What the template shows, from the tables of one evaluation."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.tables = evaluation.tables
        self.place = {model.name: k for k, model in enumerate(evaluation.models)}
        self.title = {model.name: model.title for model in evaluation.models}
        formats = {str(row["value"]) for row in self.tables.where("groups", group="format")}
        self.only = formats.pop() if len(formats) == 1 else ""

    def whole(self) -> dict[str, Any]:
        asked = self.evaluation.questions
        return {
            "swatches": {name: charts.swatch(k) for name, k in self.place.items()},
            "temperatures": self._temperatures(),
            "side": [self._side(question.name, question.title) for question in asked]
            + [self._side(name, self._macro_title(name)) for name in self._macros()],
            "tasks": [self._task(number, question) for number, question in enumerate(asked)],
            "groups": [(question, self._groups(question)) for question in asked],
            "comparisons": [(question, self._comparisons(question)) for question in asked],
            "prevalences": [
                self._prevalence(question, one)
                for question in asked
                for one in self.evaluation.settings.prevalences
            ],
        }

    def selection(self, name: str) -> str:
        if name != ALL:
            return name
        return self.only or ("all formats" if len(self.evaluation.selections) > 1 else "all rows")

    def _macros(self) -> list[str]:
        names = [str(row["task"]) for row in self.tables.rows["metrics"]]
        return [name for name in dict.fromkeys(names) if name.endswith(": macro")]

    def _macro_title(self, name: str) -> str:
        task = name.removesuffix(": macro")
        asked = self.evaluation.questions
        return next(one.task.title or task for one in asked if one.task.name == task)

    def _models_of(self, task: str) -> list[str]:
        found = [str(row["model"]) for row in self.tables.where("metrics", task=task)]
        return list(dict.fromkeys(found))

    def _line(self, model: str, cells: Sequence[Figure]) -> Line:
        swatch = charts.swatch(self.place[model])
        return Line(model, self.title[model], swatch, tuple(cells))

    # --- side by side -------------------------------------------------------------------------

    def _side(self, task: str, title: str) -> Sheet:
        """AUC of every model on every choice of rows: the study's figure 2."""
        selections = self.evaluation.selections
        macro = task.endswith(": macro")
        rows = {
            (str(row["model"]), str(row["rows"])): row
            for row in self.tables.where("metrics", task=task, metric="auc")
            if macro or not str(row["method"]).startswith("bootstrap")
        }
        start = _start([_float(row, "low") for row in rows.values()])
        best = {
            name: _best([row for (_, s), row in rows.items() if s == name]) for name in selections
        }
        lines = [
            self._line(
                model, [self._auc(rows[model, name], start, best[name]) for name in selections]
            )
            for model in self._models_of(task)
        ]
        counts = [next(row for (_, s), row in rows.items() if s == name) for name in selections]
        columns = [
            f"{self.selection(name)}: {_counted(row)}"
            for name, row in zip(selections, counts, strict=True)
        ]
        # Where there are too few cases there is no interval, and so no method.
        named = (row["method"] for row in rows.values())
        methods = sorted({one for one in named if isinstance(one, str) and one})
        kind = "Mean AUC of the classes" if macro else "AUC"
        how = f"{kind}, 95 % interval by {_methods(methods)}; bars run from {start:g} to 1."
        return Sheet(f"{title}. {how}", tuple(columns), tuple(lines))

    def _auc(self, row: Row, start: float, best: float) -> Figure:
        value, low, high = (_float(row, name) for name in ("value", "low", "high"))
        return Figure(
            wording.figure(value, low, high),
            charts.interval_bar(value, low, high, start),
            best=value == best and len(self.place) > 1,
            why=str(row["note"]),
        )

    # --- one task -----------------------------------------------------------------------------

    def _task(self, number: int, question: Question) -> dict[str, Any]:
        name = question.name
        models = [model for model in self._models_of(name) if self._measured(name, model)]
        return {
            "id": f"task-{number + 1}",
            "question": question,
            "models": [(model, charts.swatch(self.place[model])) for model in models],
            "rocs": self._rocs(number, name, models),
            "readers": [
                (charts.point(k), row, self._reader(row))
                for k, row in enumerate(self.tables.where("readers", task=name))
            ],
            "figures": self._figures(name, models),
            "operating": [self._operating(name, models, place) for place in (VALIDATION, TEST)],
            "calibrations": self._calibrations(number, name, models),
            "thresholds": self._thresholds(number, name, models),
            "why": "; ".join(
                dict.fromkeys(
                    str(row["note"])
                    for row in self.tables.where("metrics", task=name, rows=ALL)
                    if "too few" in str(row["note"])
                )
            ),
        }

    def _measured(self, task: str, model: str) -> bool:
        return bool(self.tables.where("operating", task=task, model=model, rows=ALL))

    def _rocs(self, number: int, task: str, models: Sequence[str]) -> list[Panel]:
        panels = []
        for k, name in enumerate(self.evaluation.selections):
            curves = [
                (self.place[model], self.tables.where("roc", task=task, rows=name, model=model))
                for model in models
            ]
            curves = [(place, rows) for place, rows in curves if rows]
            if not curves:
                continue
            shown = name if name != ALL else self.only
            readers = [
                row
                for row in self.tables.where("readers", task=task)
                if not row["format"] or row["format"] == shown
            ]
            told = f"{len(curves)} ROC curves; their areas stand in the table side by side."
            chart = charts.roc_chart(f"roc-{number}-{k}", told, curves, readers)
            panels.append(Panel(self.selection(name), chart))
        return panels

    def _reader(self, row: Row) -> str:
        rates = [
            wording.percent(*(_float(row, f"{name}{end}") for end in ("", "_low", "_high")))
            for name in ("sensitivity", "specificity")
        ]
        where = f", read {row['format']}" if row["format"] else ""
        note = f"; {row['note']}" if row["note"] else ""
        return f"sensitivity {rates[0]}, specificity {rates[1]}{where}{note}"

    def _figures(self, task: str, models: Sequence[str]) -> Sheet:
        """All other figures of all rows."""
        lines, methods = [], set()
        for model in models:
            rows = self.tables.where("metrics", task=task, rows=ALL, model=model)
            cells = []
            for metric in _METRICS:
                row = next((r for r in rows if _is_metric(r, metric)), None)
                cells.append(Figure("not given") if row is None else _cell(row))
                if row is not None and str(row["method"]).startswith("bootstrap"):
                    methods.add(str(row["method"]))
            temperature = self.evaluation.temperatures.get((model, task))
            cells.append(
                Figure("")
                if temperature is None
                else Figure(
                    "" if temperature.note else f"{temperature.value:.2f}", why=temperature.note
                )
            )
            lines.append(self._line(model, cells))
        how = _methods(sorted(methods))
        caption = (
            f"Figures on {self.selection(ALL)}, 95 % intervals by {how}. Weighted F1 at the "
            "threshold that was best in validation. Temperatures are fitted in validation."
        )
        return Sheet(caption, (*_METRICS.values(), "temperature"), tuple(lines))

    def _operating(self, task: str, models: Sequence[str], place: str) -> tuple[str, list[Any]]:
        found = []
        for name in self.evaluation.selections:
            for model in models:
                rows = self.tables.where(
                    "operating", task=task, rows=name, model=model, chosen_on=place
                )
                known = [row for row in rows if not math.isnan(_float(row, "threshold"))]
                if rows:
                    cells = [_operated(row) for row in known]
                    swatch = charts.swatch(self.place[model])
                    found.append((model, swatch, self.selection(name), cells, rows[0]["note"]))
        return place, found

    def _calibrations(self, number: int, task: str, models: Sequence[str]) -> list[Panel]:
        panels = []
        for model in models:
            rows = self.tables.where("calibration", task=task, rows=ALL, model=model)
            if rows:
                told = "; ".join(
                    f"{row['scaled']}: {_float(row, 'predicted'):.2f} predicted, "
                    f"{_float(row, 'observed'):.2f} observed of {row['n']}"
                    for row in rows
                )
                key = f"calibration-{number}-{self.place[model]}"
                panels.append(Panel(model, charts.calibration_chart(key, told, rows)))
        return panels

    def _thresholds(self, number: int, task: str, models: Sequence[str]) -> list[Panel]:
        panels = []
        for model in models:
            rows = self.tables.where("thresholds", task=task, rows=ALL, model=model)
            told = "; ".join(
                f"threshold {_float(row, 'probability'):g}: TPR {_float(row, 'tpr'):.2f}, "
                f"FPR {_float(row, 'fpr'):.2f}"
                for row in rows[::10]
            )
            key = f"thresholds-{number}-{self.place[model]}"
            panels.append(Panel(model, charts.threshold_chart(key, told, rows)))
        return panels

    # --- groups, comparisons, prevalence --------------------------------------------------------

    def _groups(self, question: Question) -> list[dict[str, Any]]:
        rows = self.tables.where("groups", task=question.name)
        start = _start([_float(row, "auc_low") for row in rows])
        return [
            {
                "kind": row["group"],
                "value": row["value"],
                "model": row["model"],
                "n": row["n"],
                "positive": row["positive"],
                "auc": _group_auc(row, start),
                "sensitivity": wording.percent(
                    *(_float(row, f"sensitivity{end}") for end in _ENDS)
                ),
                "specificity": wording.percent(
                    *(_float(row, f"specificity{end}") for end in _ENDS)
                ),
            }
            for row in rows
        ]

    def _comparisons(self, question: Question) -> list[dict[str, Any]]:
        return [
            {
                "a": row["model_a"],
                "b": row["model_b"],
                "difference": wording.difference(
                    *(_float(row, name) for name in ("difference", "low", "high"))
                ),
                "p": _float(row, "p"),
                "adjusted": _float(row, "p_adjusted"),
                "note": row["note"],
                "correction": row["correction"],
                "method": row["method"],
            }
            for row in self.tables.where("comparisons", task=question.name, rows=ALL)
        ]

    def _prevalence(self, question: Question, prevalence: float) -> Sheet:
        rows = self.tables.where("prevalence", task=question.name, prevalence=prevalence)
        names = ("auc", "auc_mean", "weighted_f1", "ppv", "npv")
        lines = []
        for model, name in dict.fromkeys((str(row["model"]), str(row["rows"])) for row in rows):
            here = {str(r["metric"]): r for r in rows if (r["model"], r["rows"]) == (model, name)}
            cells = [Figure(self.selection(name)), *(_cell(here[one]) for one in names)]
            lines.append(self._line(model, cells))
        positive = rows[0]["positive"] if rows else 0
        size = rows[0]["size"] if rows else 0
        draws = rows[0]["draws"] if rows else 0
        caption = (
            f"{question.title} at a prevalence of {100 * prevalence:g} %: means of {draws} draws "
            f"of {size} rows, {positive} of them positive. In brackets is where 95 % of the draws "
            "lie, and in the second column the 95 % interval of the mean itself."
        )
        columns = ("rows", "AUC", "AUC, interval of the mean", "weighted F1", "PPV", "NPV")
        return Sheet(caption, columns, tuple(lines))

    def _temperatures(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for (model, task), one in self.evaluation.temperatures.items():
            text = f"{task}: {one.note or f'{one.value:.2f}, from {one.n:,} rows'}"
            found[model] = f"{found[model]}; {text}" if model in found else text
        return found


_ENDS = ("", "_low", "_high")
_METRICS = {
    "auc": "AUC, bootstrap",
    "average_precision": "average precision",
    "weighted_f1": "weighted F1",
    "brier": "Brier",
    "brier_scaled": "Brier, by temperature",
}


def _is_metric(row: Row, metric: str) -> bool:
    return row["metric"] == metric and not str(row["method"]).startswith(_DELONG)


def _cell(row: Row) -> Figure:
    text = wording.figure(*(_float(row, name) for name in ("value", "low", "high")))
    return Figure(text, why=str(row["note"]))


def _operated(row: Row) -> tuple[str, str, str, str, str, str]:
    rates = [
        wording.percent(*(_float(row, f"{name}{end}") for end in _ENDS))
        for name in ("sensitivity", "specificity", "ppv", "npv")
    ]
    target = f"{100 * _float(row, 'target_sensitivity'):g} %"
    return target, wording.threshold(_float(row, "probability")), *rates  # type: ignore[return-value]


def _group_auc(row: Row, start: float) -> Figure:
    value, low, high = (_float(row, f"auc{end}") for end in _ENDS)
    bar = charts.interval_bar(value, low, high, start)
    return Figure(wording.figure(value, low, high), bar, why=str(row["note"]))


def _methods(names: Sequence[str]) -> str:
    """The methods of a table; it is by patient where patients repeat in some of its columns."""
    if len(names) == 2 and names[0].partition(",")[0] == names[1].partition(",")[0]:
        return f"{names[0].partition(',')[0]}, by patient where patients repeat"
    return " or ".join(names) or "no method"


def _parted(text: str) -> Markup:
    """A figure and its interval, which may come on two lines but does not break itself."""
    if not text:
        return Markup('<span class="interval">none</span>')
    value, bracket, interval = text.partition(" (")
    if not bracket:
        return Markup("{}").format(text)
    return Markup('{} <span class="interval">({}</span>').format(value, interval)


def _counted(row: Row) -> str:
    """How many rows, and positives of questions that have such."""
    positive = _float(row, "positive")
    of = "" if math.isnan(positive) else f", {int(positive):,} positive"
    return f"{int(_float(row, 'n')):,}{of}"


def _best(rows: Sequence[Row]) -> float:
    values = [_float(row, "value") for row in rows]
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def _start(lows: Sequence[float]) -> float:
    """Where bars of AUCs begin: at chance, unless some interval reaches below it."""
    return 0.5 if all(math.isnan(low) or low >= 0.5 for low in lows) else 0.0


def _float(row: Row, name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else math.nan
