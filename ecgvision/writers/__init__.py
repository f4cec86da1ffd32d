"""Recordings as files: NumPy, CSV, WFDB and DICOM, made in memory and the same every time.

Nothing of the page's print gets into a file, and no time of writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecgvision.errors import UsageError
from ecgvision.recording import Recording
from ecgvision.writers.common import WriterError as WriterError
from ecgvision.writers.common import check_recording, detail_lines

KINDS = ("npz", "csv", "wfdb", "dicom")
"""The kinds of file that `recording_files` can make."""


def recording_files(
    recording: Recording, kind: str, stem: str, details: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """File name -> content of one recording; `kind` is one of `KINDS`.

    `stem` is the file's name without its ending, any text that a file system takes. WFDB takes
    letters, digits, "_" and "-" alone: other stems become a record name of their own, which the
    two file names then have (see `ecgvision.writers.wfdb.record_name`).

    `details` are further facts, such as the format or where the scale came from, for the two kinds
    that have a place for them: comments of a WFDB header, annotations of a DICOM object. Keys are
    lower case letters, digits and "_"; values are texts, or whatever JSON can hold. They are
    written as they are: the caller keeps patient data out of them.

    Raises `UsageError` for a kind, stem or details that cannot be, and `WriterError` where the
    recording is not one that this kind of file can hold without loss.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no kind of file {kind!r}; choose one of {', '.join(KINDS)}")
    if not stem or stem in (".", "..") or any(c in "/\\" or ord(c) < 32 for c in stem):
        raise UsageError(f"a file cannot be named {stem!r}: expected a name without its folder")
    lines = detail_lines(details or {})
    check_recording(recording)
    if kind == "npz":
        from ecgvision.writers.arrays import npz_bytes

        return {f"{stem}.npz": npz_bytes(recording)}
    if kind == "csv":
        from ecgvision.writers.table import csv_bytes

        return {f"{stem}.csv": csv_bytes(recording)}
    if kind == "wfdb":
        from ecgvision.writers.wfdb import wfdb_files

        return wfdb_files(recording, stem, lines)
    from ecgvision.writers.dicom import dicom_bytes  # pydicom is loaded for this alone

    return {f"{stem}.dcm": dicom_bytes(recording, lines)}
