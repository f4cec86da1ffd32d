"""`ecgvision inspect` and `ecgvision sample`: one page looked at, one page drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import check_output, installed_formats
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.plugins import Format
    from ecgvision.types import Layout

_SCAN_DPI = 200
_SLOWEST_BPM, _FASTEST_BPM = 20, 250


@click.command(short_help="Print what can be measured on a page.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per page.")
@click.option("--no-texts", is_flag=True, help="Leave out the printed words, which name a patient.")
def inspect(file: Path, as_json: bool, no_texts: bool) -> None:
    """Print what can be measured on the pages of FILE: what one needs to write a layout.

    Size, printed words with their places, strokes by colour and width, pitch of the grid and
    embedded images, in mm from the top left corner. The words include the header: do not pass
    them on.
    """
    from ecgvision.survey.inspection import inspect_report

    pages = inspect_report(file, texts=not no_texts)
    if as_json:
        click.echo(json.dumps([page.as_dict() for page in pages], indent=2))
    else:
        click.echo("\n\n".join(page.as_text().rstrip("\n") for page in pages))


@click.command(short_help="Draw a report page from a synthetic ECG.")
@click.option(
    "--format",
    "format_name",
    required=True,
    metavar="NAME",
    help="Format to draw: an id or alias from `formats list`.",
)
@click.option(
    "--layout-name",
    metavar="NAME",
    help="Which of the format's layouts, as `formats show` names them.  [default: the first]",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write: PDF, or PNG where it ends in .png.",
)
@click.option(
    "--scan",
    is_flag=True,
    help=f"Draw it as a skewed, blurred and noisy scan of {_SCAN_DPI} dpi; a PDF only embeds it.",
)
@click.option("--png", is_flag=True, help="Write a PNG; the file's name must end in .png.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number that picks the ECG and the noise of a scan; the same one gives the same page.",
)
@click.option(
    "--heart-rate",
    type=float,
    default=72.0,
    show_default=True,
    metavar="BPM",
    help=f"Heart rate in beats per minute, {_SLOWEST_BPM} to {_FASTEST_BPM}.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def sample(
    format_name: str,
    layout_name: str | None,
    out: Path,
    scan: bool,
    png: bool,
    seed: int,
    heart_rate: float,
    force: bool,
) -> None:
    """Draw a report page of a format from a built-in synthetic ECG; no patient stands behind it."""
    if not _SLOWEST_BPM <= heart_rate <= _FASTEST_BPM:
        raise UsageError(
            f"--heart-rate must lie in {_SLOWEST_BPM} to {_FASTEST_BPM} beats per minute, "
            f"found {heart_rate:g}"
        )
    ending = out.suffix.lower()
    if png and ending != ".png":
        raise UsageError(f"--png with -o {str(out)!r}: give the file a name that ends in .png")
    if ending not in (".pdf", ".png"):
        raise UsageError(f"-o {str(out)!r}: the name must end in .pdf or .png")
    chosen = installed_formats().find(format_name)
    layout = _layout(chosen, layout_name)
    check_output(out, force=force)

    from ecgvision.output import write_files
    from ecgvision.testing import as_png, draw_page, scanned, synthetic_ecg

    ecg = synthetic_ecg(seed=seed, heart_rate_bpm=heart_rate)
    data = draw_page(layout, chosen.info, ecg).pdf
    if scan:
        data = scanned(data, dpi=_SCAN_DPI, seed=seed)
    if ending == ".png":
        # A scan keeps its own pixels; a drawn page gets the usual 300 dpi.
        data = as_png(data, dpi=_SCAN_DPI) if scan else as_png(data)
    write_files({out: data})
    click.echo(f"{out}: {chosen.info.id}, layout {layout.name}")


def _layout(chosen: Format, name: str | None) -> Layout:
    if name is None:
        return chosen.layouts[0]
    for layout in chosen.layouts:
        if layout.name == name:
            return layout
    names = ", ".join(layout.name for layout in chosen.layouts)
    raise UsageError(f"{chosen.info.id} has no layout {name!r}; it has {names}")
