"""Reports without their patient: a new PDF that holds what is known to be ECG, and nothing else.

Not covered but left out: nothing of the old file is copied into the new one. A page whose redaction
does not read as the page itself does is refused.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecgvision.calibration import calibrate
from ecgvision.conversion import as_read, calibrated, page_ink
from ecgvision.errors import PageError
from ecgvision.evidence import upright
from ecgvision.media import open_report
from ecgvision.media.redaction import Sheet, SheetWriter, page_pdf
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format
from ecgvision.recognition import Recognised, recognise
from ecgvision.recording import Calibration, Recording
from ecgvision.redact.check import check_alike, differs
from ecgvision.redact.lines import line_sheet
from ecgvision.redact.pixels import pixel_sheet
from ecgvision.signals.read import read_signals
from ecgvision.trace import trace_leads
from ecgvision.types import Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels


@dataclass(frozen=True, eq=False)
class _Read:
    """A page as the pipeline reads it: upright, calibrated, and its signals."""

    page: Page
    level: Page
    found: Recognised
    ink: Pixels
    scale: Calibration
    recording: Recording


def redacted(path: str | Path, formats: Sequence[Format]) -> bytes:
    """The report as a PDF of as many pages without header, words, metadata or other print.

    A page of lines keeps the strokes of its grid, traces, pulses and separators; lead names, speed
    and gain are set anew. A page of pixels keeps its pixels in the leads' area, as far as they are
    known to be grid, paper, trace, pulse or lead name. `formats` are tried as `recognise` does.

    Raises `PageError` for the first page that cannot be read, is of no format, holds too much that
    is not known ("redaction-unsure"), or reads otherwise once redacted ("redaction-differs").
    """
    source = Path(path)
    with open_report(source) as report, closing(SheetWriter()) as writer:
        for number in range(1, report.page_count + 1):
            try:
                writer.add(_redacted_page(report.page(number), formats))
            except PageError:
                raise
            except Exception as error:  # a bug: its own words may quote the page
                raise _internal(source, number, error) from error
        return writer.tobytes()


def _redacted_page(opened: Page, formats: Sequence[Format]) -> Sheet:
    before = _read(as_read(opened), formats)
    sheet: Sheet
    if before.level.origin == "vector" and _is_of_strokes(before):
        sheet = line_sheet(before.level, before.found.match.layout)
    else:
        sheet = pixel_sheet(
            before.page, before.level, before.found.match, before.ink, before.scale.gain_mm_per_mv
        )
    with tempfile.TemporaryDirectory(prefix="ecgvision-") as folder:
        again = Path(folder) / "redacted.pdf"
        again.write_bytes(page_pdf(sheet))
        with open_report(again) as report:
            try:
                after = _read_again(as_read(report.page(1)), before)
            except PageError as error:
                raise differs(opened, f"one that is refused: {error.code}") from error
    check_alike(opened, before.found.match, before.recording, after.found.match, after.recording)
    return sheet


def _read_again(page: Page, before: _Read) -> _Read:
    """The redacted page: recognised anew, and its signals read.

    A page of pixels is read where the page was before: how far it leans is measured anew from less
    of a page, and would tell nothing of what was taken out.
    """
    if page.origin == "vector":
        return _read(page, [before.found.format])
    found = recognise(page, [before.found.format])
    level = upright(page, before.found.match)
    ink = page_ink(level, before.found, ImageOptions())
    recording = read_signals(
        level, before.found.match, before.found.declared, ink, before.scale
    ).recording
    return _Read(page, level, found, ink, before.scale, recording)


def _is_of_strokes(read: _Read) -> bool:
    traces = trace_leads(read.level, read.found.match.layout, read.ink)
    return any(trace.lines for trace in traces)


def _read(page: Page, formats: Sequence[Format]) -> _Read:
    found = recognise(page, formats)
    level = upright(page, found.match)
    ink = page_ink(level, found, ImageOptions())
    scale = calibrate(level, found.match, ink)
    match = calibrated(found.match, scale)
    recording = read_signals(level, match, found.declared, ink, scale).recording
    return _Read(page, level, replace(found, match=match), ink, scale, recording)


def _internal(source: Path, number: int, error: Exception) -> PageError:
    """What a bug is told as: where it was, and none of its own words."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return PageError(
        "internal",
        source,
        number,
        expected="a page that can be worked on",
        found=f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}",
        hint="please report it",
    )
