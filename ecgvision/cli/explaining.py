"""`ecgvision explain`: where on a page a trained network looked."""

from __future__ import annotations

from pathlib import Path

import click

from ecgvision.cli.common import extra, named_values, printable
from ecgvision.errors import UsageError


@click.command(short_help="Show where on a page a trained network looked.")
@click.argument("name", metavar="ID|RUN")
@click.argument("page", type=click.Path(path_type=Path), metavar="[PAGE]", required=False)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the pictures and their JSON.",
)
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Format of PAGE: an id or alias from `formats list`, or auto.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DATA", help="A data set, instead of PAGE."
)
@click.option("--row", type=int, multiple=True, metavar="N", help="Rows of DATA, counted from 0.")
@click.option(
    "--clinical",
    default="",
    metavar="NAME=VALUE,...",
    help="Clinical features of PAGE, as in age=67,sex=female; what is left out is imputed.",
)
def explain(
    name: str,
    page: Path | None,
    out: Path,
    format_name: str,
    data: Path | None,
    row: tuple[int, ...],
    clinical: str,
) -> None:
    """Lay Grad-CAM++ heat maps of each task over PAGE, a report, or over rows of a data set.

    ID is a model of `models list`, or the path of a model.toml; RUN is a folder that `ecgvision
    train` wrote, of a 2-D model. The JSON beside the pictures has
    the share of the heat that lies on each lead. A heat map shows what raised the score, not what
    is ill.
    """
    if (page is None) == (data is None) or (data is not None) != bool(row):
        raise UsageError("give a PAGE, or --data with --row")
    given = named_values(clinical)
    with extra("train"):
        from ecgvision.dataset.store import open_dataset
        from ecgvision.explain import explain as explained
        from ecgvision.explain import image_network, page_subjects, row_subject

        asked = image_network(name)
        if page is not None:
            subjects = list(page_subjects(asked, page, format_name, given))
        elif data is not None:
            dataset = open_dataset(data)
            subjects = [row_subject(asked, dataset, number) for number in row]
        for subject in subjects:
            for path in explained(asked, subject, out).files:
                click.echo(printable(str(path)))
