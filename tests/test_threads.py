"""Work side by side gives what it gives one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import cv2
import pytest

from ecgvision.threads import side_by_side


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """With OpenCV set to so many."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(request.param)
    yield request.param
    cv2.setNumThreads(before)


def failing(word: str) -> Callable[[], None]:
    def fail() -> None:
        raise ValueError(word)

    return fail


def test_results_come_in_their_order(threads):
    assert side_by_side(lambda k=k: k * k for k in range(20)) == [k * k for k in range(20)]
    assert side_by_side([]) == []


def test_the_first_that_fails_raises(threads):
    with pytest.raises(ValueError, match="one"):
        side_by_side([lambda: None, failing("one"), failing("other")])


def test_where_opencv_has_one_thread_there_is_one(threads):
    """Workers of an archive have a core each, and would take each other's."""
    meet = threading.Barrier(2)

    def met() -> bool:
        try:
            meet.wait(2.0)
        except threading.BrokenBarrierError:
            return False
        return True

    assert side_by_side([met, met]) == [threads == 2] * 2
