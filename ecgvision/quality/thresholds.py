"""Where "good" ends, for each kind of layout, and for pages of lines and of pixels.

Chosen on folds 1 to 9 of PTB-XL so that fewer than 2 in 100 good pages are called doubtful. The
margins of the learned table were taken from tables that had not seen the page: three, each learned
on two thirds of these folds. The rates on fold 10, and what was seen of it, are in
`docs/quality.md`. The more columns, the fewer beats each lead shows, and the less sure an average
beat is.

What the limb equations may leave over depends on how the page was read. Curves off pixels have
errors of their own: on pages of fold 9, drawn and read well, these left over up to 3.0 % of the
power, and on real pages of an EDAN SE-3 up to 2.7 %. Lines of a vector page are the machine's own
samples, rounded: a real page of a GE MUSE leaves over 0.06 %, and steps of 5 microvolt leave 0.1 %
of leads of 50 microvolt. A rhythm strip brings errors of its own into the equations: with noise of
14 dB, 3x4+1R pages of fold 9 leave over more than pages without a strip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgvision.types import Layout


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a measure must be over for a page to be doubtful, or refused.

    `physics` and `limb` are fractions of the leads' power. The margins are differences of scores.
    """

    limb: float
    chest: float
    reversal: float = 2.0
    physics: float = 0.04
    physics_refused: float = 0.5


_BY_COLUMNS = {
    (1, False): Thresholds(limb=0.03, chest=4.8),
    (1, True): Thresholds(limb=0.03, chest=4.8, physics=0.05),
    (2, False): Thresholds(limb=0.03, chest=5.3),
    (2, True): Thresholds(limb=0.03, chest=4.9, physics=0.05),
    (4, False): Thresholds(limb=0.28, chest=6.6),
    (4, True): Thresholds(limb=0.25, chest=5.4, physics=0.05),
}

_VECTOR_PHYSICS = 0.02

# The paper speed: bounds of `ecgvision.quality.checks.tempo`, past all but one in 500 pages.
TEMPO_LOW, TEMPO_HIGH = -1.6, 1.0
# Past what hearts do (in beats per minute, and in mV from lowest to highest).
SLOWEST_BPM, FASTEST_BPM = 25.0, 250.0
SMALLEST_MV, LARGEST_MV = 0.1, 10.0
# One small box: what a person reads off a page.
PEAK_CUT_MV = 0.15
# A rhythm strip is printed at its lead's gain.
STRIP_GAIN = 1.15
# Two sources of a scale that are this far apart cannot both be right.
SCALE_OFF = 0.1
# How much of a lead, and of a page, must have been read.
LEAD_COVERAGE, PAGE_COVERAGE, LEAST_COVERAGE = 0.8, 0.9, 0.5


def thresholds_for(layout: Layout, *, vector: bool = False) -> Thresholds:
    """By the number of columns, taken up to 1, 2 or 4, and whether a rhythm strip runs below.

    `vector` tells that all signals are lines of the page, and none was read off its pixels.
    """
    columns = max(sum(not b.rhythm_strip for b in row) for row in layout.rows)
    kind = 1 if columns <= 1 else 2 if columns == 2 else 4
    level = _BY_COLUMNS[kind, any(b.rhythm_strip for b in layout.boxes)]
    return replace(level, physics=_VECTOR_PHYSICS) if vector else level
