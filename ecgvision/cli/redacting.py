"""`ecgvision redact`: a report without its patient."""

from __future__ import annotations

from pathlib import Path

import click

from ecgvision.cli.common import check_output, installed_formats
from ecgvision.errors import EcgVisionError, UsageError


@click.command(short_help="Write a report without its patient.")
@click.argument("source", type=click.Path(path_type=Path), metavar="IN")
@click.argument("target", type=click.Path(path_type=Path), metavar="OUT.pdf")
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Format of the pages: an id or alias from `formats list`, auto, or custom.",
)
@click.option(
    "--layout",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Layout file for --format custom.",
)
@click.option("--force", is_flag=True, help="Replace OUT.pdf where it exists.")
def redact(source: Path, target: Path, format_name: str, layout: Path | None, force: bool) -> None:
    """Write the pages of IN, a PDF or an image, anew as OUT.pdf without what names a patient.

    OUT.pdf shows traces, grid, lead names and scale, and holds nothing else: no other words, no
    metadata, nothing covered. A page that cannot be redacted for sure is refused, and then
    nothing is written. Look at what comes out before you pass it on.
    """
    from ecgvision.output import write_files
    from ecgvision.recognition import CUSTOM, choose_formats
    from ecgvision.redact import redacted

    if target.suffix.lower() != ".pdf":
        raise UsageError(f"a redacted report is a PDF; name {target.name!r} with the ending .pdf")
    check_output(target, force=force, source=source)
    installed = None if format_name.lower() == CUSTOM else installed_formats()
    try:
        formats = choose_formats(format_name, layout, installed)
    except EcgVisionError as error:  # a layout file that is wrong
        raise UsageError(str(error)) from error
    write_files({target: redacted(source, formats)})
