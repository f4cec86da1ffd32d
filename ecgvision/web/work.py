"""What a worker does with one upload: each page read, drawn, answered, and put in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgvision.conversion import PageOptions, SignalOptions, convert_page
from ecgvision.errors import EcgVisionError, PageError
from ecgvision.media import Report, open_report
from ecgvision.recognition import AUTO, choose_formats
from ecgvision.web import pages
from ecgvision.web.answering import answered
from ecgvision.web.settings import Heat

PAGE_JSON = "page.json"
TOTAL_FILE = "total"


@dataclass(frozen=True, slots=True)
class UploadTask:
    """An upload in `folder`, as the file `report`; `layout` is a layout file for "custom".

    Without `pictures` only the numbers are wanted; `heat` is how to find what raised the answers.
    `only` is the one page to read, None for all.
    """

    folder: Path
    format: str = AUTO
    layout: Path | None = None
    model: str | None = None
    clinical: Mapping[str, float] = field(default_factory=dict)
    most_pages: int = 20
    only: int | None = None
    heat: Heat = "none"
    pictures: bool = True

    @property
    def report(self) -> Path:
        return self.folder / "report"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a whole file cannot be used."""

    code: str
    expected: str
    found: str
    hint: str


def page_folder(folder: Path, number: int) -> Path:
    return folder / f"page-{number}"


def read_upload(task: UploadTask) -> Failure | None:
    """Read all pages of an upload, each into a folder of its own; None, or why none can be read."""
    try:
        formats = choose_formats(task.format, task.layout)
        with open_report(task.report) as report:
            count = report.page_count
            if count > task.most_pages:
                return Failure(
                    "too-many-pages",
                    f"a report of at most {task.most_pages} pages",
                    f"{count} pages",
                    "split the file; `ecgvision convert` takes files of any length",
                )
            numbers = range(1, count + 1) if task.only is None else (task.only,)
            (task.folder / TOTAL_FILE).write_text(str(len(numbers)), encoding="ascii")
            for number in numbers:
                files = _safely(report, number, formats, task)
                _keep(page_folder(task.folder, number), files)
    except PageError as error:
        return Failure(error.code, error.expected, error.found, error.hint)
    except EcgVisionError as error:
        return Failure(error.code, "a format or layout that can be used", str(error), "change it")
    return None


def _safely(report: Report, number: int, formats: Any, task: UploadTask) -> dict[str, bytes]:
    """The files of one page; a bug of ours costs this page only."""
    try:
        return _page(report, number, formats, task)
    except MemoryError:
        raise
    except Exception as error:
        told = pages.refused(_internal(task, number, error), number, report.page_count)
        return {PAGE_JSON: json.dumps(told).encode()}


def _internal(task: UploadTask, number: int, error: Exception) -> PageError:
    """Only its kind is told: what it says may quote the page."""
    return PageError(
        "internal",
        task.report,
        number,
        expected="a page that can be worked on",
        found=type(error).__name__,
        hint="please report it",
    )


def _page(report: Report, number: int, formats: Any, task: UploadTask) -> dict[str, bytes]:
    """The files of one page, its JSON among them."""
    signals = SignalOptions(qc=task.pictures, min_quality="doubtful")
    options = PageOptions(signals=signals, read_signals=True)
    found = convert_page(report, number, report.sha256, formats, options)
    files: dict[str, bytes] = {}
    if isinstance(found, PageError):
        told = pages.refused(found, number, report.page_count)
        if task.pictures:
            told |= pages.draw_unknown(report, number, files)
    else:
        told = pages.described(found)
        if task.pictures:
            told |= pages.draw(report, found, files)
        told |= answered(task.model, report, found, formats, task.clinical, task.heat, files)
    told["files"] = sorted(files)
    files[PAGE_JSON] = json.dumps(told, allow_nan=False).encode()
    return files


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files so that they are there all at once."""
    staged = folder.with_name(f".{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700)
    for name, content in files.items():
        (staged / name).write_bytes(content)
    staged.rename(folder)
