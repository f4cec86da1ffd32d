"""A recording as a WFDB record: a header and a file of 16-bit samples.

https://physionet.org/physiotools/wag/header-5.htm and signal-5.htm describe both files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.writers.common import WriterError, box_lines, channel_names, microvolts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import Recording

# A leading "-" would be taken for an option by WFDB's programs.
_LEGAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
# WFDB_MAXRNL of the C library: longer record names are refused there.
_LONGEST_NAME = 50
_UNITS_PER_MV = 1000


def wfdb_files(recording: Recording, stem: str, details: Sequence[str] = ()) -> dict[str, bytes]:
    """The header and the samples: format 16, 1000 units per mV, -32768 where there is NaN.

    The files are named by `record_name`. Comments say of each printed box how it was read, then
    give `details`. Raises `WriterError` where there are no samples or one does not fit.
    """
    samples = microvolts(recording)
    if not samples.shape[1]:
        raise WriterError(
            "recording-empty",
            expected="at least one sample",
            found="none",
            hint="WFDB takes a length of 0 for a length that is not known",
        )
    record = record_name(stem)
    fs = np.format_float_positional(recording.fs_hz, trim="-")
    lines = [f"{record} {len(samples)} {fs} {samples.shape[1]}"]
    for name, row in zip(channel_names(recording), samples, strict=True):
        lines.append(
            f"{record}.dat 16 {_UNITS_PER_MV}(0)/mV 16 0 {row[0]} {_checksum(row)} 0 {name}"
        )
    lines += [f"# {line}" for line in (*(line for _, line in box_lines(recording)), *details)]
    header = "".join(f"{line}\n" for line in lines)
    return {
        f"{record}.hea": header.encode("utf-8"),
        f"{record}.dat": samples.T.astype("<i2").tobytes(),
    }


def record_name(stem: str) -> str:
    """The name of the record, which its two files must have as well.

    A stem of letters, digits, "_" and "-", at most 50 of them, stays as it is. In others "_" stands
    for what is not allowed, and eight digits of the stem's SHA-256 follow, so that two stems never
    get the same name.

    >>> record_name("page-p2"), record_name("a.b"), record_name("a b")
    ('page-p2', 'a_b-2e7336dc', 'a_b-c8687a08')
    """
    if _LEGAL.fullmatch(stem) and len(stem) <= _LONGEST_NAME:
        return stem
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", stem)
    return f"{plain[: _LONGEST_NAME - 9]}-{digest}"


def _checksum(row: NDArray[np.int16]) -> int:
    """The sum of all samples as a signed number of 16 bits, as signal lines have it."""
    total = int(row.sum(dtype=np.int64)) & 0xFFFF
    return total - 0x10000 if total & 0x8000 else total
