"""`ecgvision dataset`: make data sets, split them by patient, sum them up, pass them on."""

from __future__ import annotations

import click

from ecgvision.cli.common import Commands


@click.group(cls=Commands, short_help="Make, split, sum up and export data sets.")
def dataset() -> None:
    """Make data sets of pages and labels, split them by patient, sum them up, and export them."""
