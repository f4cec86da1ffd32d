"""Which rows are about the same person, however the ids are linked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ecgvision.dataset.about import DatasetError
from ecgvision.dataset.table import raise_all, read_table

Link = tuple[str, str]


def people(rows: pd.DataFrame, links: Iterable[Link] = ()) -> NDArray[np.int64]:
    """(n,) the number of each row's person, from 0 in the order of their first rows.

    Rows belong together that share a patient, a record, or a group, and patients that a link joins,
    also through patients who have no row. All that hangs together is one person.
    """
    nodes: dict[tuple[str, str], int] = {}
    edges: list[tuple[int, int]] = []

    def node(kind: str, name: str) -> int:
        return nodes.setdefault((kind, name), len(nodes))

    patients = [node("patient", name) for name in rows["patient"]]
    for kind in ("record", "group"):
        if kind in rows:
            edges += [
                (patient, node(kind, name))
                for patient, name in zip(patients, rows[kind], strict=True)
                if isinstance(name, str)
            ]
    edges += [(node("patient", one), node("patient", other)) for one, other in links]
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], np.int8), tuple(ends)), (len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    found = component[np.array(patients, dtype=np.int64)]
    _, first, number = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[number], dtype=np.int64)


def names_of(people_: NDArray[np.int64], patients: Sequence[str]) -> list[str]:
    """A name for each person that does not depend on the order of rows: their least patient id."""
    least: dict[int, str] = {}
    for person, patient in zip(people_.tolist(), patients, strict=True):
        least[person] = min(patient, least.get(person, patient))
    return [least[person] for person in range(len(least))]


def read_links(path: Path) -> list[Link]:
    """Pairs of patient ids that are the same person: a table of two columns.

    Raises `DatasetError`.
    """
    table = read_table(path)
    if len(table.columns) != 2:
        raise DatasetError(
            "table-wrong",
            path,
            None,
            expected="two columns, each with a patient's id",
            found=f"{len(table.columns)}: {', '.join(table.columns)}",
            hint="keep one pair of ids a row",
        )
    first, second = table.columns.values()
    problems = [
        f"row {line}: expected two ids as text, found {one!r} and {other!r}"
        for line, one, other in zip(table.lines, first, second, strict=True)
        if not (isinstance(one, str) and isinstance(other, str) and one and other)
    ]
    raise_all(path, problems, "two ids in each row")
    return list(zip(first, second, strict=True))
