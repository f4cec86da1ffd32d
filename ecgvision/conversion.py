"""From a file to pictures and signals of its leads; the library's front door.

A file is opened, each page recognised, calibrated, cleaned of its grid, normalised, and read.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision import __version__
from ecgvision.calibration import calibrate
from ecgvision.calibration.compare import CONTRADICT
from ecgvision.errors import NoMatchError, PageError, UnreadableError, UsageError
from ecgvision.evidence import upright
from ecgvision.media import Renderer, Report, open_report
from ecgvision.media.views import rendered, turned
from ecgvision.normalise import ImageOptions, canonical_image, published_image
from ecgvision.plugins import Format
from ecgvision.recognition import AUTO, Recognised, choose_formats, recognise
from ecgvision.recording import Calibration
from ecgvision.result import Conversion
from ecgvision.strokes import trace_strokes
from ecgvision.trace import trace_leads
from ecgvision.types import EcgImage, LeadBox, Match, Notice, Page

if TYPE_CHECKING:
    from ecgvision.quality import Quality
    from ecgvision.types import Pixels

MinQuality = Literal["good", "doubtful", "refused"]
# From worst to best.
_VERDICTS: tuple[MinQuality, ...] = ("refused", "doubtful", "good")
# What signals and machines may have; beyond that a number was mistyped.
_FS_HZ, _SPEED_MM_PER_S, _GAIN_MM_PER_MV = (50, 10_000), (1, 500), (0.5, 200)
# Speeds that machines offer. A page within 10 % of one was printed at another size.
_SETTINGS_MM_PER_S = (5.0, 6.25, 10.0, 12.5, 25.0, 50.0, 100.0)
# A stroke of no more points is a bar, a frame or an underline.
_PLAIN_POINTS = 5


@dataclass(frozen=True, slots=True)
class SignalOptions:
    """How signals are to be read, and by which scale.

    `speed_mm_per_s` and `gain_mm_per_mv`, in mm of the page, win over what the page says. `qc`
    asks for a picture to check the signals by. Pages whose verdict is below `min_quality` are
    refused: "refused" keeps all, None is "doubtful". Raises `UsageError` for impossible numbers.
    """

    fs_hz: float = 500.0
    speed_mm_per_s: float | None = None
    gain_mm_per_mv: float | None = None
    qc: bool = False
    min_quality: MinQuality | None = None

    def __post_init__(self) -> None:
        for name, value, (least, most), unit in (
            ("sampling rate (--fs)", self.fs_hz, _FS_HZ, "Hz"),
            ("paper speed (--speed)", self.speed_mm_per_s, _SPEED_MM_PER_S, "mm/s"),
            ("gain (--gain)", self.gain_mm_per_mv, _GAIN_MM_PER_MV, "mm/mV"),
        ):
            if value is not None and not least <= value <= most:  # also for NaN
                raise UsageError(f"the {name} must lie in {least} to {most} {unit}, found {value}")
        if self.min_quality not in (None, *_VERDICTS):
            raise UsageError(
                f"min_quality is one of {', '.join(_VERDICTS)}, found {self.min_quality!r}"
            )


@dataclass(frozen=True, slots=True)
class PageOptions:
    """All that is asked for of each page. The scale in `signals` is the picture's as well."""

    image: ImageOptions = field(default_factory=ImageOptions)
    renderer: Renderer = "pymupdf"
    signals: SignalOptions = field(default_factory=SignalOptions)
    read_signals: bool = False


def convert(
    path: str | Path,
    *,
    format: str = AUTO,
    layout: str | Path | None = None,
    options: ImageOptions | None = None,
    renderer: Renderer = "pymupdf",
    signals: SignalOptions | bool = False,
    fs_hz: float = 500.0,
    speed_mm_per_s: float | None = None,
    gain_mm_per_mv: float | None = None,
) -> list[Conversion]:
    """Every page of a report as a `Conversion`; raises the first page's error, if any.

    `format` is a format's id or alias, "auto", or "custom" with `layout` a TOML file. `signals`
    asks for the signals, too: True for those of `fs_hz`, or `SignalOptions`, which then have the
    scale as well. A page whose signals are not good enough for its `SignalOptions` is an error.

    Raises `PageError` for a file or page that cannot be used, `UsageError` for a wrong argument.
    """
    if not isinstance(signals, SignalOptions):
        how = SignalOptions(fs_hz, speed_mm_per_s, gain_mm_per_mv)
    elif speed_mm_per_s is not None or gain_mm_per_mv is not None:
        raise UsageError("give speed and gain in the SignalOptions, not beside them")
    else:
        how = signals
    wanted = PageOptions(options or ImageOptions(), renderer, how, read_signals=bool(signals))
    found = []
    for result in convert_each(path, choose_formats(format, layout), wanted):
        if isinstance(result, PageError):
            raise result
        if result.refusal is not None:
            raise result.refusal
        found.append(result)
    return found


def convert_each(
    path: str | Path, formats: Sequence[Format], options: PageOptions
) -> Iterator[Conversion | PageError]:
    """Page by page a `Conversion`, or the error that page ended in; never stops half way."""
    source = Path(path)
    try:
        report = open_report(source, renderer=options.renderer)
        digest = _sha256(source)
    except PageError as error:
        yield error
        return
    with report:
        for number in range(1, report.page_count + 1):
            yield convert_page(report, number, digest, formats, options)


def convert_page(
    report: Report, number: int, digest: str, formats: Sequence[Format], options: PageOptions
) -> Conversion | PageError:
    """One page of an open report, `number` from 1, or the error it ended in; never raises one.

    `digest` is the SHA-256, in hex, of the report's file.
    """
    try:
        page = as_read(report.page(number), options.renderer)
        return _convert_page(page, report.page_count, digest, formats, options)
    except PageError as error:
        return error
    except Exception as error:  # a bug, of ours or of a plugin, costs this page only
        return _internal(report.source, number, error)


def _sha256(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(
            "file-unreadable",
            source,
            None,
            expected="a file that can be read",
            found=error.strerror or type(error).__name__,
            hint="check that it is still there and may be read",
        ) from error


def _internal(source: Path, number: int, error: Exception) -> PageError:
    """What a bug on one page is told as: where it was, as its own words may quote the page."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = PageError(
        "internal",
        source,
        number,
        expected="a page that can be worked on",
        found=f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}",
        hint="please report it with what --debug shows",
    )
    told.__cause__ = error
    return told


def as_read(page: Page, renderer: Renderer = "pymupdf") -> Page:
    """The page as the pipeline reads it: a vector page by its strokes, or else by its pixels.

    By its pixels where poppler is to draw it, and where its strokes hold no traces: some machines
    draw traces as filled shapes.
    """
    by_pixels = renderer == "poppler" or (page.origin == "vector" and not _has_traces(page))
    return rendered(page) if by_pixels else page


def _has_traces(page: Page) -> bool:
    """Whether curves run across the page, or, on a page that lies on its side, up or down it.

    Bars, frames and underlines are no curves, and stand on pages whose traces are filled shapes.
    """
    views = (turned(page, turns) for turns in (0, 1))
    strokes = (stroke for view in views for stroke in trace_strokes(view))
    return any(len(stroke.points_mm) > _PLAIN_POINTS for stroke in strokes)


def _convert_page(
    page: Page, page_count: int, digest: str, formats: Sequence[Format], options: PageOptions
) -> Conversion:
    found = recognise(page, formats)
    level = upright(page, found.match)
    ink = page_ink(level, found, options.image)
    how = options.signals
    scale = calibrate(
        level,
        found.match,
        ink,
        speed_mm_per_s=how.speed_mm_per_s,
        gain_mm_per_mv=how.gain_mm_per_mv,
    )
    match = calibrated(found.match, scale)
    image, notices = normalise_page(level, found.format, match, ink, options.image)
    result = Conversion(
        source=page.source,
        source_sha256=digest,
        page_number=page.number,
        page_count=page_count,
        origin=page.origin,
        format_id=found.format.info.id,
        match=match,
        calibration=scale,
        image=image,
        notices=(*found.notices, *scale.notices, *notices, *_chest_notice(scale, image)),
        versions={"ecgvision": __version__},
    )
    return _with_signals(result, level, found, ink, how) if options.read_signals else result


def page_ink(level: Page, found: Recognised, options: ImageOptions) -> Pixels:
    """The ink of an upright page for all that follows: (H, W) ``uint8``, 0 ink and 255 paper.

    A vector page whose leads are its strokes is not drawn, as nobody looks at its pixels: what
    comes back is blank paper.
    """
    layout = found.match.layout
    if level.origin == "vector" and options.style == "canonical":
        width_mm, height_mm = level.known_mm
        blank = np.full((round(height_mm), round(width_mm)), 255, np.uint8)
        if any(trace.coverage > 0 for trace in trace_leads(level, layout, blank)):
            return blank
    return found.format.remove_grid(level, layout)


def calibrated(match: Match, calibration: Calibration) -> Match:
    """The match with the page's own speed and gain, its boxes as wide as their seconds.

    Near the declared speed it is the paper's size that is off: a box shows its seconds, and is
    wider or narrower. A machine that ran at another speed shows more or fewer seconds in it.
    """
    layout, speed = match.layout, calibration.speed_mm_per_s
    near = [
        setting
        for setting in (layout.speed_mm_per_s, *_SETTINGS_MM_PER_S)
        if abs(speed / setting - 1) <= CONTRADICT
    ]
    setting = near[0] if near else speed
    page_mm = match.page_mm or layout.page_mm
    largest_mm = (max(page_mm[0], layout.page_mm[0]), max(page_mm[1], layout.page_mm[1]))
    boxes = tuple(
        _fitted(b, layout.speed_mm_per_s / setting, speed / setting, largest_mm[0])
        for b in layout.boxes
    )
    fitted = replace(
        layout,
        page_mm=largest_mm,
        boxes=boxes,
        speed_mm_per_s=speed,
        gain_mm_per_mv=calibration.gain_mm_per_mv,
    )
    return replace(match, layout=fitted)


def _fitted(lead_box: LeadBox, longer: float, wider: float, page_width_mm: float) -> LeadBox:
    """The box for so many times the seconds and the width; what leaves the page is cut off."""
    box = lead_box.box
    start_s, stop_s = longer * lead_box.start_s, longer * lead_box.stop_s
    width_mm = wider * box.width_mm
    seen = min(1.0, max(page_width_mm - box.left_mm, 1.0) / width_mm)
    return replace(
        lead_box,
        box=replace(box, right_mm=box.left_mm + seen * width_mm),
        start_s=start_s,
        stop_s=start_s + seen * (stop_s - start_s),
    )


def normalise_page(
    level: Page, chosen: Format, match: Match, ink: Pixels, options: ImageOptions
) -> tuple[EcgImage, tuple[Notice, ...]]:
    """The picture of a recognised, upright page, and what a reader of it must know."""
    if options.style == "canonical":
        return canonical_image(trace_leads(level, match.layout, ink), match.layout, options)
    if match.layout.published is None:
        raise NoMatchError(
            "style-not-published",
            level.source,
            level.number,
            expected="a layout with a published style",
            found=f"layout {match.layout.name} of {chosen.info.id}, which has none",
            hint="use --style canonical",
        )
    windows = options.style == "published-windows"
    return published_image(level, match, ink, windows=windows), ()


def _chest_notice(calibration: Calibration, image: EcgImage) -> tuple[Notice, ...]:
    chest = calibration.chest_gain_mm_per_mv
    if chest is None or image.style != "canonical":
        return ()
    return (
        Notice(
            "chest-gain-in-image",
            f"V1 to V6 are printed at {chest:.4g} mm/mV and are "
            f"{chest / calibration.gain_mm_per_mv:.2g} times as high in the image as they should "
            "be; the signals are right",
        ),
    )


# --- signals ------------------------------------------------------------------------------------


def _with_signals(
    result: Conversion, level: Page, found: Recognised, ink: Pixels, how: SignalOptions
) -> Conversion:
    """The result with its signals, their verdict, and the picture to check them by."""
    from ecgvision.quality import assess
    from ecgvision.quality.ink import cut_peaks
    from ecgvision.signals.read import read_signals

    match, scale = result.match, result.calibration
    reading = read_signals(level, match, found.declared, ink, scale, how.fs_hz)
    cut = cut_peaks(ink, reading.curves, level, match.layout)
    quality = assess(reading.recording, scale, match.layout, cut)
    qc = None
    if how.qc:
        from ecgvision.quality.picture import qc_picture

        qc = qc_picture(level, match.layout, reading.curves, quality, scale, cut)
    refusal = _refusal(level, quality, how.min_quality or "doubtful")
    return replace(result, recording=reading.recording, quality=quality, qc=qc, refusal=refusal)


def _refusal(page: Page, quality: Quality, least: MinQuality) -> PageError | None:
    """Why the signals are not to be used, by the worst finding; None where they are as asked."""
    if _VERDICTS.index(quality.verdict) >= _VERDICTS.index(least):
        return None
    worst = quality.findings[0]
    return PageError(
        "quality-refused" if quality.verdict == "refused" else "quality-too-low",
        page.source,
        page.number,
        expected="good signals" if least == "good" else "signals that are good or doubtful",
        found=f"{quality.verdict} ones: {worst.code}: {worst.message.rstrip('.')}",
        hint=f"--qc shows what was read, --min-quality {quality.verdict} keeps it all the same",
    )
