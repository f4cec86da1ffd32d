"""`ecgvision convert`: its options, and what is checked before any page is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.archiving import Asked, Limited, convert_all
from ecgvision.cli.common import format_option, layout_option
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.conversion import MinQuality
    from ecgvision.media import Renderer
    from ecgvision.normalise import ImageOptions, Style

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
_WORKERS_ONLY = {"timeout_s": "--timeout", "memory_gb": "--memory"}
# As `ecgvision.writers.KINDS` has them, which takes too long to load for a help text.
_KINDS = ("npz", "csv", "wfdb", "dicom")


@click.command(short_help="Turn reports into 12-lead images.")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--list",
    "listed",
    metavar="FILE",
    help="Convert the files in this .csv or .parquet, too: column path and, if need be, format.",
)
@format_option
@layout_option
@click.option(
    "-o",
    "--out",
    "out",
    required=True,
    metavar="DIR",
    help="Folder for the images and their JSON, or its URL; made where it does not exist.",
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
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Who converts: processes of this machine, or a dask cluster.",
)
@click.option(
    "--scheduler",
    metavar="URL",
    help="Address of the scheduler for --engine dask, such as tcp://host:8786.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Files converted at the same time, each in a process of its own; 0: in the command's own "
    "process, without the limits below.  [default: one a core; 0 for a single file]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for one page; opening a file belongs to its first page.",
)
@click.option(
    "--memory",
    "memory_gb",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="GB",
    help="Memory that a worker may take for its files.",
)
@click.option(
    "--pseudonymise",
    "keyfile",
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="Name all outputs by pseudonyms made with the key in this file, which is made if need be.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Keep what an earlier run into DIR has done, and convert only what is missing, failed or "
    "changed.",
)
@click.option("--force", is_flag=True, help="Convert everything again and replace what exists.")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
@click.pass_context
def convert(
    ctx: click.Context,
    paths: tuple[str, ...],
    listed: str | None,
    format_name: str,
    layout: Path | None,
    out: str,
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
    engine: str,
    scheduler: str | None,
    workers: int | None,
    timeout_s: float,
    memory_gb: float,
    keyfile: Path | None,
    resume: bool,
    force: bool,
    debug: bool,
) -> None:
    """Turn reports into 12-lead images and signals, with a JSON that says what was done.

    PATH is a file, a folder (searched with all its sub-folders, but not through links) or a
    pattern in quotes; it may be a URL, such as s3://bucket/folder. Each page gives STEM.png and
    STEM.json, further pages of a file STEM-p2 and so on; what was found in a sub-folder goes to
    the same sub-folder of DIR. A page that cannot be used is named on stderr, and the rest is
    converted. With --signals each page gives calibrated signals in mV, too, where they can be
    believed. DIR/manifest.parquet has a row for each page. The same command goes on where an
    earlier one was stopped.
    """
    from ecgvision.archive.store import placed
    from ecgvision.conversion import PageOptions, SignalOptions
    from ecgvision.normalise import ImageOptions

    if not (paths or listed):
        raise UsageError("name what is to be converted: files, folders, patterns, or --list FILE")
    if style != "canonical":
        _refuse(ctx, _CANONICAL_ONLY, "--style canonical")
    if not (kinds or qc):
        _refuse(ctx, _SIGNALS_ONLY, "--signals or --qc")
    _check_engine(ctx, engine, scheduler, workers)
    image = ImageOptions(style, px_per_mm, lead_seconds, lead_height, beats)
    check_size(image)
    # What is only looked at is never too bad for that.
    least = min_quality or ("doubtful" if kinds else "refused")
    signals = SignalOptions(fs_hz, speed, gain, qc, least)
    asked = Asked(
        paths,
        listed,
        format_name,
        layout,
        placed(out),
        PageOptions(image, renderer, signals, read_signals=bool(kinds or qc)),
        tuple(dict.fromkeys(kinds)),
        Limited(workers, timeout_s, memory_gb, given=bool(_given(ctx, _WORKERS_ONLY))),
        keyfile,
        scheduler=scheduler,
        resume=resume,
        force=force,
        debug=debug,
    )
    ctx.exit(convert_all(asked))


def _check_engine(
    ctx: click.Context, engine: str, scheduler: str | None, workers: int | None
) -> None:
    """Options that the engine does not heed would mislead."""
    if workers == 0:
        _refuse(ctx, _WORKERS_ONLY, "--workers 1 or more")
    if engine == "dask":
        _refuse(ctx, {"workers": "--workers", "memory_gb": "--memory"}, "--engine local")
        if not scheduler:
            raise UsageError("--engine dask needs --scheduler, such as tcp://host:8786")
    else:
        _refuse(ctx, {"scheduler": "--scheduler"}, "--engine dask")


def _given(ctx: click.Context, options: Mapping[str, str]) -> list[str]:
    """Those of the options, as the user writes them, that stand on the command line."""
    return [
        flag
        for name, flag in options.items()
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]


def _refuse(ctx: click.Context, options: Mapping[str, str], needed: str) -> None:
    """An option without any effect would mislead, such as a size of the study's own images."""
    given = _given(ctx, options)
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
