"""Data sets on disk: a folder with rows, images and signals, opened without being read whole.

    dataset.json    what it is, and the hashes of its parts
    rows.parquet    one row an example; row i belongs to images[i] and signals[i]
    images.npy      (n, H, W) uint8, grey, white paper 255
    signals.npy     (n, 12, T) float32, mV, NaN where nothing is printed

Images or signals may be missing, not both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from ecgvision.dataset.about import SPLITS, DatasetError, DatasetInfo
from ecgvision.dataset.arrays import ArraySpec, open_array, write_array
from ecgvision.dataset.folders import whole_folder
from ecgvision.dataset.rows import checked_rows, read_rows, rows_bytes
from ecgvision.errors import UsageError
from ecgvision.output import json_bytes, write_files

ABOUT = "dataset.json"
ROWS = "rows.parquet"
IMAGES = "images.npy"
SIGNALS = "signals.npy"

_REBUILD = "make the data set again, or take a whole copy of it"


@dataclass(frozen=True, eq=False)
class Dataset:
    """An open data set; arrays are memory-mapped and read-only.

    It travels between processes by its folder, not by its pixels.
    """

    folder: Path
    about: DatasetInfo
    rows: pd.DataFrame = field(repr=False)
    images: NDArray[np.uint8] | None = field(repr=False)
    signals: NDArray[np.float32] | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self.folder, self.about, self.rows)

    @property
    def digest(self) -> str:
        """A hash of all that a model can see: the parts, their shapes, the roles of columns."""
        told = self.about.model_dump(
            mode="json", include={"sha256", "image", "signal", "columns", "simulated"}
        )
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def chosen(self, split: str | None = None, formats: Sequence[str] = ()) -> NDArray[np.int64]:
        """The numbers of the rows of a split, of all where None, and of these formats alone.

        May be empty. Raises `UsageError` for another split than `SPLITS` has, or a format that no
        row has.
        """
        if split is not None and split not in SPLITS:
            raise UsageError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
        there = sorted(set(self.rows["format"].dropna()))
        for name in formats:
            if name not in there:
                raise UsageError(
                    f"data set {self.about.name!r} has no rows of format {name!r}; "
                    f"it has {', '.join(there) or 'none with a format'}"
                )
        wanted = np.ones(len(self.rows), dtype=bool)
        if split is not None:
            wanted &= (self.rows["split"] == split).to_numpy(bool)
        if formats:
            wanted &= self.rows["format"].isin(list(formats)).to_numpy(bool)
        return np.flatnonzero(wanted).astype(np.int64)


# --- reading ----------------------------------------------------------------------------------


def open_dataset(folder: Path, *, check: bool = False) -> Dataset:
    """Open a data set; raises `DatasetError` for one that is torn, foreign or changed.

    The hash of the rows is always compared, those of the arrays, which means to read them whole,
    with `check`.
    """
    folder = Path(folder)
    about = _read_about(folder)
    _compare_hash(folder, ROWS, about)
    rows = read_rows(folder / ROWS, about)
    images, signals = _open_arrays(folder, about, len(rows))
    if check:
        for name in set(about.sha256) - {ROWS}:
            _compare_hash(folder, name, about)
    return Dataset(folder, about, rows, images, signals)


def _reopened(folder: Path, about: DatasetInfo, rows: pd.DataFrame) -> Dataset:
    return Dataset(folder, about, rows, *_open_arrays(folder, about, len(rows)))


def _read_about(folder: Path) -> DatasetInfo:
    path = folder / ABOUT
    if not path.is_file():
        raise DatasetError(
            "dataset-missing",
            folder,
            None,
            expected=f"a data set, a folder with {ABOUT}",
            found="none" if folder.exists() else "no such folder",
            hint="name the folder that `ecgvision dataset build` or `render` wrote",
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return DatasetInfo.model_validate(told)
    except (OSError, ValueError, ValidationError) as error:
        raise _torn(path, "the description of a data set, version 1", _short(error)) from error


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return f"one that cannot be read ({type(error).__name__})"


def _open_arrays(
    folder: Path, about: DatasetInfo, count: int
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    if about.image is None and about.signal is None:
        raise _torn(folder / ABOUT, "a data set with images, signals or both", "neither")
    return tuple(  # type: ignore[return-value]
        None if spec is None else open_array(folder / name, spec)
        for name, spec in _specs(about, count).items()
    )


def _specs(about: DatasetInfo, count: int) -> dict[str, ArraySpec | None]:
    specs: dict[str, ArraySpec | None] = {IMAGES: None, SIGNALS: None}
    if about.image is not None:
        shape = (count, about.image.height_px, about.image.width_px)
        specs[IMAGES] = ArraySpec(shape, np.dtype(np.uint8))
    if about.signal is not None:
        shape = (count, len(about.signal.leads), about.signal.samples)
        specs[SIGNALS] = ArraySpec(shape, np.dtype(np.float32))
    return specs


def _compare_hash(folder: Path, name: str, about: DatasetInfo) -> None:
    path = folder / name
    if not path.is_file():
        raise _torn(path, f"the file that {ABOUT} speaks of", "none")
    found = file_sha256(path)
    expected = about.sha256.get(name, "none")
    if found != expected:
        raise DatasetError(
            "dataset-changed",
            path,
            None,
            expected=f"the hash {expected[:12]} that {ABOUT} has",
            found=found[:12],
            hint=f"the file was changed or not copied whole; {_REBUILD}",
        )


def file_sha256(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _torn(path: Path, expected: str, found: str) -> DatasetError:
    return DatasetError("dataset-torn", path, None, expected=expected, found=found, hint=_REBUILD)


# --- writing ----------------------------------------------------------------------------------


def write_dataset(
    folder: Path,
    about: DatasetInfo,
    rows: pd.DataFrame,
    images: Iterable[NDArray[np.uint8]] | None = None,
    signals: Iterable[NDArray[np.float32]] | None = None,
    *,
    replace: bool = False,
    others: Mapping[str, bytes] | None = None,
) -> Dataset:
    """Write a data set whole or not at all, and open it; with `replace` in an older one's place.

    `images` and `signals` are arrays, or give one image or signal after the other, so that they
    need not fit into memory: as many as there are rows. `others` are further files of the folder,
    by their names. Raises `DatasetError` where rows and
    `about` contradict each other or arrays have other shapes, `OutputError` where nothing can be
    written, and lets through what `images` and `signals` raise.
    """
    folder = Path(folder)
    rows = checked_rows(rows, about, folder)
    parts = {IMAGES: (images, about.image), SIGNALS: (signals, about.signal)}
    for name, (given, told) in parts.items():
        if (given is None) != (told is None):
            raise UsageError(f"{name}: give the arrays and their description in `about`, or none")
    if images is None and signals is None:
        raise UsageError("a data set needs images, signals or both")
    with whole_folder(folder, ABOUT, replace=replace) as new:
        _write_parts(new, about, rows, {IMAGES: images, SIGNALS: signals}, others or {})
    return open_dataset(folder)


def _write_parts(
    folder: Path,
    about: DatasetInfo,
    rows: pd.DataFrame,
    arrays: dict[str, Iterable[NDArray[Any]] | None],
    others: Mapping[str, bytes],
) -> None:
    encoded = rows_bytes(rows, about)
    hashes = {ROWS: hashlib.sha256(encoded).hexdigest()}
    for name, spec in _specs(about, len(rows)).items():
        given = arrays[name]
        if given is not None and spec is not None:
            hashes[name] = write_array(folder / name, spec, given)
    whole = about.model_copy(update={"sha256": hashes})
    further = {folder / name: content for name, content in others.items()}
    write_files({**further, folder / ROWS: encoded, folder / ABOUT: _about_bytes(whole)})


def _about_bytes(about: DatasetInfo) -> bytes:
    return json_bytes(about.model_dump(mode="json"))


def replace_rows(
    dataset: Dataset,
    rows: pd.DataFrame,
    about: DatasetInfo,
    others: Mapping[str, bytes] | None = None,
) -> Dataset:
    """Write other columns for the same examples, such as their splits; the arrays stay.

    `others` are further files of the folder, by their names.

    Raises `DatasetError` where there are not as many rows, and as `write_dataset` does.
    """
    rows = checked_rows(rows, about, dataset.folder)
    if len(rows) != len(dataset):
        raise UsageError(f"expected {len(dataset)} rows, one an example, found {len(rows)}")
    encoded = rows_bytes(rows, about)
    hashes = {**dataset.about.sha256, ROWS: hashlib.sha256(encoded).hexdigest()}
    whole = about.model_copy(update={"sha256": hashes})
    folder = dataset.folder
    further = {folder / name: content for name, content in (others or {}).items()}
    write_files({**further, folder / ROWS: encoded, folder / ABOUT: _about_bytes(whole)})
    return open_dataset(folder)


def one_after_the_other(array: NDArray[Any], numbers: Iterable[int]) -> Iterator[NDArray[Any]]:
    """The examples of these numbers, read when they are asked for."""
    for number in numbers:
        yield np.asarray(array[number])
