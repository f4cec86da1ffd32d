"""The study's Table 1: what is in a data set, split by split."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from pydantic import ValidationError

from ecgvision.dataset.schema import first_fields, wrong_toml
from ecgvision.dataset.splitting import USED
from ecgvision.dataset.store import Dataset
from ecgvision.tasks import Task

ALL = "all"
# The data set's own column: 0 is male, 1 is female.
_TITLES = {"age_years": "Age, years", "sex": "Female"}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one line says of one split.

    `count` is n, of `known` rows whose value is known; `missing` are the others. What can be had
    or not has `percent` of those known, numbers have `mean` and `sd`, the sample's standard
    deviation; NaN where there are too few.
    """

    text: str
    count: int
    known: int
    missing: int
    percent: float = math.nan
    mean: float = math.nan
    sd: float = math.nan


@dataclass(frozen=True)
class Line:
    """A line of the table: a variable, one of its values where it has several, a cell a split."""

    variable: str
    level: str
    cells: dict[str, Cell] = field(repr=False)

    @property
    def title(self) -> str:
        return f"{self.variable}: {self.level}" if self.level else self.variable


@dataclass(frozen=True)
class Statistics:
    """The table with what it is about; `columns` are the splits, then all of them together."""

    name: str
    simulated: bool
    columns: tuple[str, ...]
    lines: list[Line] = field(repr=False)
    notes: tuple[str, ...] = ()


def statistics(dataset: Dataset, tasks: Sequence[Task] = ()) -> Statistics:
    """Counts, shares, means and what is missing, of every clinical, label and other column.

    "all" are the rows of the three splits, or all rows where there is no split; excluded rows and
    those of no split have columns of their own where there are any. Raises `LabelError` where a
    task does not fit its column. Further drawings of a record do not count.
    """
    first = dataset.rows["drawing"].fillna(1) == 1
    rows = dataset.rows[first.to_numpy(bool)].reset_index(drop=True)
    groups = _groups(rows)
    lines = [*_heads(rows, groups)]
    for name, column in dataset.about.columns.items():
        title = column.title or _TITLES.get(name, name)
        lines += _column(rows[name], title, groups)
    for task in tasks:
        lines += _task(rows, task, groups)
    return Statistics(
        dataset.about.name, dataset.about.simulated, tuple(groups), lines, tuple(_notes(groups))
    )


def _groups(rows: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which rows belong to each column of the table."""
    split = rows["split"]
    found: dict[str, NDArray[np.bool_]] = {
        name: (split == name).to_numpy(bool) for name in USED if (split == name).any()
    }
    none = split.isna().to_numpy(bool)
    if not found:
        return {ALL: np.ones(len(rows), dtype=bool)}
    found[ALL] = np.any(list(found.values()), axis=0)
    rest = {"excluded": (split == "excluded").to_numpy(bool), "no split": none}
    return found | {name: chosen for name, chosen in rest.items() if chosen.any()}


def _notes(groups: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    yield "n (% of those whose value is known), or mean ± standard deviation."
    if len(groups) > 1:
        yield f"{ALL}: {', '.join(name for name in groups if name in USED)}."


def _line(
    variable: str,
    level: str,
    groups: dict[str, NDArray[np.bool_]],
    cell: Callable[[NDArray[np.bool_]], Cell],
) -> Line:
    return Line(variable, level, {name: cell(chosen) for name, chosen in groups.items()})


def _heads(rows: pd.DataFrame, groups: dict[str, NDArray[np.bool_]]) -> Iterator[Line]:
    def counted(values: Any) -> Callable[[NDArray[np.bool_]], Cell]:
        def cell(chosen: NDArray[np.bool_]) -> Cell:
            count = values[chosen].nunique()
            return Cell(f"{count:,}", count, int(chosen.sum()), 0)

        return cell

    yield _line("ECGs", "", groups, counted(pd.Series(np.arange(len(rows)))))
    yield _line("Records", "", groups, counted(rows["record"]))
    yield _line("Patients", "", groups, counted(rows["patient"]))
    if rows["format"].notna().any():
        yield from _levels(rows["format"], "Format", groups)
    if rows["year"].notna().any():
        yield _line("Year", "", groups, lambda chosen: _span(rows["year"][chosen]))
        yield from _missing(rows["year"].isna().to_numpy(bool), "Year", groups)


def _span(years: Any) -> Cell:
    known = years.dropna()
    text = "-"
    if len(known):
        first, last = int(known.min()), int(known.max())
        text = f"{first}" if first == last else f"{first}-{last}"
    return Cell(text, len(known), len(known), len(years) - len(known))


def _column(values: Any, title: str, groups: dict[str, NDArray[np.bool_]]) -> Iterator[Line]:
    if values.dtype == object:
        yield from _levels(values, title, groups)
        return
    numbers = values.to_numpy(float)
    known = numbers[~np.isnan(numbers)]
    if np.isin(known, (0.0, 1.0)).all():
        yield _line(title, "", groups, _having(numbers, 1))
    else:
        yield _line(title, "", groups, lambda chosen: _mean(numbers[chosen]))
    yield from _missing(np.isnan(numbers), title, groups)


def _levels(values: Any, title: str, groups: dict[str, NDArray[np.bool_]]) -> Iterator[Line]:
    missing = values.isna().to_numpy(bool)
    there = sorted(set(values[~missing]))
    numbers = values.map({level: float(k) for k, level in enumerate(there)}).to_numpy(float)
    for number, level in enumerate(there):
        yield _line(title, level, groups, _having(numbers, number))
    yield from _missing(missing, title, groups)


def _missing(
    missing: NDArray[np.bool_], title: str, groups: dict[str, NDArray[np.bool_]]
) -> Iterator[Line]:
    def cell(chosen: NDArray[np.bool_]) -> Cell:
        count = int(missing[chosen].sum())
        return _part(count, int(chosen.sum()), count)

    if missing.any():
        yield _line(title, "not known", groups, cell)


def _task(rows: pd.DataFrame, task: Task, groups: dict[str, NDArray[np.bool_]]) -> Iterator[Line]:
    if task.source not in rows:
        raise wrong_toml(Path("tasks"), f"a column {task.source} for task {task.name}", "none")
    targets = task.targets(list(rows[task.source])).astype(float)
    title = f"Task {task.title or task.name}"
    levels = task.classes or ("positive",)
    for number, level in enumerate(levels, 0 if task.classes else 1):
        yield _line(title, level, groups, _having(targets, number))
    yield from _missing(np.isnan(targets), title, groups)


def _having(numbers: NDArray[np.float64], value: int) -> Callable[[NDArray[np.bool_]], Cell]:
    """How many of the rows chosen have that value, of those where it is known."""

    def cell(chosen: NDArray[np.bool_]) -> Cell:
        found = numbers[chosen]
        known = int((~np.isnan(found)).sum())
        return _part(int((found == value).sum()), known, len(found) - known)

    return cell


def _part(count: int, known: int, missing: int) -> Cell:
    if not known:
        return Cell("-", count, known, missing)
    percent = 100 * count / known
    return Cell(f"{count:,} ({percent:.1f} %)", count, known, missing, percent)


def _mean(numbers: NDArray[np.float64]) -> Cell:
    known = numbers[~np.isnan(numbers)]
    mean = float(known.mean()) if len(known) else math.nan
    sd = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    text = f"{mean:.1f} ± {sd:.1f}" if len(known) > 1 else f"{mean:.1f}" if len(known) else "-"
    missing = len(numbers) - len(known)
    return Cell(text, len(known), len(known), missing, mean=mean, sd=sd)


# --- written ----------------------------------------------------------------------------------


def as_markdown(table: Statistics) -> str:
    """The table for people, in Markdown."""
    lines = [f"**{_plain(title(table))}**", ""]
    lines += [f"| |{'|'.join(f' {name} ' for name in table.columns)}|"]
    lines += [f"|---|{'---:|' * len(table.columns)}"]
    for line in table.lines:
        cells = " | ".join(line.cells[name].text for name in table.columns)
        lines.append(f"| {_plain(line.title)} | {cells} |")
    return "\n".join([*lines, "", *table.notes]) + "\n"


def title(table: Statistics) -> str:
    """What the table is about; simulated data are called so."""
    simulated = " (simulated data: nothing was measured on people)" if table.simulated else ""
    return f"Data set {table.name}{simulated}"


def _plain(text: str) -> str:
    """The text with nothing that Markdown or its tables take for their own."""
    for mark in "\\`*_{}[]<>#|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def as_csv(table: Statistics) -> str:
    """One row for each line and split, with numbers in full; empty where there are none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = ("n", "known", "percent", "mean", "sd", "missing", "text")
    writer.writerow(["data", "simulated", "variable", "level", "split", *names])
    for line in table.lines:
        for name in table.columns:
            cell = line.cells[name]
            numbers = (cell.percent, cell.mean, cell.sd)
            shown = ["" if math.isnan(one) else repr(round(one, 6)) for one in numbers]
            head = [table.name, int(table.simulated), line.variable, line.level, name]
            writer.writerow([*head, cell.count, cell.known, *shown, cell.missing, cell.text])
    return text.getvalue()


def as_html(table: Statistics) -> str:
    """The table as one HTML page that needs nothing else."""
    template = (files("ecgvision.dataset") / "stats.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(table=table, title=title(table))


WRITTEN: dict[str, Callable[[Statistics], str]] = {
    "md": as_markdown,
    "csv": as_csv,
    "html": as_html,
}
"""What the table can be written as."""


def read_tasks(path: Path) -> tuple[Task, ...]:
    """The `[[tasks]]` of a TOML file, such as a recipe; raises `DatasetError`."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("tasks")
        if not isinstance(told, list) or not told:
            raise wrong_toml(path, "[[tasks]]", "none")
        return tuple(Task.model_validate(one) for one in told)
    except ValidationError as error:
        raise wrong_toml(path, "tasks", "; ".join(first_fields(error))) from error
    except (OSError, ValueError) as error:
        raise wrong_toml(path, "tasks in TOML", str(error).splitlines()[0]) from error
