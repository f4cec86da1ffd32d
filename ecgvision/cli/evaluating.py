"""`ecgvision evaluate`: how good trained models are, as one HTML page and its tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import described, error_line, extra, printable
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecgvision.dataset.predictions import Predictions
    from ecgvision.dataset.store import Dataset
    from ecgvision.evaluation.evaluate import Evaluation
    from ecgvision.evaluation.models import Predict
    from ecgvision.evaluation.readers import Reader

_STUDY = "study"


@click.command(short_help="Measure trained models; one HTML report and its tables.")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DATA",
    help="Data set to evaluate on.",
)
@click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="REPORT",
    help="Folder of the report.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Rows to judge. Thresholds and temperatures always come from validation.",
)
@click.option(
    "--readers",
    metavar="FILE",
    help="CSV with task, reader, sensitivity, specificity: points in the ROC diagram. "
    'The word "study" stands for the two cardiologists of the study.',
)
@click.option(
    "--prevalence",
    "prevalences",
    type=float,
    multiple=True,
    metavar="SHARE",
    help="Also draw rows of that prevalence, such as 0.08. May be repeated.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="TASK=VALUE",
    help="Also judge a task's output at another cut of its label, such as lvef=40. "
    "May be repeated.",
)
@click.option("--draws", type=int, default=1000, show_default=True, help="Bootstrap draws.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option(
    "--anew", is_flag=True, help="Ask the models again, also where a run has its predictions."
)
@click.option("--force", is_flag=True, help="Replace an index.html that is no older report.")
def evaluate(
    runs: tuple[Path, ...],
    data: Path,
    target: Path,
    split: str,
    readers: str | None,
    prevalences: tuple[float, ...],
    cuts: tuple[str, ...],
    draws: int,
    seed: int,
    anew: bool,
    force: bool,
) -> None:
    """Measure what `ecgvision train` wrote to RUN on the rows of DATA, side by side.

    REPORT then holds index.html, which needs no network, and its numbers as CSV files. Research
    only: the figures say how models do on these rows.

    Exit code 1: a run could not be evaluated, the others are in the report.
    """
    with extra("data"):
        from ecgvision.dataset.store import open_dataset
        from ecgvision.evaluation import evaluate as all_of
        from ecgvision.evaluation.models import collect
        from ecgvision.evaluation.writing import check_report, write_report

        settings = all_of.Settings(
            split, draws, seed, prevalences, tuple(map(_cut, cuts)), _readers(readers)
        )
        check_report(target, force=force)
        dataset = open_dataset(data)
        rows = all_of.rows_needed(dataset, split)
        found = collect(runs, dataset, rows, _predict(anew=anew))
        failed = [
            f"{name} could not be evaluated: {described(error)}"
            for name, error in found.failed.items()
        ]
        done = all_of.evaluate(found.models, dataset, settings, failed)
        path = write_report(done, target, force=force)
    for remark in done.remarks:
        error_line(f"warning: {printable(remark)}")
    _say(done)
    click.echo(printable(str(path)))
    if failed:
        raise click.exceptions.Exit(1)


def _predict(*, anew: bool) -> Predict:
    """What runs have predicted already, else their models, which need the extra "train"."""
    from ecgvision.evaluation.models import stored

    def predict(run: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Predictions:
        found = None if anew else stored(run, dataset, rows)
        if found is not None:
            return found
        with extra("train"):
            from ecgvision.training.predicting import predict_run

            return predict_run(run, dataset, rows)

    return predict


def _cut(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not equals or not math.isfinite(value):
        raise UsageError(f"--cut {text!r}: expected TASK=VALUE, such as lvef=40")
    return name, value


def _readers(named: str | None) -> tuple[Reader, ...]:
    from ecgvision.evaluation.readers import STUDY, read_readers

    if named is None:
        return ()
    return STUDY if named == _STUDY else read_readers(Path(named))


def _say(done: Evaluation) -> None:
    """The AUC of every model and task on all rows."""
    from ecgvision.evaluation.wording import figure

    if done.tables.simulated:
        click.echo("Simulated data")
    for row in done.tables.where("metrics", rows="all", metric="auc"):
        macro = str(row["task"]).endswith(": macro")
        if macro or not str(row["method"]).startswith("bootstrap"):
            auc = figure(*(float(row[name]) for name in ("value", "low", "high")))
            told = f"AUC {auc}" if auc else str(row["note"])
            click.echo(printable(f"{row['task']}, {row['model']}: {told}, {row['n']:,} rows"))
