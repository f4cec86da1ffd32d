"""Many files in, a few files out for each page, and one line for each page that fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecgvision.cli.common import described, error_line, printable
from ecgvision.errors import EcgVisionError, PageError, UsageError

if TYPE_CHECKING:
    from ecgvision.conversion import PageOptions
    from ecgvision.output import Job, OutputNames
    from ecgvision.plugins import Format
    from ecgvision.result import Conversion


@dataclass
class Batch:
    """One call of `convert`: what it writes, and how many pages came out or failed.

    `kinds` are the kinds of signal files to write.
    """

    out_dir: Path
    formats: Sequence[Format]
    options: PageOptions
    kinds: Sequence[str] = ()
    force: bool = False
    debug: bool = False
    written: int = 0
    failed: int = 0
    noted: int = 0
    withheld: int = 0
    _sources: frozenset[str] = frozenset()
    _owners: dict[Path, Path] = field(default_factory=dict)

    def reserve(self, jobs: Iterable[Job]) -> None:
        """Give each output to the first input that would write it, before any is converted.

        So it does not depend on which input can be read who gets a name.
        """
        jobs = list(jobs)
        self._sources = frozenset(os.path.realpath(job.source) for job in jobs)
        for job in jobs:
            for path in self._names(job, 1).every:
                self._owners.setdefault(path, job.source)

    def convert(self, job: Job) -> None:
        """Convert all pages of one file; whatever goes wrong is told and counted."""
        from ecgvision.conversion import convert_each

        try:
            self._check_folder(job)
            self._check_names(job, 1, may_exist=True)
            if not self._all_there(job):
                for page in convert_each(job.source, self.formats, self.options):
                    self._finish(job, page)
        except EcgVisionError as error:
            self._fail(job, described(error))

    def summary(self) -> str:
        pages = "page" if self.written == 1 else "pages"
        noted = f"; {self.noted} with warnings, see the JSON" if self.noted else ""
        withheld = f", {self.withheld} of them only in their signals" if self.withheld else ""
        return f"{self.written} {pages} written, {self.failed} failed{withheld}{noted}"

    def _names(self, job: Job, number: int) -> OutputNames:
        from ecgvision.output import output_names

        qc = self.options.signals.qc
        return output_names(job.source, number, self.out_dir, job.relative, kinds=self.kinds, qc=qc)

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
        for path in names.every:
            owner = self._owners.setdefault(path, job.source)
            if owner != job.source:
                raise PageError(
                    "output-clash",
                    job.source,
                    page,
                    expected=f"{path.name} for this input alone",
                    found=f"that {owner} writes it too",
                    hint="rename one of them, or convert them to different folders",
                )
        for path in names.every:
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

        with open_report(job.source, renderer=self.options.renderer) as report:
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
        try:
            if isinstance(result, PageError):
                raise result
            self._check_names(job, result.page_number)
            self._write(self._names(job, result.page_number), result)
            if result.refusal is not None:
                self.withheld += 1
                raise result.refusal
        except EcgVisionError as error:
            self._fail(job, described(error))
            if self.debug and error.code == "internal":
                error_line("".join(traceback.format_exception(error)))
        else:
            self.written += 1
            doubtful = result.quality is not None and result.quality.verdict != "good"
            self.noted += bool(result.notices) or doubtful

    def _write(self, names: OutputNames, result: Conversion) -> None:
        """All files of a page at once. Refused signals are not written, nor do old ones stay."""
        from ecgvision.output import json_bytes, png_bytes, write_files

        files = {
            names.png: png_bytes(result.image.pixels, result.image.px_per_mm),
            names.json: json_bytes(result.summary()),
        }
        if names.qc is not None and result.qc is not None:
            files[names.qc] = png_bytes(result.qc)
        if result.refusal is None:
            files |= {names.png.parent / k: v for k, v in self._signals(names.stem, result).items()}
        write_files(files, removed=() if result.refusal is None else names.signals)

    def _signals(self, stem: str, result: Conversion) -> dict[str, bytes]:
        """Name and content of the page's signal files; raises `PageError` where one cannot be."""
        from ecgvision.writers import WriterError, recording_files

        files: dict[str, bytes] = {}
        for kind in self.kinds:
            if result.recording is None:
                break
            try:
                files |= recording_files(result.recording, kind, stem, result.details())
            except WriterError as error:
                raise PageError(
                    error.code,
                    result.source,
                    result.page_number,
                    expected=error.expected,
                    found=error.found,
                    hint=error.hint,
                ) from error
            except UsageError as error:
                raise PageError(
                    "signals-unwritable",
                    result.source,
                    result.page_number,
                    expected="names that a signal file can have",
                    found=str(error),
                    hint="rename the file, its format or its layout",
                ) from error
        return files

    def _fail(self, job: Job, line: str) -> None:
        """Count it and tell it; errors name the file only, so its sub-folder goes before it."""
        self.failed += 1
        folder = "" if job.relative == Path() else printable(f"{job.relative}{os.sep}")
        error_line(f"{folder}{line}")


def _exist(names: OutputNames) -> bool:
    return any(os.path.lexists(path) for path in names.every)
