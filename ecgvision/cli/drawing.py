"""`ecgvision dataset render` and `simulate`: pages drawn from recordings, and made-up patients."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import error_line, extra, installed_formats, printable
from ecgvision.cli.converting import check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecgvision.dataset.drawing import SignalKind
    from ecgvision.dataset.join import LeftOut
    from ecgvision.normalise import Style

# With more refused pages than that, the rest stand in left-out.csv only.
_MOST_LINES = 20


@click.command(short_help="Draw records as pages and make a data set of them.")
@click.argument("records", metavar="RECORDS")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Data set to write: a folder.",
)
@click.option(
    "--format",
    "format_names",
    metavar="NAMES",
    help="Formats to draw every record in, with commas between.  [default: what the labels say]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="TABLE",
    help="What is known of the records.  [default: labels.csv beside them]",
)
@click.option(
    "--schema",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="TOML",
    help="What the table's columns are.  [default: schema.toml beside it]",
)
@click.option(
    "--style",
    type=click.Choice(["canonical", "published", "published-windows"]),
    default="canonical",
    show_default=True,
    help="The images as `convert` gives them; the study's networks saw published-windows.",
)
@click.option(
    "--image-px",
    type=int,
    nargs=2,
    default=(384, 384),
    show_default=True,
    metavar="HEIGHT WIDTH",
    help="Size of the images.",
)
@click.option(
    "--lead-seconds",
    type=float,
    metavar="SECONDS",
    help="Seconds of each lead in canonical images.  [default: 2.5]",
)
@click.option(
    "--lead-height",
    type=float,
    default=40.0,
    show_default=True,
    metavar="MM",
    help="Height of each lead in canonical images, in mm of paper.",
)
@click.option(
    "--scan-share",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the pages that are scans.",
)
@click.option(
    "--signals",
    type=click.Choice(["none", "read", "true", "whole"]),
    default="none",
    show_default=True,
    help="Signals beside the images: read off the pages; or true, the records' own where the page "
    "prints them; or whole ones.",
)
@click.option(
    "--fs",
    "fs_hz",
    type=float,
    default=200.0,
    show_default=True,
    metavar="HZ",
    help="Sampling rate of the signals.",
)
@click.option(
    "--seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="Length of the signals; longer ones are cut, shorter ones end in NaN.",
)
@click.option(
    "--drawings",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Pages of every record and format: they look different and begin at other places of it. "
    "`dataset split` keeps all for training, and the first alone elsewhere.",
)
@click.option(
    "--direct",
    is_flag=True,
    help="Draw the images at once, not by way of pages: faster, and only nearly the same.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that draw.  [default: one a core]",
)
@click.option("--force", is_flag=True, help="Replace the data set if it exists.")
def render(
    records: str,
    out: Path,
    format_names: str | None,
    labels: Path | None,
    schema: Path | None,
    style: Style,
    image_px: tuple[int, int],
    lead_seconds: float | None,
    lead_height: float,
    scan_share: float,
    signals: SignalKind,
    fs_hz: float,
    seconds: float,
    drawings: int,
    direct: bool,
    seed: int,
    workers: int | None,
    force: bool,
) -> None:
    """Draw every record in RECORDS as a page, convert it, and make a data set of the images.

    RECORDS is a folder of WFDB records, of NPZ files that `convert` wrote, or one that `dataset
    simulate` made; or ptbxl:FOLDER for PTB-XL in one file. Pages differ in pen, place, header, grid
    and wear, always in the same way for the same seed. Pages that the conversion refuses are told
    and stand in DATA/left-out.csv, with exit code 1; the data set has all others.
    """
    with extra("data"):
        from ecgvision.dataset.drawing import DrawOptions
        from ecgvision.dataset.drawing_labels import formats_to_draw, read_labelled
        from ecgvision.dataset.drawing_run import RenderJob
        from ecgvision.dataset.drawing_run import render as render_all
        from ecgvision.dataset.records import open_records
    from ecgvision.archive.local import usable_cores
    from ecgvision.normalise import ImageOptions

    image = ImageOptions(style=style, lead_s=lead_seconds, lead_height_mm=lead_height)
    check_size(image)
    options = DrawOptions(
        image, image_px, scan_share, signals, fs_hz, seconds, seed, direct, drawings
    )
    found = open_records(records)
    names = [name.strip() for name in (format_names or "").split(",") if name.strip()]
    labelled, formats = formats_to_draw(
        read_labelled(found, labels, schema), names, found.names, installed_formats()
    )
    job = RenderJob(found, labelled, formats, options, out, workers or usable_cores(), force)
    rendered = render_all(job, _teller("Drawing"))
    _tell_left_out(rendered.left_out)
    pages, scans = len(rendered.dataset.rows), rendered.scans
    click.echo(
        f"{printable(str(out))}: {pages:,} pages of {len(found.names):,} records, {scans:,} scans, "
        f"{len(rendered.left_out):,} left out"
    )
    if rendered.left_out:
        sys.exit(1)


def _teller(doing: str) -> Callable[[int, int], None]:
    """Tells the progress on a terminal, and once a minute elsewhere."""
    terminal = sys.stderr.isatty()
    pause_s = 0.2 if terminal else 60.0
    told_s = time.monotonic()

    def tell(over: int, total: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s < pause_s and not (terminal and over == total):
            return
        told_s = time.monotonic()
        line = f"{doing} {over}/{total}"
        if terminal:
            click.echo(f"\r\x1b[2K{line}{chr(10) if over == total else ''}", err=True, nl=False)
        else:
            click.echo(line, err=True)

    return tell


def _tell_left_out(left_out: Sequence[LeftOut]) -> None:
    for one in left_out[:_MOST_LINES]:
        error_line(printable(f"{one.source}: {one.message} [{one.reason}]"))
    if len(left_out) > _MOST_LINES:
        error_line(f"and {len(left_out) - _MOST_LINES:,} more; left-out.csv names them all")


@click.command(short_help="Make up a cohort in which scar and low LVEF show in the ECG.")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="COHORT",
    help="Folder to write: signals.npz, labels.csv, schema.toml, cohort.json.",
)
@click.option("--patients", type=int, required=True, metavar="N", help="How many patients.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same gives the same.")
@click.option(
    "--effect-scar",
    type=float,
    default=1.0,
    show_default=True,
    help="How strongly scar changes the ECG, 0 (not at all) to 3.",
)
@click.option(
    "--effect-lvef",
    type=float,
    default=1.0,
    show_default=True,
    help="How strongly a low ejection fraction changes the ECG, 0 to 3.",
)
@click.option("--force", is_flag=True, help="Replace the cohort if it exists.")
def simulate(
    out: Path, patients: int, seed: int, effect_scar: float, effect_lvef: float, force: bool
) -> None:
    """Make up patients with the study's distributions, their labels and their ECGs.

    No patient stands behind them, and results from them say nothing about medicine. `dataset
    render COHORT` draws each ECG as a page of the machine of its year.
    """
    with extra("data"):
        from ecgvision.dataset.simulate import CohortOptions
        from ecgvision.dataset.simulate_files import write_cohort
        from ecgvision.dataset.simulate_heart import Effects

    options = CohortOptions(patients, seed, Effects(effect_scar, effect_lvef))
    cohort = write_cohort(out, options, replace=force, tell=_teller("Simulating"))
    click.echo(
        f"{printable(str(out))}: {cohort.ecgs:,} simulated ECGs of {cohort.patients:,} patients"
    )
