"""The pool: a file that crashes, hangs or eats memory costs itself, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ecgvision.archive.engine import Worker, WorkersError
from ecgvision.archive.local import Limits, Pool
from ecgvision.archive.rows import PageRow
from ecgvision.archive.task import Crash, FileResult, FileTask, Outcome, Work
from ecgvision.conversion import PageOptions

MB = 1024**2
LIMITS = Limits(workers=2, timeout_s=3.0, memory_bytes=300 * MB)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")


def task(name: str, folder: Path) -> FileTask:
    work = Work(folder, PageOptions())
    source = folder / name
    return FileTask(source, name, "", Path(), name, source, "auto", "", work)


def fate(one: FileTask) -> FileResult:
    """What becomes of a file is its name."""
    match one.stem.partition("-")[0]:
        case "exit":
            os._exit(3)
        case "quit":
            os._exit(0)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "spin":  # in C, so that no handler of Python's gets its turn
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "eat":
            np.ones(LIMITS.memory_bytes // 8 + MB)
        case "raise":
            raise KeyError("Meier")
        case "pages":
            spooled(one, 3)
            time.sleep(600)
        case "slow":  # five pages of a second each, with a limit of three seconds
            for number in range(1, 6):
                time.sleep(1.0)
                spooled(one, number)
    return FileResult((PageRow(one.name, page=1, pages=1, status="done"),))


def spooled(one: FileTask, number: int) -> None:
    import json

    assert one.spool is not None
    with one.spool.open("a") as file:
        file.write(json.dumps(PageRow(one.name, page=number).as_record()) + "\n")


def outcomes(
    names: Sequence[str], folder: Path, worker: Worker = fate, limits: Limits = LIMITS
) -> dict[str, FileResult | Crash]:
    found: dict[str, FileResult | Crash] = {}
    with Pool(limits, folder / "spool", worker) as pool:
        for outcome in pool.results(task(name, folder) for name in names):
            if outcome is not None:
                assert outcome.task.name not in found
                found[outcome.task.name] = outcome.result
    assert not (folder / "spool").exists()
    return found


def test_each_file_has_its_own_fate(tmp_path: Path) -> None:
    bad = {
        "exit": ("worker-crashed", "code 3"),
        "segv": ("worker-crashed", "SIGSEGV"),
        "kill": ("memory-exceeded", "SIGKILL"),
        "hang": ("timed-out", "longer than 3 s"),
        "spin": ("timed-out", "longer than 3 s"),
        "quit": ("timed-out", "longer than 3 s"),
        "raise": ("internal", "KeyError"),
    }
    good = [f"good-{number}" for number in range(12)]
    names = [name for pair in zip(good, [*bad, *good], strict=False) for name in pair]
    found = outcomes(dict.fromkeys(names), tmp_path)
    assert set(found) == set(names)
    for name in set(names) - set(bad):
        assert isinstance(found[name], FileResult), name
    for name, (reason, told) in bad.items():
        crash = found[name]
        assert isinstance(crash, Crash), name
        assert crash.reason == reason, name
        assert told in crash.found
        assert "Meier" not in crash.found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory so")
def test_memory_is_limited_in_the_worker(tmp_path: Path) -> None:
    found = outcomes(["eat", "good"], tmp_path)
    assert isinstance(found["good"], FileResult)
    assert isinstance(found["eat"], Crash)
    assert found["eat"].reason == "memory-exceeded"


def test_finished_pages_outlive_their_worker_and_a_file_may_take_long(tmp_path: Path) -> None:
    found = outcomes(["pages", "slow"], tmp_path)
    assert isinstance(found["pages"], Crash)
    assert [row.page for row in found["pages"].rows] == [3]
    assert isinstance(found["slow"], FileResult)


def test_few_files_are_in_flight(tmp_path: Path) -> None:
    taken = 0

    def many() -> Iterator[FileTask]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield task(f"good-{number}", tmp_path)

    done = 0
    with Pool(LIMITS, tmp_path / "spool", fate) as pool:
        for outcome in pool.results(many()):
            done += outcome is not None
            assert taken - done <= 2 * LIMITS.workers
        for outcome in pool.results(many(), alone=True):
            done += outcome is not None
            assert taken - done <= 1
    assert done == 60


def own_threads(one: FileTask) -> FileResult:
    import cv2

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    told = ",".join([str(cv2.getNumThreads()), *(os.environ.get(name, "") for name in names)])
    return FileResult((PageRow(one.name, message=told),))


def test_a_worker_has_one_core(tmp_path: Path) -> None:
    before = dict(os.environ)
    (result,) = outcomes(["x"], tmp_path, own_threads).values()
    assert isinstance(result, FileResult)
    assert result.rows[0].message == "1,1,1"
    assert dict(os.environ) == before


def broken(_: int) -> None:
    os._exit(7)


def test_workers_that_never_start_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecgvision.archive.local._prepare", broken)
    with pytest.raises(WorkersError, match="as soon as they start"):
        outcomes(["x"], tmp_path)


def test_outcomes_name_their_task(tmp_path: Path) -> None:
    with Pool(LIMITS, tmp_path / "spool", fate) as pool:
        found = [one for one in pool.results(iter([task("good", tmp_path)])) if one is not None]
    (outcome,) = found
    assert isinstance(outcome, Outcome)
    assert outcome.task.source == tmp_path / "good"
