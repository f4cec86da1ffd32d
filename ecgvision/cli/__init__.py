"""The command `ecgvision`. What a command needs is loaded when it runs: help comes at once."""

from __future__ import annotations

import sys

import click

from ecgvision import __version__
from ecgvision.cli.common import Commands
from ecgvision.cli.converting import convert
from ecgvision.cli.datasets import dataset
from ecgvision.cli.drawing import render, simulate
from ecgvision.cli.evaluating import evaluate
from ecgvision.cli.explaining import explain
from ecgvision.cli.formats import formats
from ecgvision.cli.models import models
from ecgvision.cli.pages import inspect, sample
from ecgvision.cli.predicting import predict
from ecgvision.cli.redacting import redact
from ecgvision.cli.reporting import report
from ecgvision.cli.serving import serve
from ecgvision.cli.start import prepare_process
from ecgvision.cli.training import train


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ecgvision")
def main() -> None:
    """Turn ECG report pages into normalised 12-lead images and calibrated signals.

    Research software, not a medical device.

    Exit codes: 0 all done, 1 a file or page was refused or failed, 2 the command was wrong, 130
    interrupted.
    """
    prepare_process()
    # A page's or file's own characters must not stop a command on a terminal of another alphabet.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


_COMMANDS = (
    *(convert, report, redact, inspect, formats, sample),
    *(dataset, train, evaluate, predict, explain, models, serve),
)
for _command in _COMMANDS:
    main.add_command(_command)
for _command in (render, simulate):
    dataset.add_command(_command)
