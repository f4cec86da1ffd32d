"""Recordings drawn as report pages, worn as pages are, and taken through the conversion."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgvision.conversion import PageOptions, SignalOptions, convert_each
from ecgvision.dataset.drawing_direct import direct_image
from ecgvision.dataset.drawing_style import page_pdf, page_style
from ecgvision.dataset.images import IMAGE_PX, check_image_px, network_image
from ecgvision.dataset.loading import PageSignals
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
    by way of a page, see `ecgvision.dataset.drawing_direct`. With several `drawings` a record gets
    so many pages of each format, each of another look, which begin at so many places of the record.
    Raises `UsageError` for what cannot be.
    """

    image: ImageOptions = field(default_factory=ImageOptions)
    image_px: tuple[int, int] = IMAGE_PX
    scan_share: float = 0.3
    signals: SignalKind = "none"
    fs_hz: float = 200.0
    seconds: float = 10.0
    seed: int = 0
    direct: bool = False
    drawings: int = 1

    def __post_init__(self) -> None:
        check_image_px(*self.image_px)
        if not 0 <= self.scan_share <= 1:
            raise UsageError(f"--scan-share must lie in 0 to 1, found {self.scan_share}")
        if self.signals not in SIGNAL_KINDS:
            raise UsageError(
                f"signals are one of {', '.join(SIGNAL_KINDS)}, found {self.signals!r}"
            )
        if self.drawings < 1:
            raise UsageError(f"--drawings must be 1 or more, found {self.drawings}")
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
    drawing: int = 1


def draw_record(
    record: str, ecg: Ecg, format_ids: Sequence[str], options: DrawOptions
) -> list[Drawn]:
    """The record as pages of each format, converted: what `ecgvision convert` makes of them."""
    found = []
    for number in range(options.drawings):
        # The first drawing is the one that there is without others.
        name, begun = (record, ecg) if number == 0 else (f"{record}\0{number}", ecg)
        if number:
            begun = begun_later(ecg, ecg.seconds * number / options.drawings)
        for one in format_ids:
            drawn = _drawn(name, begun, _format(one), options)
            found.append(replace(drawn, drawing=number + 1))
    return found


def begun_later(ecg: Ecg, start_s: float) -> Ecg:
    """The record from `start_s` on; what came before follows at its end.

    The seam jumps by what the leads drifted meanwhile, in one place of what is drawn at most.

    >>> import numpy as np
    >>> from ecgvision.testing.synthetic import Ecg
    >>> ecg = Ecg(np.tile(np.arange(4, dtype=np.float32), (12, 1)), fs_hz=2.0)
    >>> begun_later(ecg, 0.5).signal_mv[0].tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    first = round(start_s * ecg.fs_hz)
    return replace(ecg, signal_mv=np.roll(ecg.signal_mv, -first, axis=1), r_peaks_s=())


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
            read = PageSignals(result.recording.signal_mv, options.fs_hz)
            own = read.fitted(options.samples)
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
