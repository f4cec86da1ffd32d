"""Many files in, two files out for each page, and one line for each that fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecgvision.cli.common import described, error_line, printable
from ecgvision.errors import EcgVisionError, PageError

if TYPE_CHECKING:
    from ecgvision.conversion import Conversion
    from ecgvision.media import Renderer
    from ecgvision.normalise import ImageOptions
    from ecgvision.output import Job, OutputNames
    from ecgvision.plugins import Format


@dataclass
class Batch:
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

        try:
            self._check_folder(job)
            self._check_names(job, 1, may_exist=True)
            if not self._all_there(job):
                for page in convert_each(job.source, self.formats, self.options, self.renderer):
                    self._finish(job, page)
        except EcgVisionError as error:
            self._fail(job, described(error))

    def summary(self) -> str:
        pages = "page" if self.written == 1 else "pages"
        noted = f"; {self.noted} with warnings, see the JSON" if self.noted else ""
        return f"{self.written} {pages} written, {self.failed} failed{noted}"

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
            if self.debug and error.code == "internal":
                error_line("".join(traceback.format_exception(error)))
        else:
            self.written += 1
            self.noted += bool(result.notices)

    def _fail(self, job: Job, line: str) -> None:
        """Count it and tell it; errors name the file only, so its sub-folder goes before it."""
        self.failed += 1
        folder = "" if job.relative == Path() else printable(f"{job.relative}{os.sep}")
        error_line(f"{folder}{line}")


def _exist(names: OutputNames) -> bool:
    return os.path.lexists(names.png) or os.path.lexists(names.json)
