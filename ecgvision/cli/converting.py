"""`ecgvision convert`: its options, and what is checked before any page is read."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.batch import Batch
from ecgvision.cli.common import installed_formats
from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    from ecgvision.conversion import MinQuality
    from ecgvision.media import Renderer
    from ecgvision.normalise import ImageOptions, Style
    from ecgvision.output import Job

_MOST_MEGAPIXELS = 400
# A lead of fewer pixels than this, either way, shows nothing.
_LEAST_LEAD_PX = 8
_CANONICAL_ONLY = {
    "px_per_mm": "--px-per-mm",
    "lead_seconds": "--lead-seconds",
    "lead_height": "--lead-height",
    "beats": "--beats",
}
_SIGNALS_ONLY = {"fs_hz": "--fs", "min_quality": "--min-quality"}
# As `ecgvision.writers.KINDS` has them, which takes too long to load for a help text.
_KINDS = ("npz", "csv", "wfdb", "dicom")


@click.command(short_help="Turn reports into 12-lead images.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Format of the reports: an id or alias from `formats list`, auto, or custom.",
)
@click.option(
    "--layout",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Layout file that describes the pages, for --format custom.",
)
@click.option(
    "-o",
    "--out",
    "out_dir",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the images and their JSON; made where it does not exist.",
)
@click.option(
    "--style",
    type=click.Choice(["canonical", "published", "published-windows"]),
    default="canonical",
    show_default=True,
    help="canonical: the same picture for all formats; published: the study's own images, for "
    "the formats it used.",
)
@click.option(
    "--px-per-mm",
    type=float,
    default=8.0,
    show_default=True,
    metavar="NUMBER",
    help="Resolution of the canonical image in pixels per mm of paper.",
)
@click.option(
    "--lead-seconds",
    type=float,
    metavar="SECONDS",
    help="Seconds of each lead's box in the canonical image.  [default: 2.5, or 5 with --beats]",
)
@click.option(
    "--lead-height",
    type=float,
    default=40.0,
    show_default=True,
    metavar="MM",
    help="Height of each lead's box in the canonical image, in mm.",
)
@click.option(
    "--beats",
    type=click.IntRange(3, 4),
    help="Cut every lead to this many QRS complexes, 3 or 4.",
)
@click.option(
    "--renderer",
    type=click.Choice(["pymupdf", "poppler"]),
    default="pymupdf",
    show_default=True,
    help="Who draws the pixels of PDF pages; poppler is slower and was the study's.",
)
@click.option(
    "--signals",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Read the signals, too, and write them as this kind of file; may be given several times.",
)
@click.option(
    "--fs",
    "fs_hz",
    type=float,
    default=500.0,
    show_default=True,
    metavar="HZ",
    help="Sampling rate of the signals.",
)
@click.option(
    "--speed",
    type=float,
    metavar="MM_PER_S",
    help="Paper speed in mm of the page; wins over what the page and its format say.",
)
@click.option(
    "--gain",
    type=float,
    metavar="MM_PER_MV",
    help="Gain in mm of the page; wins over what the page and its format say.",
)
@click.option(
    "--qc",
    is_flag=True,
    help="Write STEM.qc.png, the page with what was read drawn over it, to be looked at.",
)
@click.option(
    "--min-quality",
    type=click.Choice(["good", "doubtful", "refused"]),
    help="Write no signals of pages judged worse than this; refused: write them all.  "
    "[default: doubtful, or refused without --signals]",
)
@click.option("--force", is_flag=True, help="Replace outputs that exist.")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
@click.pass_context
def convert(
    ctx: click.Context,
    paths: tuple[str, ...],
    format_name: str,
    layout: Path | None,
    out_dir: Path,
    style: Style,
    px_per_mm: float,
    lead_seconds: float | None,
    lead_height: float,
    beats: int | None,
    renderer: Renderer,
    kinds: tuple[str, ...],
    fs_hz: float,
    speed: float | None,
    gain: float | None,
    qc: bool,
    min_quality: MinQuality | None,
    force: bool,
    debug: bool,
) -> None:
    """Turn reports into 12-lead images and signals, with a JSON that says what was done.

    PATH is a file, a folder (searched with all its sub-folders, but not through links) or a
    pattern in quotes. Each page gives STEM.png and STEM.json, further pages of a file STEM-p2
    and so on; what was found in a sub-folder goes to the same sub-folder of DIR. A page that
    cannot be used is named on stderr, and the rest is converted. With --signals each page gives
    calibrated signals in mV, too, where they can be believed.
    """
    from ecgvision.conversion import PageOptions, SignalOptions
    from ecgvision.normalise import ImageOptions
    from ecgvision.output import find_jobs
    from ecgvision.recognition import CUSTOM, choose_formats

    if style != "canonical":
        _refuse(ctx, _CANONICAL_ONLY, "--style canonical")
    if not (kinds or qc):
        _refuse(ctx, _SIGNALS_ONLY, "--signals or --qc")
    image = ImageOptions(style, px_per_mm, lead_seconds, lead_height, beats)
    check_size(image)
    # What is only looked at is never too bad for that.
    least = min_quality or ("doubtful" if kinds else "refused")
    signals = SignalOptions(fs_hz, speed, gain, qc, least)
    options = PageOptions(image, renderer, signals, read_signals=bool(kinds or qc))
    jobs = find_jobs(paths, out_dir)
    installed = None if format_name.lower() == CUSTOM else installed_formats()
    try:
        formats = choose_formats(format_name, layout, installed)
    except EcgVisionError as error:  # a layout file that is wrong: nothing can be converted
        raise UsageError(str(error)) from error
    _make_folder(out_dir)
    batch = Batch(out_dir, formats, options, tuple(dict.fromkeys(kinds)), force, debug)
    batch.reserve(jobs)
    with _progress(jobs) as bar:
        for job in bar:
            batch.convert(job)
    click.echo(batch.summary())
    ctx.exit(1 if batch.failed else 0)


def _refuse(ctx: click.Context, options: Mapping[str, str], needed: str) -> None:
    """An option without any effect would mislead, such as a size of the study's own images."""
    given = [
        flag
        for name, flag in options.items()
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)} needs {needed}; leave one of them out")


def check_size(options: ImageOptions) -> None:
    """Raise `UsageError` for numbers that give no picture, or one that fills the memory."""
    for flag, number in (
        ("--px-per-mm", options.px_per_mm),
        ("--lead-seconds", options.lead_s if options.lead_s is not None else 1.0),
        ("--lead-height", options.lead_height_mm),
    ):
        if not 0 < number < math.inf:
            raise UsageError(f"{flag} must be a positive number, found {number:g}")
    width_px = options.box_s * 25.0 * options.px_per_mm
    height_px = options.lead_height_mm * options.px_per_mm
    advice = "change --px-per-mm, --lead-seconds or --lead-height"
    if min(width_px, height_px) < _LEAST_LEAD_PX:
        raise UsageError(
            f"each lead would be {width_px:.0f} x {height_px:.0f} pixels, under "
            f"{_LEAST_LEAD_PX}; {advice}"
        )
    megapixels = 12 * width_px * height_px / 1e6
    if megapixels > _MOST_MEGAPIXELS:
        raise UsageError(
            f"the image would have {megapixels:.0f} megapixels, over {_MOST_MEGAPIXELS}; {advice}"
        )


def _make_folder(out_dir: Path) -> None:
    """Once, before any work: a folder that cannot be written must not cost a night."""
    from ecgvision.output import OutputError

    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"-o {str(out_dir)!r} is not a folder; name one") from error
    except OSError as error:
        raise OutputError(
            f"cannot make {out_dir}: {error.strerror}; choose another folder with -o"
        ) from error


def _progress(jobs: Sequence[Job]) -> AbstractContextManager[Iterable[Job]]:
    if not sys.stderr.isatty():
        return nullcontext(jobs)
    return click.progressbar(jobs, file=sys.stderr, label="Converting", show_pos=True)
