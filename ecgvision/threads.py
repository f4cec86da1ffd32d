"""Work on one page side by side, on the cores that the process may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

T = TypeVar("T")


def side_by_side(works: Iterable[Callable[[], T]]) -> list[T]:
    """What each of `works` returns, in their order; the first that fails raises its error.

    In threads, as many as OpenCV may use: a worker of an archive, which has a core of its own, sets
    that to one and does one after the other. It pays where compiled code does the work.

    >>> side_by_side([lambda: 1, lambda: 2])
    [1, 2]
    """
    todo = list(works)
    threads = min(len(todo), int(cv2.getNumThreads()))
    if threads < 2:
        return [work() for work in todo]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda work: work(), todo))
