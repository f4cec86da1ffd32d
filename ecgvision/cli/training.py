"""`ecgvision train`: a recipe trained on a data set."""

from __future__ import annotations

from pathlib import Path

import click

from ecgvision.cli.common import error_line, extra, printable


@click.command(short_help="Train a recipe on a data set.")
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DATA",
    help="Folder of a data set.",
)
@click.option(
    "-o",
    "--out",
    "run",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="Folder of the run: a new one, or one of the same recipe and data that is to go on.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe: training.epochs=2, tasks.scar.weight=0.6.",
)
@click.option(
    "--tasks",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file whose [[tasks]] replace the recipe's.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run whose weights it starts from, for recipes that start from another's.  "
    "[default: beside RUN, by the other's name]",
)
def train(
    recipe: str,
    data: Path,
    run: Path,
    settings: tuple[str, ...],
    tasks: Path | None,
    start: Path | None,
) -> None:
    """Train RECIPE, the name of one that comes with the package or a TOML file, on a data set.

    RUN then holds the model, its metrics and predictions, and run.json, which says what it was made
    of. Stopped or killed, the same command goes on from the last epoch, and comes to the same end.
    """
    with extra("train"):
        from ecgvision.dataset.store import open_dataset
        from ecgvision.training.recipe import load_recipe
        from ecgvision.training.run import train_run

        chosen = load_recipe(recipe, settings, tasks)
        told = train_run(
            chosen,
            open_dataset(data),
            run,
            start=start,
            say=lambda text: error_line(printable(text)),
        )
    if told:
        rate = told.get("examples_per_s")
        speed = f", {rate:,.0f} examples a second" if rate else ""
        click.echo(f"{printable(str(run))}: {chosen.title}, trained{speed}")
