"""A recording as NumPy arrays in one NPZ file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ecgvision.recording import Recording


def npz_bytes(recording: Recording) -> bytes:
    """The NPZ file: plain arrays, to be read with ``allow_pickle=False``.

    NumPy dates the files in the archive 1980, so that the same recording gives the same bytes.
    """
    boxes = recording.boxes
    file = io.BytesIO()
    np.savez_compressed(
        file,
        allow_pickle=False,
        signal_mv=recording.signal_mv.astype(np.float32),
        leads=np.array(recording.leads, dtype=np.str_),
        fs_hz=np.float64(recording.fs_hz),
        rhythm_mv=recording.rhythm_mv.astype(np.float32),
        rhythm_leads=np.array(recording.rhythm_leads, dtype=np.str_),
        box_leads=np.array([box.lead for box in boxes], dtype=np.str_),
        box_rhythm=np.array([box.rhythm_strip for box in boxes], dtype=np.bool_),
        box_start_s=np.array([box.start_s for box in boxes], dtype=np.float64),
        box_stop_s=np.array([box.stop_s for box in boxes], dtype=np.float64),
        box_origin=np.array([box.origin or "" for box in boxes], dtype=np.str_),
        box_confidence=np.array([box.confidence for box in boxes], dtype=np.float64),
        box_coverage=np.array([box.coverage for box in boxes], dtype=np.float64),
        box_reason=np.array([box.reason or "" for box in boxes], dtype=np.str_),
    )
    return file.getvalue()
