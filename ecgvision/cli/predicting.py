"""`ecgvision predict`: what a model of the zoo says of reports, or of a converted archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import (
    check_output,
    error_line,
    extra,
    format_option,
    installed_formats,
    layout_option,
    named_values,
    printable,
)
from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    from ecgvision.predicting import PageAnswer, ZooModel
    from ecgvision.predicting.batch import Known
    from ecgvision.predicting.clinical import Value
    from ecgvision.predicting.network import Backend

_CSV, _JSON = "predictions.csv", "predictions.json"
# With more pages than that only the files tell the answers.
_MOST_LINES = 20


@click.command(short_help="Ask a model about reports: calibrated probabilities.")
@click.argument("paths", nargs=-1, required=True, metavar="PAGE...")
@click.option(
    "--model",
    "name",
    default="ptbxl-compact",
    show_default=True,
    metavar="ID",
    help="A model of `models list`, or the path of a model.toml.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for predictions.csv and predictions.json.",
)
@format_option
@layout_option
@click.option(
    "--clinical",
    default="",
    metavar="NAME=VALUE,...|CSV",
    help="Clinical features of all pages, as in age=67,sex=female, or a CSV with the column "
    "source, as it stands in predictions.csv, and a column for each feature.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "onnx", "torch"]),
    default="auto",
    show_default=True,
    help="Who computes. auto: ONNX Runtime with the model's int8 file, else its other ONNX file, "
    "else torch.",
)
@click.option("--force", is_flag=True, help="Replace predictions that are there.")
@click.pass_context
def predict(
    ctx: click.Context,
    paths: tuple[str, ...],
    name: str,
    out: Path,
    format_name: str,
    layout: Path | None,
    clinical: str,
    backend: Backend,
    force: bool,
) -> None:
    """Ask a model about reports. Research software: no answer is a diagnosis.

    PAGE is a report, a folder of reports or a pattern in quotes, as for `convert`; or a folder that
    `convert` wrote, or its manifest.parquet: the pictures there are then asked about. A page whose
    signals are refused gets no answer.

    Exit code 1: a page got no answer; the others are written.
    """
    for target in (out / _CSV, out / _JSON):
        check_output(target, force=force)
    with extra("train" if backend == "torch" else "onnx"):
        from ecgvision.output import write_files
        from ecgvision.predicting.batch import csv_bytes, predictions_json
        from ecgvision.predicting.model import load_model

        model = load_model(name, backend=backend)
        known = _known(clinical, model)
        answers: list[PageAnswer] = []
        for answer in _answers(model, paths, out, format_name, layout, known):
            _tell(answer, len(answers))
            answers.append(answer)
        write_files(
            {
                out / _CSV: csv_bytes(answers),
                out / _JSON: predictions_json(model, answers),
            }
        )
    _end(model, answers, known, out)
    if any(answer.refusal for answer in answers):
        ctx.exit(1)


def _answers(
    model: ZooModel,
    paths: tuple[str, ...],
    out: Path,
    format_name: str,
    layout: Path | None,
    known: Known,
) -> Iterator[PageAnswer]:
    """Those of archives first."""
    from ecgvision.archive.finding import find
    from ecgvision.predicting.batch import answer_archive, answer_reports, archive_of
    from ecgvision.recognition import CUSTOM, choose_formats

    archives = {path: archive_of(Path(path)) for path in paths}
    reports = [path for path, archive in archives.items() if archive is None]
    found = list(find(reports, out)) if reports else []
    for archive in archives.values():
        if archive is not None:
            yield from answer_archive(model, archive, known)
    if found:
        installed = None if format_name.lower() == CUSTOM else installed_formats()
        try:
            formats = choose_formats(format_name, layout, installed)
        except EcgVisionError as error:  # a layout file that is wrong: nothing can be converted
            raise UsageError(str(error)) from error
        yield from answer_reports(model, found, formats, known)


def _known(text: str, model: ZooModel) -> Known:
    """What is known of patients: the same of all, or by a table."""
    from ecgvision.predicting.batch import ClinicalTable
    from ecgvision.predicting.clinical import features

    if text and "=" not in text:
        table = ClinicalTable(Path(text), model.clinical)
        if table.ignored:
            error_line(printable(f"columns that {model.entry.id} does not take: {table.ignored}"))
        return table
    given = named_values(text)
    features(given, model.clinical)

    def same(source: str, page: int | None) -> Mapping[str, Value]:
        return given

    return same


def _tell(answer: PageAnswer, number: int) -> None:
    if answer.refusal is not None:
        error_line(printable(str(answer.refusal)))
        return
    for notice in answer.warnings:
        if number < _MOST_LINES and notice.code != "model-simulated":
            error_line(printable(f"{answer.source.name} page {answer.page}: {notice.message}"))
    if number < _MOST_LINES:
        told = (
            f"{task.task} {task.probability:.3f}{_word(task.positive)}" for task in answer.tasks
        )
        click.echo(printable(f"{answer.source.name} page {answer.page}: {', '.join(told)}"))
    elif number == _MOST_LINES:
        click.echo("further answers are written only")


def _word(positive: bool | None) -> str:
    return "" if positive is None else " positive" if positive else " negative"


def _end(model: ZooModel, answers: list[PageAnswer], known: Known, out: Path) -> None:
    from ecgvision.predicting.answers import RESEARCH_ONLY, SIMULATED
    from ecgvision.predicting.batch import ClinicalTable

    if isinstance(known, ClinicalTable) and known.unused:
        error_line(f"rows of the clinical table that are of no page: {known.unused}")
    done = sum(answer.refusal is None for answer in answers)
    pages = "page" if done == 1 else "pages"
    click.echo(
        printable(
            f"{done} {pages} answered, {len(answers) - done} refused, by {model.entry.id} "
            f"({model.weights}): {out / _CSV}"
        )
    )
    click.echo(RESEARCH_ONLY)
    if model.entry.simulated:
        click.echo(SIMULATED)
