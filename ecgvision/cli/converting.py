"""`ecgvision convert`: many files in, two files out per page, one line for all that failed."""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ecgvision.cli.common import described, error_line, installed_formats, printable
from ecgvision.errors import EcgVisionError, PageError, UsageError

if TYPE_CHECKING:
    from ecgvision.conversion import Conversion
    from ecgvision.normalise import ImageOptions, Style
    from ecgvision.output import Job, OutputNames
    from ecgvision.plugins import Format

    Renderer = Literal["pymupdf", "poppler"]

_MOST_MEGAPIXELS = 400
# A lead of fewer pixels than this, either way, shows nothing.
_LEAST_LEAD_PX = 8
_CANONICAL_ONLY = {
    "px_per_mm": "--px-per-mm",
    "lead_seconds": "--lead-seconds",
    "lead_height": "--lead-height",
    "beats": "--beats",
}


@click.command()
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
    default=30.0,
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
    force: bool,
    debug: bool,
) -> None:
    """Turn reports into 12-lead images, each with a JSON that says what was done.

    PATH is a file, a folder (searched with all its sub-folders, but not through links) or a
    pattern in quotes. Each page gives STEM.png and STEM.json, further pages of a file STEM-p2
    and so on; what was found in a sub-folder goes to the same sub-folder of DIR. A page that
    cannot be used is named on stderr, and the rest is converted.
    """
    from ecgvision.conversion import CUSTOM, choose_formats
    from ecgvision.normalise import ImageOptions
    from ecgvision.output import find_jobs

    if style != "canonical":
        _refuse_canonical_options(ctx)
    options = ImageOptions(style, px_per_mm, lead_seconds, lead_height, beats)
    check_size(options)
    jobs = find_jobs(paths, out_dir)
    if format_name.lower() != CUSTOM:
        installed_formats()
    try:
        formats = choose_formats(format_name, layout)
    except EcgVisionError as error:  # a layout file that is wrong: nothing can be converted
        raise UsageError(str(error)) from error
    _make_folder(out_dir)
    run = Run(out_dir, formats, options, renderer, force=force, debug=debug)
    run.reserve(jobs)
    with _progress(jobs) as bar:
        for job in bar:
            run.convert(job)
    click.echo(run.summary())
    ctx.exit(1 if run.failed else 0)


def _refuse_canonical_options(ctx: click.Context) -> None:
    """The study's images have one size; an option without any effect would mislead."""
    given = [
        flag
        for name, flag in _CANONICAL_ONLY.items()
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)} needs --style canonical; leave one of them out")


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


@dataclass
class Run:
    """One call of `convert`: what it writes, and how many pages came out or failed."""

    out_dir: Path
    formats: Sequence[Format]
    options: ImageOptions
    renderer: Renderer
    force: bool = False
    debug: bool = False
    written: int = 0
    failed: int = 0
    noted: int = 0
    _sources: frozenset[str] = frozenset()
    _owners: dict[Path, Path] = field(default_factory=dict)

    def reserve(self, jobs: Iterable[Job]) -> None:
        """Give each output to the first input that would write it, before any is converted.

        So it does not depend on which input can be read who gets a name.
        """
        jobs = list(jobs)
        self._sources = frozenset(os.path.realpath(job.source) for job in jobs)
        for job in jobs:
            self._owners.setdefault(self._names(job, 1).png, job.source)

    def convert(self, job: Job) -> None:
        """Convert all pages of one file; whatever goes wrong is told and counted."""
        from ecgvision.conversion import convert_each

        number = 0
        try:
            self._check_folder(job)
            self._check_names(job, 1, may_exist=True)
            if not self._all_there(job):
                pages = convert_each(job.source, self.formats, self.options, self.renderer)
                for number, result in enumerate(pages, 1):
                    self._finish(job, result)
        except EcgVisionError as error:
            self._fail(job, described(error))
        except Exception as error:  # a bug, of ours or of a plugin, costs this file only
            self._fail_inside(job, number + 1, error)

    def summary(self) -> str:
        noted = f"; {self.noted} with warnings, see their JSON" if self.noted else ""
        return f"{self.written} pages written, {self.failed} failed{noted}"

    def _names(self, job: Job, number: int) -> OutputNames:
        from ecgvision.output import output_names

        return output_names(job.source, number, self.out_dir, job.relative)

    def _check_folder(self, job: Job) -> None:
        if job.source.is_dir():
            raise PageError(
                "folder-unreadable",
                job.source,
                None,
                expected="a folder that can be listed",
                found="one that cannot",
                hint="check its permissions",
            )

    def _check_names(self, job: Job, number: int, *, may_exist: bool = False) -> None:
        """Raise `PageError` unless this page's files may be written."""
        names = self._names(job, number)
        page = None if may_exist else number
        owner = self._owners.setdefault(names.png, job.source)
        if owner != job.source:
            raise PageError(
                "output-clash",
                job.source,
                page,
                expected=f"{names.png.name} for this input alone",
                found=f"that {owner} writes it too",
                hint="rename one of them, or convert them to different folders",
            )
        for path in (names.png, names.json):
            if os.path.realpath(path) in self._sources:
                raise PageError(
                    "output-is-input",
                    job.source,
                    page,
                    expected="outputs apart from the inputs",
                    found=f"{path}, which is an input",
                    hint="choose another folder with -o",
                )
            if os.path.lexists(path) and not (self.force or may_exist):
                raise PageError(
                    "output-exists",
                    job.source,
                    page,
                    expected=f"no file {path}",
                    found="one",
                    hint="use --force to replace it, or another folder with -o",
                )

    def _all_there(self, job: Job) -> bool:
        """Whether every page's output exists, told and counted: no need to convert and then refuse.

        Only the first page's names are looked at for most files; the file is opened after that.
        """
        if self.force or not _exist(self._names(job, 1)):
            return False
        from ecgvision.media import open_report

        with open_report(job.source, renderer=self.renderer) as report:
            numbers = range(1, report.page_count + 1)
        if not all(_exist(self._names(job, number)) for number in numbers):
            return False
        for number in numbers:
            try:
                self._check_names(job, number)
            except PageError as error:
                self._fail(job, described(error))
        return True

    def _finish(self, job: Job, result: Conversion | PageError) -> None:
        from ecgvision.output import json_bytes, png_bytes, write_files

        try:
            if isinstance(result, PageError):
                raise result
            self._check_names(job, result.page_number)
            names, image = self._names(job, result.page_number), result.image
            write_files(
                {
                    names.png: png_bytes(image.pixels, image.px_per_mm),
                    names.json: json_bytes(result.summary()),
                }
            )
        except EcgVisionError as error:
            self._fail(job, described(error))
        else:
            self.written += 1
            self.noted += bool(result.notices)

    def _fail(self, job: Job, line: str) -> None:
        """Count it and tell it; errors name the file only, so its sub-folder goes before it."""
        self.failed += 1
        folder = "" if job.relative == Path() else printable(f"{job.relative}{os.sep}")
        error_line(f"{folder}{line}")

    def _fail_inside(self, job: Job, number: int, error: Exception) -> None:
        """An internal error: its own words may quote the page, so only its kind is told."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        name = printable(job.source.name)
        self._fail(
            job,
            f"{name} page {number}: internal error, {type(error).__name__} in "
            f"{Path(where.filename).name} line {where.lineno}; this page and any after it are "
            "left out; please report it with what --debug shows [internal]",
        )
        if self.debug:
            error_line("".join(traceback.format_exception(error)))


def _exist(names: OutputNames) -> bool:
    return os.path.lexists(names.png) or os.path.lexists(names.json)
