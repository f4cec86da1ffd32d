"""Shares people out among splits so that what they have is as frequent in each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgvision.errors import UsageError

_MOST_VALUES = 30
_CUT = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*(?:(?P<how><|>=)\s*(?P<cut>[-+.\deE]+)\s*)?")


def strata(rows: pd.DataFrame, wanted: Sequence[str]) -> NDArray[np.bool_]:
    """(n, k): whether a row has each value of the columns; unknown ones have none.

    `wanted` are columns of few values, also `format` or `year`, or cuts such as
    "lvef_percent<50" or "age_years>=65". Raises `UsageError`.
    """
    columns = [column for one in wanted for column in _columns(rows, one)]
    return np.array(columns, dtype=bool).reshape(len(columns), len(rows)).T


def _columns(rows: pd.DataFrame, wanted: str) -> Iterator[Any]:
    parsed = _CUT.fullmatch(wanted)
    if parsed is None or parsed["name"] not in rows:
        raise UsageError(
            f"cannot stratify by {wanted!r}; name a column, or cut one, such as "
            f"lvef_percent<50: {', '.join(map(str, rows.columns))}"
        )
    values = rows[parsed["name"]]
    known = values.notna().to_numpy(bool)
    if parsed["how"]:
        below = _below(values, parsed["cut"], wanted)
        yield known & below
        yield known & ~below
        return
    there = sorted(set(values[known]))
    if len(there) > _MOST_VALUES:
        raise UsageError(
            f"cannot stratify by {wanted}: it has {len(there)} values; cut it, such as "
            f"{wanted}<{there[len(there) // 2]}"
        )
    for value in there:
        yield known & (values == value).fillna(False).to_numpy(bool)


def _below(values: Any, cut: str, wanted: str) -> NDArray[np.bool_]:
    try:
        numbers = pd.to_numeric(values).to_numpy(float, na_value=np.nan)
        return np.asarray(numbers < float(cut))
    except (ValueError, TypeError):
        raise UsageError(f"cannot stratify by {wanted!r}: it is not about numbers") from None


def shared_out(
    who: NDArray[np.int64], has: NDArray[np.bool_], fractions: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """(people,) the split of each person; `who` (n,) numbers them, `has` (n, k) are strata.

    Iterative stratification after Sechidis, Tsoumakas and Vlahavas (ECML PKDD 2011) with people in
    the place of examples: the rarest stratum that is left is shared out first, people with most of
    it first, each to the split that lacks most of it, or else lacks most rows.
    """
    count = int(who.max()) + 1
    size = np.bincount(who, minlength=count).astype(float)
    amount = np.zeros((count, has.shape[1]))
    np.add.at(amount, who, has)
    share = np.asarray(fractions, dtype=float)
    sharing = _Sharing(share[:, None] * amount.sum(axis=0), share * size.sum(), size, amount)
    mixed = np.random.default_rng(seed).permutation(count)
    left = np.ones(count, dtype=bool)
    while True:
        rest = np.where(amount[left].sum(axis=0) > 0, amount[left].sum(axis=0), np.inf)
        if not np.isfinite(rest).any():
            break
        stratum = int(np.argmin(rest))
        chosen = [person for person in mixed if left[person] and amount[person, stratum] > 0]
        for person in sorted(chosen, key=lambda one: -amount[one, stratum]):
            sharing.give(int(person), stratum)
        left[chosen] = False
    for person in sorted(mixed[left[mixed]], key=lambda one: -size[one]):
        sharing.give(int(person), None)
    return sharing.split


class _Sharing:
    """What each split still lacks, of every stratum (s, k) and in rows (s,)."""

    def __init__(
        self, of_strata: Any, of_rows: Any, size: NDArray[np.float64], amount: NDArray[np.float64]
    ) -> None:
        self._of_strata, self._of_rows = of_strata, of_rows
        self._open = of_rows > 0
        self._size, self._amount = size, amount
        self.split = np.zeros(len(size), dtype=np.int64)

    def give(self, person: int, stratum: int | None) -> None:
        lacks = self._of_rows if stratum is None else self._of_strata[:, stratum]
        lacks = np.where(self._open, lacks, -np.inf)
        most = np.flatnonzero(lacks >= lacks.max() - 1e-9)
        chosen = most[int(np.argmax(self._of_rows[most]))]
        self.split[person] = chosen
        self._of_rows[chosen] -= self._size[person]
        self._of_strata[chosen] -= self._amount[person]
