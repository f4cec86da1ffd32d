"""Recordings drawn as report pages, worn as pages are, and taken through the conversion."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.conversion import PageOptions, SignalOptions, convert_each
from ecgvision.dataset.drawing_direct import direct_image
from ecgvision.dataset.drawing_style import page_pdf, page_style
from ecgvision.dataset.images import IMAGE_PX, check_image_px, network_image
from ecgvision.errors import PageError, UsageError
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format, load_formats
from ecgvision.types import LEADS, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.result import Conversion
    from ecgvision.testing.synthetic import Ecg
    from ecgvision.types import Pixels

SignalKind = Literal["none", "read", "true", "whole"]
SIGNAL_KINDS: tuple[SignalKind, ...] = ("none", "read", "true", "whole")


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What is made of each record.

    Every record is drawn in each of `formats`; `scan_share` of the pages are scans. `signals` are
    "read" off the page, or "true": the recording's own, on the page's time axis, NaN where the page
    does not print them; or "whole": the recording's own from its start. They have `fs_hz` and
    `seconds`; longer ones are cut, shorter ones end in NaN. `direct` draws the image at once, not
    by way of a page, see `ecgvision.dataset.drawing_direct`. Raises `UsageError` for what cannot
    be.
    """

    image: ImageOptions = field(default_factory=ImageOptions)
    image_px: tuple[int, int] = IMAGE_PX
    scan_share: float = 0.3
    signals: SignalKind = "none"
    fs_hz: float = 200.0
    seconds: float = 10.0
    seed: int = 0
    direct: bool = False

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
        if not 0 < self.seconds <= 3600:
            raise UsageError(f"--seconds must lie in 0 to 3600, found {self.seconds:g}")
        if self.direct and self.signals == "read":
            raise UsageError("--direct draws no page to read signals off; use --signals true")
        SignalOptions(fs_hz=self.fs_hz)  # says what is wrong with the rate

    @property
    def samples(self) -> int:
        """The length of all signals."""
        return max(1, round(self.seconds * self.fs_hz))


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


def draw_record(
    record: str, ecg: Ecg, format_ids: Sequence[str], options: DrawOptions
) -> list[Drawn]:
    """The record as a page of each format, converted: what `ecgvision convert` makes of it."""
    return [_drawn(record, ecg, _format(one), options) for one in format_ids]


@lru_cache
def _format(format_id: str) -> Format:
    return load_formats().find(format_id)


def _drawn(record: str, ecg: Ecg, chosen: Format, options: DrawOptions) -> Drawn:
    style = page_style(chosen, record, ecg.seconds, options.seed, options.scan_share)
    own = _own_signals(ecg, style.layout, options)
    format_id, scan = chosen.info.id, style.scan is not None
    if options.direct:
        image = direct_image(chosen, ecg, style, options.image)
        return Drawn(format_id, network_image(image, *options.image_px), own, scan)
    result = _converted(page_pdf(chosen, ecg, style), chosen, options)
    if isinstance(result, PageError):
        return Drawn(format_id, None, None, scan, error=result)
    if result.recording is not None:
        own = np.full((len(LEADS), options.samples), np.nan, np.float32)
        if result.refusal is None:
            seen = result.recording.signal_mv[:, : options.samples]
            own[:, : seen.shape[1]] = seen
    image = network_image(result.image.pixels, *options.image_px)
    return Drawn(format_id, image, own, scan, withheld=result.refusal)


def _converted(pdf: bytes, chosen: Format, options: DrawOptions) -> Conversion | PageError:
    """What the conversion makes of the page, as of any file."""
    wanted = PageOptions(
        image=options.image,
        signals=SignalOptions(fs_hz=options.fs_hz),
        read_signals=options.signals == "read",
    )
    with tempfile.TemporaryDirectory(prefix="ecgvision-") as folder:
        path = Path(folder) / "page.pdf"
        path.write_bytes(pdf)
        (result,) = convert_each(path, [chosen], wanted)
    return result


def _own_signals(ecg: Ecg, layout: Layout, options: DrawOptions) -> NDArray[np.float32] | None:
    if options.signals == "whole":
        return whole_signals(ecg, options.fs_hz, options.samples)
    if options.signals == "true":
        return printed_signals(ecg, layout, options.fs_hz, options.samples)
    return None


# --- the recording's own signals ------------------------------------------------------------------


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
