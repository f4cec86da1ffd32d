"""Recordings to be drawn as pages: WFDB records, our own NPZ files, or PTB-XL packed in one file.

Whatever the kind, a recording gets the twelve leads in mV. What cannot be read ends in a
`RecordError` that names it, and costs that record only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from ecgvision.errors import PageError
from ecgvision.testing.synthetic import Ecg
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

PTBXL = "ptbxl:"
"""What stands before a folder that is to be read as PTB-XL, its labels included."""

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
PACKED = "signals.npz"
LABELS = "labels.csv"
COHORT = "cohort.json"
_PACKED_HZ = 250.0
_LOWER = {lead.lower(): lead for lead in LEADS}
# Beyond that it is no voltage of a heart in mV, but another unit.
_LARGEST_MV = 50.0
_UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}


class RecordError(PageError):
    """A recording cannot be used; the message names it, what was expected and found."""


@dataclass(frozen=True)
class Records:
    """Recordings by their names, in a fixed order; `read` gives one or raises `RecordError`.

    `kind` is "wfdb", "npz" or "packed". `labels` is the table that lies beside them, if any;
    `simulated` is true where that says so of itself.
    """

    folder: Path
    kind: str
    names: tuple[str, ...]
    read: Callable[[str], Ecg] = field(repr=False)
    labels: Path | None = None
    simulated: bool = False
    ptbxl: bool = False


def open_records(given: str) -> Records:
    """The recordings in a folder, or, after "ptbxl:", those of PTB-XL with its labels.

    A folder with `signals.npz` is packed: `delta_uv` (n, 8, T) holds the first differences of
    I, II and V1 to V6 in microvolt, `fs_hz` their rate (250 where it is missing), and the n rows of
    `labels.csv` beside it name them in the first column. Otherwise every WFDB header below the
    folder is a record, or, where there is none, every NPZ with `signal_mv`, `leads` and `fs_hz`.

    Raises `RecordError` where there is nothing to be had.
    """
    ptbxl = given.lower().startswith(PTBXL)
    folder = Path(given[len(PTBXL) :] if ptbxl else given)
    labels = folder / LABELS if (folder / LABELS).is_file() else None
    if (folder / PACKED).is_file():
        names, read = _packed(folder)
        return Records(folder, "packed", names, read, labels, _is_simulated(folder), ptbxl)
    if ptbxl:
        raise _lacking(folder, f"{PACKED} and {LABELS}", "see docs/render.md for what they hold")
    for kind, ending, read_file in (("wfdb", ".hea", _read_wfdb), ("npz", ".npz", _read_npz)):
        found = sorted(folder.rglob(f"*{ending}"))
        if found:
            files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
            return Records(
                folder, kind, tuple(files), _File(files, read_file), labels, _is_simulated(folder)
            )
    raise _lacking(folder, f"WFDB headers, NPZ files or {PACKED}", "name another folder")


@dataclass(frozen=True)
class _File:
    files: Mapping[str, Path]
    read_file: Callable[[Path], Ecg]

    def __call__(self, name: str) -> Ecg:
        return self.read_file(self.files[name])


@dataclass(frozen=True, eq=False)
class _Packed:
    rows: Mapping[str, int]
    leads8_uv: NDArray[np.int16] = field(repr=False)
    fs_hz: float

    def __call__(self, name: str) -> Ecg:
        return Ecg.from_eight(self.leads8_uv[self.rows[name]], self.fs_hz)


def _is_simulated(folder: Path) -> bool:
    """Whether a cohort's description says that no patient stands behind it."""
    path = folder / COHORT
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("simulated"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError) as error:
        raise RecordError(
            "record-unreadable",
            path,
            None,
            expected="the JSON that `ecgvision dataset simulate` writes",
            found=f"something else ({type(error).__name__})",
            hint="simulate the cohort again",
        ) from error


# --- packed -----------------------------------------------------------------------------------


def _packed(folder: Path) -> tuple[tuple[str, ...], Callable[[str], Ecg]]:
    path = folder / PACKED
    names = _first_column(folder / LABELS)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            delta_uv = file["delta_uv"]
            fs_hz = float(file["fs_hz"]) if "fs_hz" in file else _PACKED_HZ
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise _unreadable(path, "an NPZ file with delta_uv", error) from error
    if delta_uv.ndim != 3 or delta_uv.shape[:2] != (len(names), 8) or delta_uv.dtype != np.int16:
        raise RecordError(
            "records-contradict",
            path,
            None,
            expected=f"delta_uv of {len(names)} x 8 x T int16, as {LABELS} has {len(names)} rows",
            found=f"{' x '.join(map(str, delta_uv.shape))} {delta_uv.dtype}",
            hint="both files must come from the same source",
        )
    if not fs_hz > 0:
        raise _wrong(path, "a positive fs_hz", f"{fs_hz}")
    np.cumsum(delta_uv, axis=2, dtype=np.int16, out=delta_uv)
    return names, _Packed({name: row for row, name in enumerate(names)}, delta_uv, fs_hz)


def packed_bytes(leads8_uv: NDArray[np.int16], fs_hz: float) -> bytes:
    """(n, 8, T) microvolt as the `signals.npz` of a packed folder; wraps as int16 does."""
    import io

    delta_uv = np.diff(leads8_uv, axis=2, prepend=np.int16(0))
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, delta_uv=delta_uv, fs_hz=np.float64(fs_hz))
    return file.getvalue()


def _first_column(path: Path) -> tuple[str, ...]:
    import pandas as pd

    try:
        column = pd.read_csv(path, usecols=[0], dtype=str, keep_default_na=False).iloc[:, 0]
    except (OSError, ValueError) as error:
        raise _unreadable(path, "a table whose first column names the records", error) from error
    for unfit, found in ((column == "", "a row without"), (column.duplicated(), "one name twice")):
        if unfit.any():
            row = int(unfit.to_numpy().argmax()) + 1
            raise _wrong(path, "a different name in each row's first column", f"{found}, row {row}")
    return tuple(column)


# --- a file each --------------------------------------------------------------------------------


def _read_npz(path: Path) -> Ecg:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            signal_mv = np.asarray(file["signal_mv"], dtype=np.float32)
            leads = [str(lead) for lead in file["leads"]]
            fs_hz = float(file["fs_hz"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise _unreadable(path, "an NPZ with signal_mv, leads and fs_hz", error) from error
    if signal_mv.ndim != 2 or len(signal_mv) != len(leads):
        raise _wrong(path, f"signal_mv of {len(leads)} x T", f"{signal_mv.shape}")
    return _twelve(path, dict(zip(leads, signal_mv, strict=True)), fs_hz)


def _read_wfdb(path: Path) -> Ecg:
    import wfdb

    try:
        record: Any = wfdb.rdrecord(str(path.with_suffix("")))
        units = [_UNITS[str(unit).lower()] for unit in record.units]
        signal_mv = (np.asarray(record.p_signal) * units).T.astype(np.float32)
        leads, fs_hz = [str(name) for name in record.sig_name], float(record.fs)
    except Exception as error:  # the reader raises whatever a broken header leads it to
        raise _unreadable(path, "a WFDB record in mV or uV", error) from error
    return _twelve(path, dict(zip(leads, signal_mv, strict=True)), fs_hz)


def _twelve(path: Path, by_name: Mapping[str, NDArray[np.float32]], fs_hz: float) -> Ecg:
    """The twelve leads of those there are: all, or the eight that the others follow from."""
    by_lead = {_LOWER[name.lower()]: row for name, row in by_name.items() if name.lower() in _LOWER}
    lacking = [lead for lead in EIGHT if lead not in by_lead]
    if lacking:
        raise _wrong(path, "leads I, II and V1 to V6 at least", f"no {', '.join(lacking)}")
    largest = max(np.abs(np.nan_to_num(row)).max(initial=0.0) for row in by_lead.values())
    if not largest < _LARGEST_MV:
        raise _wrong(path, f"voltages under {_LARGEST_MV:g} mV", f"{largest:g} mV")
    try:
        ecg = Ecg.from_eight(np.stack([by_lead[lead] for lead in EIGHT]) * 1000.0, fs_hz)
    except ValueError as error:
        raise _wrong(path, "samples at a positive rate", f"{fs_hz} Hz") from error
    if not ecg.seconds > 0:
        raise _wrong(path, "at least one sample", "none")
    for row, lead in enumerate(LEADS):
        if lead in by_lead:
            ecg.signal_mv[row] = by_lead[lead]
    return ecg


def _unreadable(path: Path, expected: str, error: Exception) -> RecordError:
    return RecordError(
        "record-unreadable",
        path,
        None,
        expected=expected,
        found=f"something else ({type(error).__name__})",
        hint="see docs/render.md for the files that can be drawn",
    )


def _wrong(path: Path, expected: str, found: str) -> RecordError:
    hint = "see docs/render.md for the files that can be drawn"
    return RecordError("record-unusable", path, None, expected=expected, found=found, hint=hint)


def _lacking(folder: Path, expected: str, hint: str) -> RecordError:
    found = "none of them" if folder.is_dir() else "no such folder"
    return RecordError("records-missing", folder, None, expected=expected, found=found, hint=hint)
