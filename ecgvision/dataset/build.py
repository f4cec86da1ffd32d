"""`ecgvision dataset build`: pages and a table of labels become a data set."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from ecgvision import __version__
from ecgvision.dataset.about import ColumnInfo, DatasetError, DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.arrays import Spool
from ecgvision.dataset.candidates import Candidate, find_candidates
from ecgvision.dataset.images import IMAGE_PX, check_image_px, network_image
from ecgvision.dataset.join import (
    LEFT_OUT,
    Joined,
    LeftOut,
    join,
    left_out_bytes,
    record_of,
    refuse_nothing,
)
from ecgvision.dataset.labels import Entry, read_labels
from ecgvision.dataset.loading import Described, read_description, read_image, read_signals
from ecgvision.dataset.schema import Schema
from ecgvision.dataset.store import Dataset, file_sha256, write_dataset
from ecgvision.errors import PageError, UsageError
from ecgvision.output import TEMPORARY, make_folder, unwritable

# A report's strip; longer signals are cut, shorter ones end in NaN.
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a data set is to hold: images of height and width `image_px`, signals of `seconds`."""

    name: str
    image_px: tuple[int, int] | None = IMAGE_PX
    with_signals: bool = False
    seconds: float = SECONDS
    simulated: bool = False


@dataclass(frozen=True)
class Built:
    """The data set, and what is not in it."""

    dataset: Dataset
    left_out: list[LeftOut] = field(repr=False)


def build(
    pages: Path,
    table: Path,
    schema: Schema,
    target: Path,
    options: BuildOptions,
    *,
    replace: bool = False,
) -> Built:
    """Join the pages that a conversion or a folder of images has with a table, and write `target`.

    Raises `DatasetError` where the table is wrong, nothing is left, or the examples do not go
    together; `UsageError` for options that cannot be.
    """
    _check(options)
    entries = read_labels(table, schema)
    candidates = find_candidates(pages)
    joined = join(candidates, entries, table, several=schema.several)
    refuse_nothing(joined, candidates, entries, table)
    try:
        make_folder(target.parent)
        spool = tempfile.TemporaryDirectory(
            prefix=TEMPORARY, dir=target.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise unwritable(target, error) from error
    with spool as folder:
        examples = _loaded(joined, Path(folder), options)
        refuse_nothing(examples.joined, candidates, entries, table)
        about = _about(examples, schema, options, pages, table)
        dataset = write_dataset(
            target,
            about,
            _rows(examples.joined.pairs, schema),
            examples.images,
            examples.signals,
            replace=replace,
            others={LEFT_OUT: left_out_bytes(examples.joined.left_out)},
        )
        return Built(dataset, examples.joined.left_out)


def _check(options: BuildOptions) -> None:
    if options.image_px is None and not options.with_signals:
        raise UsageError("a data set needs images, signals or both")
    if options.image_px is not None:
        check_image_px(*options.image_px)
    if not (math.isfinite(options.seconds) and 0 < options.seconds <= 3600):
        raise UsageError(f"--seconds must lie in 0 to 3600, found {options.seconds:g}")


# --- loading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Examples:
    """All examples that could be read, in the order of `joined.pairs`."""

    joined: Joined
    images: NDArray[Any] | None
    signals: NDArray[Any] | None
    image: ImageInfo | None
    signal: SignalInfo | None


def _loaded(joined: Joined, folder: Path, options: BuildOptions) -> _Examples:
    """Read every example once; those that cannot be read are left out, with the reason."""
    with Spool(folder / "images") as images, Spool(folder / "signals") as signals:
        reader = _Reader(options)
        pairs, left_out = [], list(joined.left_out)
        for candidate, entry in joined.pairs:
            try:
                pixels, signal_mv = reader.read(candidate)
            except PageError as error:
                left_out.append(
                    LeftOut(candidate.source, candidate.page, entry.line, error.code, error.found)
                )
                continue
            images.add(pixels)
            signals.add(signal_mv)
            pairs.append((candidate, entry))
    return _Examples(
        Joined(pairs, left_out), images.array(), signals.array(), reader.image, reader.signal
    )


class _Reader:
    """Reads examples, and sees that they go together: one style of images, one rate of signals."""

    def __init__(self, options: BuildOptions) -> None:
        self._options = options
        self._scales: set[float | None] = set()
        self._style: tuple[str, str] | None = None
        self._rate: tuple[float, str] | None = None

    def read(self, candidate: Candidate) -> tuple[Any, Any]:
        """Image and signals, None where not asked for.

        Raises `PageError` where this one cannot be read, `UsageError` where it does not go with
        those before.
        """
        pixels = signal_mv = None
        found = shape = None
        if self._options.with_signals:
            found = read_signals(_present(candidate.signals, candidate, "signals"))
        size = self._options.image_px
        if size is not None:
            native = read_image(_present(candidate.image, candidate, "image"))
            shape = native.shape
            told = read_description(candidate.description)
            pixels = network_image(native, *size)
            self._go_on_style(told, candidate)
            self._scales.add(_scale(told, shape, size))
        if found is not None:
            self._go_on_rate(found.fs_hz, candidate)
            signal_mv = found.fitted(self._samples(found.fs_hz))
        return pixels, signal_mv

    def _go_on_style(self, told: Described, candidate: Candidate) -> None:
        self._style = self._style or (told.style, candidate.source)
        if told.style != self._style[0]:
            raise UsageError(
                f"{candidate.source} is {told.style or 'of no style'} and {self._style[1]} "
                f"{self._style[0] or 'of none'}: images of one data set need one style"
            )

    def _go_on_rate(self, fs_hz: float, candidate: Candidate) -> None:
        self._rate = self._rate or (fs_hz, candidate.source)
        if fs_hz != self._rate[0]:
            raise UsageError(
                f"{candidate.source} has {fs_hz:g} Hz and {self._rate[1]} {self._rate[0]:g} Hz: "
                "signals of one data set need one rate; convert all with the same --fs"
            )

    def _samples(self, fs_hz: float) -> int:
        return max(1, round(self._options.seconds * fs_hz))

    @property
    def image(self) -> ImageInfo | None:
        size = self._options.image_px
        if size is None or self._style is None:
            return None
        scale = next(iter(self._scales)) if len(self._scales) == 1 else None
        return ImageInfo(height_px=size[0], width_px=size[1], px_per_mm=scale, style=self._style[0])

    @property
    def signal(self) -> SignalInfo | None:
        if self._rate is None:
            return None
        return SignalInfo(fs_hz=self._rate[0], samples=self._samples(self._rate[0]))


def _scale(told: Described, shape: tuple[int, ...], size: tuple[int, int]) -> float | None:
    """The scale of the fitted image, None where it is not the same both ways."""
    down, across = size[0] / shape[0], size[1] / shape[1]
    if told.px_per_mm is None or not math.isclose(down, across, rel_tol=0.01):
        return None
    return told.px_per_mm * across


def _present(path: Path | None, candidate: Candidate, kind: str) -> Path:
    if path is not None and path.is_file():
        return path
    raise DatasetError(
        f"{kind}-missing",
        candidate.source,
        candidate.page,
        expected=f"{kind} that the conversion wrote",
        found="none: withheld for their quality, not asked for, or taken away",
        hint="convert again, for signals with --signals npz",
    )


# --- rows -------------------------------------------------------------------------------------


def _rows(pairs: Sequence[tuple[Candidate, Entry]], schema: Schema) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {
        "record": [record_of(candidate, entry) for candidate, entry in pairs],
        "patient": [entry.patient for _, entry in pairs],
        "source": [candidate.source for candidate, _ in pairs],
        "page": [candidate.page for candidate, _ in pairs],
        "format": [candidate.format or entry.keys.get("format") for candidate, entry in pairs],
    }
    for name in ("year", "fold", "group"):
        columns[name] = [entry.keys.get(name) for _, entry in pairs]
    for name in schema.rules():
        columns[name] = [entry.values[name] for _, entry in pairs]
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _about(
    examples: _Examples, schema: Schema, options: BuildOptions, pages: Path, table: Path
) -> DatasetInfo:
    return DatasetInfo(
        name=options.name,
        simulated=options.simulated,
        image=examples.image,
        signal=examples.signal,
        columns={
            name: ColumnInfo(role=role, title=rule.title)
            for name, (role, rule) in schema.rules().items()
        },
        sources=(
            {
                "pages": pages.resolve().name,
                "labels": table.name,
                "labels_sha256": file_sha256(table),
                "examples": len(examples.joined.pairs),
                "left_out": len(examples.joined.left_out),
            },
        ),
        versions={"ecgvision": __version__},
    )
