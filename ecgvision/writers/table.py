"""A recording as a table, one row per sample."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from ecgvision.writers.common import channel_names, channels

if TYPE_CHECKING:
    from ecgvision.recording import Recording


def csv_bytes(recording: Recording) -> bytes:
    """The CSV file (RFC 4180, lines end in LF): seconds, then millivolts to 0.1 microvolt.

    The header is "time_s,I_mV, ... ,V6_mV,rhythm_II_mV"; an empty cell is NaN. Times are written
    to the microsecond.
    """
    file = io.StringIO(newline="")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["time_s", *(f"{name}_mV" for name in channel_names(recording))])
    for number, values in enumerate(channels(recording).T.tolist()):
        cells = ["" if value != value else _cell(value) for value in values]  # NaN is not itself
        table.writerow([f"{number / recording.fs_hz:.6f}", *cells])
    return file.getvalue().encode("ascii")


def _cell(value_mv: float) -> str:
    text = f"{value_mv:.4f}"
    return "0.0000" if text == "-0.0000" else text
