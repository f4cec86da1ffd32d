"""Models, a data set, questions: every figure of all of them, as tables and remarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.errors import UsageError
from ecgvision.evaluation import calibration
from ecgvision.evaluation.auc import repeat
from ecgvision.evaluation.estimates import EvaluationError
from ecgvision.evaluation.groups import group_rows, groups_of
from ecgvision.evaluation.macro import macro
from ecgvision.evaluation.measure import FEWEST, Answers, Sample, at_prevalence, measure
from ecgvision.evaluation.models import Model
from ecgvision.evaluation.prevalence import SIZE
from ecgvision.evaluation.questions import Question, class_numbers, questions
from ecgvision.evaluation.readers import Reader
from ecgvision.evaluation.tables import Row, Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.dataset.store import Dataset
    from ecgvision.tasks import Task

ALL = "all"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is evaluated: `split`, resampled how often and from which seed.

    `prevalences` are those to be matched, `cuts` other cut points of tasks by name.
    """

    split: str = "test"
    draws: int = 1000
    seed: int = 0
    prevalences: tuple[float, ...] = ()
    cuts: tuple[tuple[str, float], ...] = ()
    readers: tuple[Reader, ...] = ()

    def __post_init__(self) -> None:
        for one in self.prevalences:
            if not 0 < round(one * SIZE) < SIZE:
                raise UsageError(
                    f"--prevalence {one:g}: expected a share such as 0.08 that leaves cases and "
                    f"controls among {SIZE}"
                )
        if self.draws < 100:
            raise UsageError(f"--draws {self.draws}: an interval needs 100 draws or more")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that is known at the end; `questions` in order, `selections` the choices of rows."""

    dataset: Dataset = field(repr=False)
    settings: Settings
    models: tuple[Model, ...]
    questions: tuple[Question, ...] = field(repr=False)
    selections: tuple[str, ...]
    tables: Tables = field(repr=False)
    temperatures: dict[tuple[str, str], calibration.Temperature]
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Row numbers of the data set that were predicted, and which of them are for what."""

    numbers: NDArray[np.int64]
    test: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    formats: NDArray[np.str_]
    patients: NDArray[np.str_]


def rows_needed(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """The rows that models have to predict: those judged, and those of validation.

    Raises `UsageError` for an unknown split, `EvaluationError` for one without rows.
    """
    judged = dataset.chosen(split)
    if not judged.size:
        sizes = dataset.rows["split"].value_counts().to_dict()
        there = ", ".join(f"{name} {n}" for name, n in sorted(sizes.items())) or "no split at all"
        raise EvaluationError(
            f"data set {dataset.about.name!r}: expected rows in split {split}, found {there}; "
            "split it with `ecgvision dataset split`, or name another with --split"
        )
    return np.union1d(judged, dataset.chosen("validation"))


def evaluate(
    models: Sequence[Model],
    dataset: Dataset,
    settings: Settings | None = None,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Measure all models; see `tables.COLUMNS` for what comes out. `remarks` are put first.

    Raises `EvaluationError` where models and data do not fit, `LabelError` for impossible labels,
    `UsageError` for settings that nothing fits.
    """
    settings = settings or Settings()
    asked = questions(
        [task for model in models for task in model.predictions.tasks], dataset, settings.cuts
    )
    rows = _rows(dataset, settings.split)
    tables = Tables(dataset.about.simulated)
    selections = _selections(rows)
    temperatures = _temperatures(models, rows, dataset)
    for question in asked:
        able = [model for model in models if question.task.name in model.predictions.scores]
        for selection in selections:
            sample = _sample(question, selection, able, rows, temperatures)
            measure(sample, tables, draws=settings.draws, seed=settings.seed)
            for prevalence in settings.prevalences:
                at_prevalence(sample, prevalence, tables, draws=settings.draws, seed=settings.seed)
        whole = _sample(question, ALL, able, rows, temperatures)
        judged = rows.numbers[rows.test & ~np.isnan(question.labels[rows.numbers])]
        tables.add("groups", group_rows(whole, groups_of(dataset, judged)))
    _add_macro(models, dataset, rows, selections, tables, settings)
    unseen = _add_readers(settings.readers, asked, rows, tables)
    told = [*remarks, *_remarks(dataset, rows, settings, tables), *_of_models(models), *unseen]
    return Evaluation(
        dataset,
        settings,
        tuple(models),
        asked,
        selections,
        tables,
        temperatures,
        tuple(told),
    )


def _rows(dataset: Dataset, split: str) -> _Rows:
    numbers = rows_needed(dataset, split)
    table = dataset.rows.iloc[numbers]
    splits = table["split"].to_numpy()
    # Nothing may be chosen on the rows that it is judged on.
    validation = (splits == "validation") & (split != "validation")
    formats = np.array([one or "format not known" for one in table["format"]], dtype=str)
    return _Rows(numbers, splits == split, validation, formats, table["patient"].to_numpy(str))


def _selections(rows: _Rows) -> tuple[str, ...]:
    formats = sorted(set(rows.formats[rows.test]))
    return (ALL, *formats) if len(formats) > 1 else (ALL,)


def _sample(
    question: Question,
    selection: str,
    models: Sequence[Model],
    rows: _Rows,
    temperatures: dict[tuple[str, str], calibration.Temperature],
) -> Sample:
    labels = question.labels[rows.numbers]
    chosen = ~np.isnan(labels)
    if selection != ALL:
        chosen &= rows.formats == selection
    test, validation = chosen & rows.test, chosen & rows.validation
    answers = []
    for model in models:
        log_odds = question.log_odds(model.predictions)
        temperature = temperatures.get((model.name, question.task.name))
        answers.append(
            Answers(
                model.name,
                log_odds[test],
                log_odds[validation],
                None if question.other_cut or question.number is not None else temperature,
            )
        )
    return Sample(
        question.name,
        selection,
        labels[test],
        rows.patients[test],
        labels[validation],
        tuple(answers),
        fewest=1 if selection == ALL else FEWEST,
    )


def _temperatures(
    models: Sequence[Model], rows: _Rows, dataset: Dataset
) -> dict[tuple[str, str], calibration.Temperature]:
    """One for each model and task, fitted on the validation rows of every format."""
    found = {}
    for model in models:
        for task in model.predictions.tasks:
            truth = class_numbers(task, dataset)[rows.numbers]
            known = rows.validation & ~np.isnan(truth)
            logits = model.predictions.scores[task.name][known]
            found[model.name, task.name] = calibration.fit_temperature(truth[known], logits)
    return found


def _add_macro(
    models: Sequence[Model],
    dataset: Dataset,
    rows: _Rows,
    selections: Sequence[str],
    tables: Tables,
    settings: Settings,
) -> None:
    """The mean over the classes of tasks with several."""
    tasks: dict[str, Task] = {}
    for model in models:
        tasks |= {task.name: task for task in model.predictions.tasks if not task.is_binary}
    for task in tasks.values():
        truth = class_numbers(task, dataset)[rows.numbers]
        for selection in selections:
            chosen = rows.test & ~np.isnan(truth)
            if selection != ALL:
                chosen &= rows.formats == selection
            for model in models:
                if task.name in model.predictions.scores:
                    logits = model.predictions.scores[task.name][chosen]
                    found = macro(
                        truth[chosen],
                        logits,
                        rows.patients[chosen],
                        draws=settings.draws,
                        seed=settings.seed,
                    )
                    who = {"task": f"{task.name}: macro", "rows": selection, "model": model.name}
                    tables.add("metrics", [{**who, **one} for one in found])


def _add_readers(
    readers: Sequence[Reader], asked: Sequence[Question], rows: _Rows, tables: Tables
) -> list[str]:
    """Add those that can be shown; what is to be said of the others."""
    tasks, formats = {question.name for question in asked}, set(rows.formats[rows.test])
    remarks = []
    for reader in readers:
        if reader.task not in tasks or (reader.format and reader.format not in formats):
            where = f" and format {reader.format}" if reader.format else ""
            remarks.append(
                f"Reader {reader.name} is not shown: no rows of task {reader.task}{where} are "
                "judged."
            )
            continue
        sensitivity, specificity = reader.intervals
        row: Row = {
            "task": reader.task,
            "format": reader.format,
            "reader": reader.name,
            "sensitivity": reader.sensitivity,
            "specificity": reader.specificity,
            "sensitivity_low": sensitivity.low,
            "sensitivity_high": sensitivity.high,
            "specificity_low": specificity.low,
            "specificity_high": specificity.high,
            "note": reader.note,
        }
        tables.add("readers", [row])
    return remarks


def _of_models(models: Sequence[Model]) -> list[str]:
    return [remark for model in models for remark in model.remarks]


def _remarks(dataset: Dataset, rows: _Rows, settings: Settings, tables: Tables) -> list[str]:
    """What a reader must know before the figures."""
    found = []
    split = settings.split
    if split == "train":
        found.append("The rows judged are training rows: the figures say nothing of new patients.")
    if split == "validation":
        found.append(
            "The rows judged are the validation rows, on which trainings are stopped: the figures "
            "are too good. Nothing else is left to choose thresholds and temperatures on; they are "
            "not given."
        )
    elif not rows.validation.any():
        found.append(
            "The data set has no validation rows: there are no temperatures and no thresholds from "
            "validation. Operating points are only given as in the study, chosen on the rows that "
            "are judged."
        )
    patients = rows.patients[rows.test]
    if repeat(patients):
        found.append(
            f"{patients.size:,} rows are of {np.unique(patients).size:,} patients. Rows of one "
            "patient are not independent, which plain DeLong assumes: variances and tests of AUCs "
            "sum over patients (Obuchowski), the bootstrap draws patients. Wilson's intervals of "
            "rates take rows as independent and are too narrow."
        )
    elsewhere = (dataset.rows["split"] != split) & dataset.rows["split"].isin(
        ["train", "validation"]
    )
    shared = set(patients) & set(dataset.rows.loc[elsewhere, "patient"])
    if shared:
        found.append(
            f"{len(shared):,} patients of the rows judged have rows in training or validation as "
            "well: the figures are too good. Split the data set by patient."
        )
    unanswered = {
        str(row["task"]) for row in tables.rows["metrics"] if "too few" in str(row["note"])
    }
    if unanswered:
        found.append(
            f"Too few cases for some figures of {', '.join(sorted(unanswered))}; they are left out."
        )
    return found
