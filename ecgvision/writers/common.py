"""What the kinds of file share: names of channels, whole microvolts, what cannot be written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import LeadSignal, Recording

NOT_A_VALUE = -32768
"""The 16-bit sample that stands for NaN: WFDB's own convention, and our padding in DICOM."""

_LARGEST_UV = 32767
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
# DICOM's short text (ST) holds 1024 characters; the key and what stands between are taken off.
_LONGEST_DETAIL = 900


class WriterError(EcgVisionError):
    """A recording does not fit into the kind of file asked for."""

    def __init__(self, code: str, *, expected: str, found: str, hint: str) -> None:
        self.code = code
        self.expected, self.found, self.hint = expected, found, hint
        super().__init__(f"expected {expected}, found {found}; {hint} [{code}]")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between worker processes; the default only passes the message on.
        return _rebuilt, (self.code, self.expected, self.found, self.hint)


def _rebuilt(code: str, expected: str, found: str, hint: str) -> WriterError:
    return WriterError(code, expected=expected, found=found, hint=hint)


def check_recording(recording: Recording) -> None:
    """Raise `WriterError` unless the recording's arrays, leads and rate go together."""
    signal, rhythm, fs_hz = recording.signal_mv, recording.rhythm_mv, recording.fs_hz
    good = (
        tuple(recording.leads) == LEADS
        and signal.ndim == rhythm.ndim == 2
        and len(signal) == len(LEADS)
        and rhythm.shape == (len(recording.rhythm_leads), signal.shape[1])
        and set(recording.rhythm_leads) <= set(LEADS)
        and 0 < fs_hz < 1e6
    )
    if not good:
        raise WriterError(
            "recording-impossible",
            expected="(12, n) in standard order, (m, n) for m rhythm strips, a positive rate",
            found=f"{signal.shape} for {', '.join(recording.leads)}, {rhythm.shape} for "
            f"{len(recording.rhythm_leads)} strips, {fs_hz} Hz",
            hint="write recordings as `Recording` describes them",
        )
    for name, row in zip(channel_names(recording), channels(recording), strict=True):
        if np.isinf(row).any():
            raise WriterError(
                "signal-out-of-range",
                expected="finite values, or NaN where nothing was read",
                found=f"an infinite value in {name}",
                hint="check the calibration of the page",
            )


def channels(recording: Recording) -> NDArray[np.float32]:
    """(12 + m, n) mV: the twelve leads, then the rhythm strips."""
    return np.concatenate([recording.signal_mv, recording.rhythm_mv]).astype(np.float32)


def channel_names(recording: Recording) -> list[str]:
    """The twelve leads, then "rhythm_II", and "rhythm_II_2" where a second strip repeats it."""
    names = list(recording.leads)
    for number, lead in enumerate(recording.rhythm_leads):
        before = recording.rhythm_leads[:number].count(lead)
        names.append(f"rhythm_{lead}" + (f"_{before + 1}" if before else ""))
    return names


def microvolts(recording: Recording) -> NDArray[np.int16]:
    """(12 + m, n) whole microvolts, `NOT_A_VALUE` for NaN.

    Raises `WriterError` where a value does not fit into 16 bits, which is +-32.767 mV: no page
    shows that much, and cutting it off would be a value that was never read.
    """
    rows = channels(recording)
    rounded = np.rint(rows.astype(np.float64) * 1000)
    too_large = np.abs(np.nan_to_num(rounded)) > _LARGEST_UV
    if too_large.any():
        number = int(np.flatnonzero(too_large.any(axis=1))[0])
        largest_mv = float(np.nanmax(np.abs(rows[number])))
        raise WriterError(
            "signal-out-of-range",
            expected="at most 32.767 mV, what 16 bits of 1 microvolt can hold",
            found=f"{largest_mv:.3f} mV in {channel_names(recording)[number]}",
            hint="check the calibration of the page, or write NPZ or CSV",
        )
    return np.where(np.isnan(rounded), NOT_A_VALUE, rounded).astype(np.int16)


def detail_lines(details: Mapping[str, Any]) -> list[str]:
    """One line "key: value" for each detail, sorted by key; raises `UsageError`."""
    lines = []
    for key in sorted(details, key=str):
        if not _KEY.fullmatch(str(key)):
            raise UsageError(f"a detail cannot be named {key!r}: lower case letters, digits, _")
        value = details[key]
        try:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise UsageError(f"detail {key!r} cannot be written as JSON: {error}") from error
        if not text.isprintable() or len(text) > _LONGEST_DETAIL:
            raise UsageError(
                f"detail {key!r} must be one line of at most {_LONGEST_DETAIL} characters"
            )
        lines.append(f"{key}: {text}".rstrip())
    return lines


def box_lines(recording: Recording) -> list[tuple[str, str]]:
    """(channel, line) for each printed box: the channel's name and how the box was read.

    A box whose lead has no channel, such as a strip that `Recording.rhythm_leads` leaves out, is
    listed with its lead's name.
    """
    lines, strips = [], 0
    for box in recording.boxes:
        name = box.lead
        if box.rhythm_strip:
            name = f"rhythm_{box.lead}"
            matches = recording.rhythm_leads[strips : strips + 1] == (box.lead,)
            name = channel_names(recording)[len(recording.leads) + strips] if matches else name
            strips += matches
        lines.append((name, _box_line(box, name)))
    return lines


def _box_line(box: LeadSignal, name: str) -> str:
    words = [
        f"box={name}",
        f"start_s={box.start_s:.3f}",
        f"stop_s={box.stop_s:.3f}",
        f"origin={box.origin or 'none'}",
        f"confidence={box.confidence:.3f}",
        f"coverage={box.coverage:.3f}",
    ]
    return " ".join([*words, f"reason={box.reason}"] if box.reason else words)
