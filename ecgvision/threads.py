"""The same work on several things side by side, in as many threads as OpenCV may use.

It pays where the work is mostly done by compiled loops and OpenCV, which let other threads run
meanwhile. The workers of a batch allow OpenCV one thread, as each has its own pages: there things
are worked on one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def each(work: Callable[[_Thing], _Result], things: Sequence[_Thing]) -> list[_Result]:
    """What `work` makes of each thing, in their order, however many threads there are.

    The first thing's error that there is, is raised, once no thread is at work any more.

    >>> each(abs, [-2, 1])
    [2, 1]
    """
    threads = min(cv2.getNumThreads(), len(things))
    if threads < 2:
        return [work(thing) for thing in things]
    with ThreadPoolExecutor(threads, thread_name_prefix="ecgvision") as pool:
        return list(pool.map(work, things))
