"""Recordings drawn as report pages, worn as pages are, and taken through the conversion.

A page differs from the next as exports and scans of one machine do: which of the format's layouts,
pen, place on the paper, header, colours of the grid, rounding of the coordinates; scans are skewed,
blurred, noisy JPEGs. What of it comes out is decided by the seed, the record and the format alone.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.conversion import PageOptions, SignalOptions, convert_each
from ecgvision.dataset.images import IMAGE_PX, check_image_px, network_image
from ecgvision.errors import PageError, UsageError
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format, load_formats
from ecgvision.testing import SYNTHETIC_PATIENT, GridStyle, draw_page, scanned
from ecgvision.types import LEADS, RGB, FormatInfo, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.testing.synthetic import Ecg
    from ecgvision.types import Pixels

SignalKind = Literal["none", "read", "true", "whole"]
SIGNAL_KINDS: tuple[SignalKind, ...] = ("none", "read", "true", "whole")

# How pages differ, from least to most. Pens, places and colours are those of exports that the
# formats' tests allow for; nobody has measured how they are distributed.
_PEN_MM = (0.22, 0.42)
_OFFSET_MM = 2.0
_DECIMALS = (2, 4)
_COLOUR_STEP = 3  # the study gives its grid's colours to so many levels
_MAJOR_MM, _MINOR_MM = (0.15, 0.28), (0.08, 0.14)
_DPI = (150, 200)
_ROTATION_DEG = 1.2
_BLUR_PX, _NOISE, _JPEG = (0.4, 0.9), (2.0, 8.0), (60, 92)
_GREY_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What is made of each record.

    Every record is drawn in each of `formats`; `scan_share` of the pages are scans. `signals` are
    "read" off the page, or "true": the recording's own, on the page's time axis, NaN where the page
    does not print them; or "whole": the recording's own from its start. They have `fs_hz`.
    Raises `UsageError` for what cannot be.
    """

    image: ImageOptions = field(default_factory=ImageOptions)
    image_px: tuple[int, int] = IMAGE_PX
    scan_share: float = 0.3
    signals: SignalKind = "none"
    fs_hz: float = 200.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_image_px(*self.image_px)
        if not 0 <= self.scan_share <= 1:
            raise UsageError(f"--scan-share must lie in 0 to 1, found {self.scan_share}")
        if self.signals not in SIGNAL_KINDS:
            raise UsageError(
                f"signals are one of {', '.join(SIGNAL_KINDS)}, found {self.signals!r}"
            )
        if self.seed < 0:
            raise UsageError(f"--seed must not be negative, found {self.seed}")
        SignalOptions(fs_hz=self.fs_hz)  # says what is wrong with the rate


@dataclass(frozen=True, slots=True)
class ScanStyle:
    """How a page was scanned, as `ecgvision.testing.scanned` takes it."""

    dpi: int
    rotation_deg: float
    blur_px: float
    noise_sigma: float
    jpeg_quality: int
    grey: bool
    seed: int


@dataclass(frozen=True, slots=True)
class PageStyle:
    """How one page looks: a layout of its format, as drawn by one machine on one day."""

    layout: Layout
    pen_mm: float
    offset_mm: tuple[float, float]
    decimals: int
    patient_text: tuple[str, ...]
    footer: bool
    grid: GridStyle | None
    scan: ScanStyle | None


@dataclass(frozen=True, eq=False)
class Drawn:
    """One record in one format: its image, (H, W) ``uint8``, or why there is none.

    `signal_mv` is (12, T) float32 where signals were asked for, all NaN where they were withheld;
    `withheld` says why.
    """

    format_id: str
    image: Pixels | None = field(repr=False)
    signal_mv: NDArray[np.float32] | None = field(repr=False)
    scan: bool
    error: PageError | None = None
    withheld: PageError | None = None


def page_style(chosen: Format, record: str, seed: int, scan_share: float) -> PageStyle:
    """How the record's page of that format looks: the same for the same arguments."""
    told = f"{seed}\0{chosen.info.id}\0{record}".encode()
    rng = np.random.default_rng(list(hashlib.sha256(told).digest()))
    layout = chosen.layouts[int(rng.integers(len(chosen.layouts)))]
    has_grid = bool(chosen.info.grid_rgb) if layout.grid is None else layout.grid
    return PageStyle(
        layout=layout,
        pen_mm=float(rng.uniform(*_PEN_MM)),
        offset_mm=(float(rng.uniform(-1, 1)) * _OFFSET_MM, float(rng.uniform(-1, 1)) * _OFFSET_MM),
        decimals=int(rng.integers(_DECIMALS[0], _DECIMALS[1] + 1)),
        patient_text=SYNTHETIC_PATIENT[: int(rng.integers(1, len(SYNTHETIC_PATIENT) + 1))],
        footer=bool(rng.random() < 0.9),
        grid=_grid_style(rng, chosen.info) if has_grid else None,
        scan=_scan_style(rng) if rng.random() < scan_share else None,
    )


def _grid_style(rng: np.random.Generator, info: FormatInfo) -> GridStyle:
    """The format's own grid, its colours a few levels and its lines a little off."""

    def near(rgb: RGB) -> RGB:
        red, green, blue = np.clip(np.array(rgb) + rng.integers(-1, 2, 3) * _COLOUR_STEP, 0, 255)
        return int(red), int(green), int(blue)

    style = GridStyle.of(info)
    return replace(
        style,
        major_rgb=near(style.major_rgb),
        minor_rgb=near(style.minor_rgb),
        major_mm=float(rng.uniform(*_MAJOR_MM)),
        minor_mm=float(rng.uniform(*_MINOR_MM)),
    )


def _scan_style(rng: np.random.Generator) -> ScanStyle:
    return ScanStyle(
        dpi=int(rng.integers(_DPI[0], _DPI[1] + 1)),
        rotation_deg=float(rng.uniform(-1, 1)) * _ROTATION_DEG,
        blur_px=float(rng.uniform(*_BLUR_PX)),
        noise_sigma=float(rng.uniform(*_NOISE)),
        jpeg_quality=int(rng.integers(_JPEG[0], _JPEG[1] + 1)),
        grey=bool(rng.random() < _GREY_SHARE),
        seed=int(rng.integers(2**31)),
    )


def page_pdf(chosen: Format, ecg: Ecg, style: PageStyle) -> bytes:
    """The page as a PDF: of vectors, or of nothing but its scan."""
    pdf = draw_page(
        style.layout,
        chosen.info,
        ecg,
        pen_mm=style.pen_mm,
        grid=style.grid or False,
        offset_mm=style.offset_mm,
        patient_text=style.patient_text,
        footer=style.footer,
        decimals=style.decimals,
    ).pdf
    scan = style.scan
    if scan is None:
        return pdf
    return scanned(
        pdf,
        dpi=scan.dpi,
        rotation_deg=scan.rotation_deg,
        blur_px=scan.blur_px,
        noise_sigma=scan.noise_sigma,
        jpeg_quality=scan.jpeg_quality,
        grey=scan.grey,
        seed=scan.seed,
    )


def draw_record(
    record: str, ecg: Ecg, format_ids: Sequence[str], options: DrawOptions, samples: int
) -> list[Drawn]:
    """The record as a page of each format, converted: what `ecgvision convert` makes of it.

    `samples` is the length of the signals, see `signal_samples`.
    """
    return [_drawn(record, ecg, _format(one), options, samples) for one in format_ids]


@lru_cache
def _format(format_id: str) -> Format:
    return load_formats().find(format_id)


def _drawn(record: str, ecg: Ecg, chosen: Format, options: DrawOptions, samples: int) -> Drawn:
    style = page_style(chosen, record, options.seed, options.scan_share)
    wanted = PageOptions(
        image=options.image,
        signals=SignalOptions(fs_hz=options.fs_hz),
        read_signals=options.signals == "read",
    )
    scan = style.scan is not None
    with tempfile.TemporaryDirectory(prefix="ecgvision-") as folder:
        path = Path(folder) / "page.pdf"
        path.write_bytes(page_pdf(chosen, ecg, style))
        (result,) = convert_each(path, [chosen], wanted)
    if isinstance(result, PageError):
        return Drawn(chosen.info.id, None, None, scan, error=result)
    signal_mv: NDArray[np.float32] | None = None
    if options.signals == "whole":
        signal_mv = whole_signals(ecg, options.fs_hz, samples)
    elif options.signals == "true":
        signal_mv = printed_signals(ecg, style.layout, options.fs_hz, samples)
    elif result.recording is not None:
        signal_mv = np.full((len(LEADS), samples), np.nan, np.float32)
        if result.refusal is None:
            seen = result.recording.signal_mv[:, :samples]
            signal_mv[:, : seen.shape[1]] = seen
    image = network_image(result.image.pixels, *options.image_px)
    return Drawn(chosen.info.id, image, signal_mv, scan, withheld=result.refusal)


# --- the recording's own signals ------------------------------------------------------------------


def signal_samples(formats: Sequence[Format], fs_hz: float) -> int:
    """The samples of the longest time axis that a page of these formats can have."""
    longest_s = max(box.stop_s for one in formats for layout in one.layouts for box in layout.boxes)
    return round(longest_s * fs_hz)


def whole_signals(ecg: Ecg, fs_hz: float, samples: int) -> NDArray[np.float32]:
    """(12, samples) mV of the recording from its start; NaN after its end.

    Straight from sample to sample, as the page has it.
    """
    times_s = np.arange(samples) / fs_hz
    own_s = np.arange(ecg.signal_mv.shape[1]) / ecg.fs_hz
    rows = [np.interp(times_s, own_s, row, right=np.nan) for row in ecg.signal_mv]
    return np.stack(rows).astype(np.float32)


def printed_signals(ecg: Ecg, layout: Layout, fs_hz: float, samples: int) -> NDArray[np.float32]:
    """As `whole_signals`, but NaN where the layout does not print the lead.

    Where a rhythm strip repeats a lead, the longer of the two counts, as in `Recording`.
    """
    whole = whole_signals(ecg, fs_hz, samples)
    times_s = np.arange(samples) / fs_hz
    printed = np.full_like(whole, np.nan)
    for row, lead in enumerate(LEADS):
        boxes = [box for box in layout.boxes if box.lead == lead]
        if not boxes:
            continue
        longest = max(boxes, key=lambda box: box.stop_s - box.start_s)
        slack_s = 1e-6 / fs_hz
        shown = (times_s >= longest.start_s - slack_s) & (times_s < longest.stop_s - slack_s)
        printed[row, shown] = whole[row, shown]
    return printed
