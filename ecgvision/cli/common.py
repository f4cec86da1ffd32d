"""What the commands share: how errors look, and the formats that are installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ecgvision.errors import EcgVisionError, PageError, UsageError

if TYPE_CHECKING:
    from ecgvision.plugins import Format, Formats


class WrongCommand(click.ClickException):
    """Ends the command with exit code 2: what was asked for cannot be."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands end in one line, not a traceback, for errors raised on purpose."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise WrongCommand(printable(str(error))) from error
        except EcgVisionError as error:
            raise click.ClickException(described(error)) from error


# Of commands that read reports.
format_option = click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Format of the reports: an id or alias from `formats list`, auto, or custom.",
)
layout_option = click.option(
    "--layout",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Layout file that describes the pages, for --format custom.",
)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import within it what comes with an extra; one line says which, where it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "ecgvision":
            raise
        raise UsageError(
            f"this needs {error.name}, which is not installed: pip install 'ecgvision[{name}]'"
        ) from error


def named_values(text: str) -> dict[str, str]:
    """What --clinical gives for all pages; raises `UsageError`.

    >>> named_values("age=67, sex=female")
    {'age': '67', 'sex': 'female'}
    """
    given = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, value = (one.strip() for one in part.partition("="))
        if not equals or not name or not value:
            raise UsageError(f"--clinical {part!r}: expected NAME=VALUE, as in age=67,sex=female")
        given[name] = value
    return given


def described(error: EcgVisionError) -> str:
    """The error's sentence on one line, its reason code in brackets at the end."""
    # A page's error has its code in the message.
    text = str(error) if isinstance(error, PageError) else f"{error} [{error.code}]"
    return printable(text)


def printable(text: str) -> str:
    r"""The text on one line: file names may hold line ends and commands to the terminal.

    >>> print(printable("a\nb \x1b[31mred"))
    a\nb \x1b[31mred
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def error_line(text: str) -> None:
    """One line on stderr, clear of a progress bar that may stand there."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[2K", err=True, nl=False)
    click.echo(text, err=True)


def installed_formats(*, warn: bool = True) -> Formats:
    """All installed formats; broken plugins are named on stderr, and the rest works."""
    from ecgvision.plugins import load_formats

    formats = load_formats()
    if warn:
        for broken in formats.broken:
            error_line(f"warning: plugin {printable(f'{broken.name} is broken: {broken.reason}')}")
    return formats


def one_format(name: str, layout: Path | None) -> Format:
    """The format of that name, or the one in a layout file for "custom"."""
    from ecgvision.recognition import AUTO, choose_formats

    if name.lower() == AUTO:
        raise UsageError("name one format here; `ecgvision formats list` shows them")
    return choose_formats(name, layout, installed_formats())[0]


def check_output(path: Path, *, force: bool, source: Path | None = None) -> None:
    """Raise unless `path` may be written: not over the input, over others only with `force`."""
    if source is not None and os.path.realpath(path) == os.path.realpath(source):
        raise UsageError(f"-o {str(path)!r} is the input; choose another name")
    if path.is_dir():
        raise UsageError(f"-o {str(path)!r} is a folder; name a file")
    if not force and os.path.lexists(path):
        raise PageError(
            "output-exists",
            path,
            None,
            expected="no file of that name",
            found="one",
            hint="use --force to replace it, or another name",
        )
