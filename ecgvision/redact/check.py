"""Whether a redacted page reads as the page it was made of."""

from __future__ import annotations

import numpy as np

from ecgvision.errors import PageError
from ecgvision.recording import LeadSignal, Recording
from ecgvision.types import Match, Page

# A signal may differ by so much of its own power, or by so many mV, whichever is more. A page of
# pixels keeps its traces pixel by pixel, but reading them begins with what is measured on all of
# the page; there a lead that is another one is found, not less.
_LEAST_DB = {"vector": 50.0, "raster": 6.0}
_LEAST_MV = {"vector": 0.0005, "raster": 0.01}
# Pixels do not tell the last of one lead from the first of the next, or from a bar between them.
_ENDS_S = 0.04
_LEAST_SAMPLES = 10
# Of a box so much more or less may be read.
_MOST_COVERAGE = 0.02


def check_alike(
    page: Page, match: Match, recording: Recording, redacted_match: Match, redacted: Recording
) -> None:
    """Raise `PageError` "redaction-differs" unless layout and signals are the same."""
    if match.layout.name != redacted_match.layout.name:
        raise differs(page, f"layout {redacted_match.layout.name} for {match.layout.name}")
    for before, after in zip(recording.boxes, redacted.boxes, strict=True):
        if abs(before.coverage - after.coverage) > _MOST_COVERAGE:
            raise differs(
                page,
                f"lead {before.lead} read to {after.coverage:.0%} and not to {before.coverage:.0%}",
            )
        if before.origin != after.origin:
            raise differs(page, f"lead {before.lead} as {after.origin} and not as {before.origin}")
        snr_db = _agreement_db(before, after, recording.fs_hz)
        if snr_db < _LEAST_DB[before.origin or "raster"]:
            raise differs(page, f"lead {before.lead} off by {snr_db:.0f} dB")


def _agreement_db(before: LeadSignal, after: LeadSignal, fs_hz: float) -> float:
    """How small the difference is against the signal without its mean.

    On a page of pixels it is what is left when both are moved so that they fit best.
    """
    origin = before.origin or "raster"
    count = min(len(before.signal_mv), len(after.signal_mv))
    ends = round(_ENDS_S * fs_hz) if origin == "raster" else 0
    one, other = (
        s.signal_mv[ends : max(0, count - ends)].astype(np.float64) for s in (before, after)
    )
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < _LEAST_SAMPLES:
        return float("inf")
    off = (other - one)[both]
    if origin == "raster":
        slope = np.gradient(np.interp(np.arange(len(one)), np.flatnonzero(both), one[both]))
        moves = np.column_stack([np.ones(len(off)), slope[both]])
        off = off - moves @ np.linalg.lstsq(moves, off)[0]
    off_mv = float(np.sqrt(np.mean(off**2)))
    if off_mv <= _LEAST_MV[origin]:
        return float("inf")
    return 20 * float(np.log10(np.std(one[both]) / off_mv + 1e-9))


def differs(page: Page, found: str) -> PageError:
    """The refusal of a page whose redaction was found to be something else."""
    return PageError(
        "redaction-differs",
        page.source,
        page.number,
        expected="a redacted page that reads as the page itself",
        found=found,
        hint="a page like this cannot be redacted; convert it and pass on its signals",
    )
