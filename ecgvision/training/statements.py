"""Statements learnt beside the tasks: finer words for the same pages, which only training sees.

That a page shows an inferior infarction says more than that it shows one. A network that must tell
them apart finds better features where records are few (Caruana 1997 on multi-task learning). The
layer that reads the statements is no part of the network and is dropped with the training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.store import Dataset
from ecgvision.training.errors import TrainingError
from ecgvision.training.recipe import StatementSettings

_BETWEEN = re.compile(r"[\s,;]+")


@dataclass(frozen=True)
class Statements:
    """Which words are learnt, and (n, words) 0 or 1 for each row, NaN where its cell is empty."""

    words: tuple[str, ...]
    targets: NDArray[np.float32] = field(repr=False)


def statements_of(
    how: StatementSettings, dataset: Dataset, rows: NDArray[np.int64]
) -> Statements | None:
    """The statements of training rows; None where the recipe asks for none.

    Raises `TrainingError` where the column is missing, or no word of it is frequent enough.
    """
    if not how.column:
        return None
    if how.column not in dataset.rows:
        raise TrainingError(
            f"training.statements needs a column {how.column!r}, which data set "
            f"{dataset.about.name!r} does not have; build it with that column, or set "
            'training.statements.column=""'
        )
    cells = dataset.rows[how.column].iloc[rows].tolist()
    words = frequent_words(cells, how.least_share)
    if not words:
        raise TrainingError(
            f"training.statements: no word of column {how.column!r} stands in "
            f"{how.least_share:.2%} of the training rows of data set {dataset.about.name!r}; lower "
            "training.statements.least_share"
        )
    return Statements(words, word_targets(cells, words))


def frequent_words(cells: Sequence[object], least_share: float) -> tuple[str, ...]:
    """The words, in order, that stand in so large a share of all cells.

    >>> frequent_words(["SR IMI", "SR; LVH", None, "SR, IMI"], 0.5)
    ('IMI', 'SR')
    """
    counts: dict[str, int] = {}
    for cell in cells:
        for word in _words(cell):
            counts[word] = counts.get(word, 0) + 1
    return tuple(sorted(w for w, n in counts.items() if n >= least_share * len(cells)))


def word_targets(cells: Sequence[object], words: Sequence[str]) -> NDArray[np.float32]:
    """(n, words) 1 where the cell has the word, 0 where it has others alone, NaN where it is empty.

    >>> word_targets(["SR IMI", None], ["IMI", "LVH"])
    array([[ 1.,  0.],
           [nan, nan]], dtype=float32)
    """
    found = np.full((len(cells), len(words)), np.nan, np.float32)
    for row, cell in enumerate(cells):
        there = _words(cell)
        if there:
            found[row] = [word in there for word in words]
    return found


def _words(cell: object) -> set[str]:
    # A cell that is not known may be None or NaN.
    return {w for w in _BETWEEN.split(cell) if w} if isinstance(cell, str) else set()
