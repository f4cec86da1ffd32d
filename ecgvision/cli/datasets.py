"""`ecgvision dataset`: make data sets of pages and labels, split them, sum them up, pass them on."""

from __future__ import annotations

import click

from ecgvision.cli.common import Commands
from ecgvision.cli.drawing import render


@click.group(cls=Commands, short_help="Make, split, sum up and export data sets.")
def dataset() -> None:
    """Make data sets of pages and labels, split them by patient, sum them up, and export them."""


for _command in (render,):
    dataset.add_command(_command)
