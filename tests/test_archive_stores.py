"""Runs with inputs and outputs behind URLs are as those on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ecgvision.archive.journal import JOURNAL
from ecgvision.archive.lease import HOLD_S
from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.store import LOCK, placed
from ecgvision.cli import main
from ecgvision.media.mupdf import pymupdf
from tests.stores import SECRET, convert, everything, outputs, put, rows

pytest_plugins = ["tests.store_fixtures"]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses signals"),
    # Connections of the S3 library, which it leaves to the end of the process.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Of the S3 library, about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


# --- a whole run --------------------------------------------------------------------------------


def test_a_run_behind_a_url_is_as_one_on_this_machine(
    archive: str, whole: tuple[dict[str, bytes], list[dict[str, Any]]]
) -> None:
    done = convert(f"{archive}/in", f"{archive}/out")
    assert (done.exit_code, done.stdout) == (1, "9 pages written, 1 failed\n")
    assert outputs(f"{archive}/out") == whole[0]
    assert rows(f"{archive}/out") == whole[1]
    assert len(whole[0]) == 2 * 9
    again = convert(f"{archive}/in", f"{archive}/out")
    assert (again.exit_code, again.stdout) == (1, "0 pages written, 1 failed, 9 kept\n")
    assert outputs(f"{archive}/out") == whole[0]
    assert not [name for name in everything(f"{archive}/out") if name.startswith(JOURNAL)]


def test_a_source_that_changes_is_converted_again(archive: str, pages: list[bytes]) -> None:
    put(f"{archive}/two", {"a.pdf": pages[0], "b.pdf": pages[0]})
    assert convert(f"{archive}/two", f"{archive}/out").stdout == "2 pages written, 0 failed\n"
    before = outputs(f"{archive}/out")
    time.sleep(1.1)  # some stores tell whole seconds
    put(f"{archive}/two", {"a.pdf": pages[1], "b.pdf": pages[0]})
    assert (
        convert(f"{archive}/two", f"{archive}/out").stdout == "1 page written, 0 failed, 1 kept\n"
    )
    after = outputs(f"{archive}/out")
    assert before["a.png"] != after["a.png"]
    assert before["b.json"] == after["b.json"]
    store, folder = placed(f"{archive}/out")
    store.remove(folder / "b.png")
    assert (
        convert(f"{archive}/two", f"{archive}/out").stdout == "1 page written, 0 failed, 1 kept\n"
    )
    assert outputs(f"{archive}/out") == after


def test_outputs_that_are_there_are_not_replaced(archive: str, pages: list[bytes]) -> None:
    put(f"{archive}/one", {"a.pdf": pages[0]})
    put(f"{archive}/out", {"a.png": b"of somebody"})
    done = convert(f"{archive}/one", f"{archive}/out")
    assert done.exit_code == 1
    assert f"expected no file {archive}/out/a.png" in done.stderr
    assert everything(f"{archive}/out")["a.png"] == b"of somebody"
    assert convert(f"{archive}/one", f"{archive}/out", "--force").exit_code == 0
    within = convert(archive, archive)
    assert (within.exit_code, "cannot take the output" in within.stderr) == (2, True)


def test_a_report_is_made_from_a_url_and_needs_no_network(
    s3: Any, files: dict[str, bytes], tmp_path: Path
) -> None:
    with pymupdf.open() as pdf:
        pdf.new_page()
        blank = bytes(pdf.tobytes())
    given = {"bad.pdf": files["bad.pdf"], "1/ward.pdf": files["0/ward/0.pdf"], "blank.pdf": blank}
    put("s3://ecg/summed/in", given)
    assert convert("s3://ecg/summed/in", "s3://ecg/summed/out").exit_code == 1
    made = CliRunner().invoke(main, ["report", "s3://ecg/summed/out"])
    assert made.output.startswith("s3://ecg/summed/out/report.html: 3 pages of 3 files: 1 done")
    page = s3.cat("ecg/summed/out/report.html").decode()
    assert "file-type-unknown" in page
    assert page.count("data:image/png") == 1  # the blank page, drawn from its store
    assert not [
        mark for mark in ("http://", "https://", "<script", "<link", SECRET) if mark in page
    ]
    here = ["report", "s3://ecg/summed/out", "-o", str(tmp_path / "r.html"), "--no-thumbnails"]
    assert CliRunner().invoke(main, here).exit_code == 0
    assert (tmp_path / "r.html").read_bytes()[:15] == page.encode()[:15]
    nothing = CliRunner().invoke(main, ["report", "s3://ecg/nothing"])
    assert (nothing.exit_code, "is not a folder" in nothing.output) == (2, True)


# --- killed and crowded -------------------------------------------------------------------------


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(800):
        if true():
            return
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.25)
    raise AssertionError("it takes too long")


def finished(out: str) -> int:
    store, folder = placed(out)
    return sum(path.suffix == ".json" for path, _ in store.tree(folder))


def killed(source: str, out: str, after: int) -> None:
    """Start a run of two workers, and kill it when there are so many pages."""
    command = [sys.executable, "-m", "ecgvision", "convert", source, "--format", "philips"]
    process = subprocess.Popen(
        [*command, "-o", out, "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: finished(out) >= after, process)
    process.kill()
    process.wait(60)


def as_if_later(s3: Any, lock: str) -> None:
    """The lock as it is once its time is over."""
    told = json.loads(s3.cat(lock))
    s3.pipe(lock, json.dumps({**told, "renewed_at_s": told["renewed_at_s"] - HOLD_S}).encode())


@pytest.mark.slow
def test_a_killed_run_goes_on_when_its_lock_is_over(
    s3: Any,
    files: dict[str, bytes],
    whole: tuple[dict[str, bytes], list[dict[str, Any]]],
) -> None:
    put("s3://ecg/killed/in", files)
    source, out = "s3://ecg/killed/in", "s3://ecg/killed/out"
    killed(source, out, after=3)
    time.sleep(1)  # its workers end with it
    left = everything(out)
    assert MANIFEST not in left
    assert [name for name in left if name.startswith(JOURNAL)]
    refused = convert(source, out)
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "another run writes to s3://ecg/killed/out" in refused.stderr
    assert everything(out) == left
    as_if_later(s3, "ecg/killed/out/.lock")
    done = convert(source, out)
    assert done.exit_code == 1
    assert "[output-exists]" not in done.stderr
    assert outputs(out) == whole[0]
    assert rows(out) == whole[1]
    assert not {JOURNAL, LOCK} & set(everything(out))


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_does_it_as_well(
    s3: Any,
    files: dict[str, bytes],
    whole: tuple[dict[str, bytes], list[dict[str, Any]]],
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    put("s3://ecg/dask/in", files)
    source, out = "s3://ecg/dask/in", "s3://ecg/dask/out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        pids = [nanny.pid for nanny in cluster.workers.values()]

        def kill() -> None:
            while not finished(out):
                time.sleep(0.25)
            os.kill(pids[0], signal.SIGKILL)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        engine = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
        command = ["convert", source, "--format", "philips", "-o", out, *engine]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        thread.join(60)
    assert (done.exit_code, done.stdout) == (1, "9 pages written, 1 failed\n")
    assert outputs(out) == whole[0]
    assert rows(out) == whole[1]
