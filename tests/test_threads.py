"""The same work on several things side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import pytest

from ecgvision.threads import each


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(before)


def test_two_things_are_worked_on_at_once(two_threads: None) -> None:
    """Either waits for the other one: one after the other they would wait in vain."""
    both = threading.Barrier(2, timeout=60)

    def work(thing: int) -> int:
        both.wait()
        return 10 * thing

    assert each(work, [3, 1]) == [30, 10]


def test_where_opencv_may_use_one_thread_nothing_is_started(two_threads: None) -> None:
    cv2.setNumThreads(1)
    assert set(each(lambda _: threading.current_thread(), [1, 2, 3])) == {
        threading.current_thread()
    }


def test_an_error_comes_back_once_no_thread_is_at_work(two_threads: None) -> None:
    before = threading.active_count()
    done = []

    def work(thing: int) -> None:
        if thing == 1:
            raise ValueError("thing 1")
        done.append(thing)

    with pytest.raises(ValueError, match="thing 1"):
        each(work, [0, 1, 2])
    assert threading.active_count() == before
    assert 0 in done


def test_nothing_to_do() -> None:
    assert each(abs, []) == []
