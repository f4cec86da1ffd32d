"""Where "good" ends, for each kind of layout, and for pages of lines and of pixels.

`_BY_COLUMNS` comes from what `docs/quality_table.py` prints of folds 1 to 8 of PTB-XL alone: the
limits that one good page in a hundred passes (arrangement), or two in a thousand (the others),
rounded up, and at least 0.03 and 0.04, as readings have other errors than the noise put in there.
`limb_kept` is from every fourth record; `docs/quality.md` says how many of all pass it.
The margins of the learned table are those of tables that had not seen the page's patient. Rates on
fold 10 are in `docs/quality.md`. The more columns, the fewer beats each lead shows, and the less
sure an average beat is.

What the limb equations may leave over depends on how the page was read. Curves off pixels have
errors of their own. Lines of a vector page are the machine's own samples, rounded: a real page of a
GE MUSE leaves over 0.06 %, and steps of 5 microvolt leave 0.1 % of leads of 50 microvolt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgvision.types import Layout


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a measure must be over for a page to be doubtful, or refused.

    `physics` and `limb` are fractions of the leads' power, `arrangement` is a difference of scores.
    """

    arrangement: float
    limb: float = 0.03
    limb_kept: float = 0.03
    physics: float = 0.04
    physics_refused: float = 0.5


_BY_COLUMNS = {
    (1, False): Thresholds(arrangement=5.5),
    (2, False): Thresholds(arrangement=6.3),
    (2, True): Thresholds(arrangement=6.0),
    (4, False): Thresholds(arrangement=6.2, limb=0.39, limb_kept=0.05),
    (4, True): Thresholds(arrangement=6.4, limb=0.33, physics=0.05),
}

_VECTOR_PHYSICS = 0.02

# The paper speed: bounds of `ecgvision.quality.checks.tempo`, past one in 1000 pages each.
TEMPO_LOW, TEMPO_HIGH = -1.75, 0.9
# Past what hearts do (in beats per minute, and in mV from lowest to highest).
SLOWEST_BPM, FASTEST_BPM = 25.0, 250.0
SMALLEST_MV, LARGEST_MV = 0.1, 10.0
# One small box: what a person reads off a page.
PEAK_CUT_MV = 0.15
# A rhythm strip is printed at its lead's gain.
STRIP_GAIN = 1.15
# What may be left over between a lead and its strip: two of 507 good pages of folds 1 to 8 pass it.
STRIP_UNLIKE = 0.12
# Two sources of a scale that are this far apart cannot both be right.
SCALE_OFF = 0.1
# How much of a lead, and of a page, must have been read.
LEAD_COVERAGE, PAGE_COVERAGE, LEAST_COVERAGE = 0.8, 0.9, 0.5


def thresholds_for(layout: Layout, *, vector: bool = False) -> Thresholds:
    """Those of the layout's kind.

    `vector` tells that all signals are lines of the page, and none was read off its pixels.
    """
    columns, strip = kind_of(layout)
    level = _BY_COLUMNS[columns, strip and columns > 1]
    return replace(level, physics=_VECTOR_PHYSICS) if vector else level


def kind_of(layout: Layout) -> tuple[int, bool]:
    """The number of columns, taken up to 1, 2 or 4, and whether a rhythm strip runs below."""
    columns = max(sum(not b.rhythm_strip for b in row) for row in layout.rows)
    kind = 1 if columns <= 1 else 2 if columns == 2 else 4
    return kind, any(b.rhythm_strip for b in layout.boxes)
