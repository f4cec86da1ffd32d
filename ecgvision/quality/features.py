"""One page's average beats as numbers for the table of `ecgvision.quality.arrangement`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.quality.beats import BEAT_FIRST, BEAT_LENGTH
from ecgvision.quality.physics import FROM_I_AND_II
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads that the others follow from."""

# Samples of an average beat: the QRS in steps of 12 ms, the rest of the beat in steps of 40 ms.
_FINE, _COARSE, _QRS_STEPS = 3, 10, 7
_EDGES = (
    *range(BEAT_FIRST - _QRS_STEPS * _FINE - 5 * _COARSE, BEAT_FIRST - _QRS_STEPS * _FINE, _COARSE),
    *range(BEAT_FIRST - _QRS_STEPS * _FINE, BEAT_FIRST + _QRS_STEPS * _FINE, _FINE),
    *range(BEAT_FIRST + _QRS_STEPS * _FINE, BEAT_LENGTH - _COARSE + 1, _COARSE),
)
BINS = len(_EDGES)
_QRS_BINS = slice(5, 5 + 2 * _QRS_STEPS)
# P wave, QRS up to its middle and from there on, ST segment, T wave.
_ENDS = (0, 5, 5 + _QRS_STEPS, 5 + 2 * _QRS_STEPS, 23, BINS)
_PARTS = tuple(slice(*ends) for ends in pairwise(_ENDS))
_PAIRS = np.triu_indices(len(EIGHT))
PRODUCTS = len(_PARTS) * len(_PAIRS[0])
_SMALLEST_MV = 0.02


def eight_leads(average_mv: Floats) -> Floats | None:
    """(8, BEAT_LENGTH) of (12, BEAT_LENGTH): I and II from all the limb leads there are.

    None where a chest lead or more than four limb leads are missing.
    """
    known = [at for at, beat in enumerate(average_mv) if np.isfinite(beat).all()]
    limb = [at for at in known if LEADS[at] in FROM_I_AND_II]
    if len(limb) < 2 or len(known) - len(limb) < 6:
        return None
    plane = np.array([FROM_I_AND_II[LEADS[at]] for at in limb])
    if np.linalg.matrix_rank(plane) < 2:
        return None
    two = np.linalg.pinv(plane) @ average_mv[limb]
    return np.concatenate([two, average_mv[6:]])


def features(eight_mv: Floats) -> Floats:
    """(8, BINS): the means over short times, relative to the size of the QRS in V1 to V6.

    Reversed limb electrodes do not change that size. Clipped at 6 to bound what one spike does.
    """
    widths = np.diff([*_EDGES, _EDGES[-1] + _COARSE])
    sums = np.add.reduceat(eight_mv[:, : _EDGES[-1] + _COARSE], _EDGES, axis=1)
    means: Floats = sums / widths
    size = float(np.sqrt(np.mean(means[2:, _QRS_BINS] ** 2)))
    return np.clip(means / max(size, _SMALLEST_MV), -6.0, 6.0)


def products(described: Floats) -> Floats:
    """(..., PRODUCTS) of (..., 8, BINS): how large every two leads are, and how much alike.

    It is the mean of the product of two leads, taken over the P wave, both halves of the QRS, the
    ST segment and the T wave, and of that the root, with its sign. Neighbours are alike, and their
    size grows and falls once from V1 to V6: that is what tells neighbours that were exchanged.
    """
    parts = [described[..., part] for part in _PARTS]
    means = [(one @ one.swapaxes(-1, -2)) / one.shape[-1] for one in parts]
    pairs = np.concatenate([one[..., _PAIRS[0], _PAIRS[1]] for one in means], axis=-1)
    roots: Floats = np.sign(pairs) * np.sqrt(np.abs(pairs))
    return roots
