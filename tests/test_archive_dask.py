"""The engine for a dask cluster, with a real scheduler, two workers, and a few deaths."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import ecgvision.archive.cluster as cluster_module
from ecgvision.archive.cluster import Cluster, ClusterError
from ecgvision.archive.engine import Engine, Worker
from ecgvision.archive.journal import JOURNAL, read_journal
from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.remote import _unfit, anywhere, kit_here
from ecgvision.archive.rows import PageRow
from ecgvision.archive.store import SPOOL
from ecgvision.archive.task import Crash, FileResult, FileTask, Outcome, Work
from ecgvision.archive.work import convert_file
from ecgvision.cli import main
from ecgvision.conversion import PageOptions
from ecgvision.errors import UsageError
from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg

distributed = pytest.importorskip("distributed", reason="dask is not installed")
dask = pytest.importorskip("dask")

COUNT = 40
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses signals"),
    pytest.mark.slow,
    # Sockets of workers that were killed, and of clusters that were closed while in use.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@contextmanager
def workers(count: int = 2, **more: Any) -> Iterator[Any]:
    """A scheduler and so many worker processes, each looked after by a nanny."""
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        # So long after a death a local cluster looks whether its worker is back, and gives it up if
        # not: the tests kill some again at just that moment.
        "distributed.deploy.lost-worker-timeout": "1 hour",
    }
    given = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", **more}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(n_workers=count, silence_logs=50, **given) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[Any]:
    with workers() as found:
        yield found


@pytest.fixture(scope="session")
def drawn() -> list[bytes]:
    chosen = load_formats().find("philips")
    ecgs = [synthetic_ecg(seed=seed) for seed in range(4)]
    return [draw_page(chosen.layouts[0], chosen.info, ecg).pdf for ecg in ecgs]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, drawn: list[bytes]) -> Path:
    """38 files of one page, one of two, one that is no PDF; and what a local run makes of them."""
    folder = tmp_path_factory.mktemp("archive")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("in/2019").mkdir(parents=True)
        for number in range(COUNT - 2):
            place = Path("in" if number % 2 else "in/2019", f"page{number:02d}.pdf")
            place.write_bytes(drawn[number % len(drawn)])
        with pymupdf.open(stream=drawn[0], filetype="pdf") as pdf:
            with pymupdf.open(stream=drawn[1], filetype="pdf") as second:
                pdf.insert_pdf(second)
            Path("in/two.pdf").write_bytes(pdf.tobytes())
        Path("in/bad.pdf").write_bytes(b"no PDF")
        result = convert(patch, None, "local")
        assert result.stdout.strip() == f"{COUNT} pages written, 1 failed"
    return folder


@pytest.fixture
def folder(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, to work in."""
    monkeypatch.chdir(archive)
    return archive


def convert(monkeypatch: pytest.MonkeyPatch, engine: Engine | None, out: str, *more: str) -> Result:
    """The command, with the engine where one is given."""
    command = ["convert", "in", "--format", "philips", "-o", out, *more]
    with monkeypatch.context() as patch:
        if engine is None:
            command += ["--workers", "0"]
        else:
            patch.setattr("ecgvision.cli.archiving._engine", lambda *_: engine)
        return CliRunner().invoke(main, command)


def rows(out: str) -> dict[tuple[str, int], dict[str, Any]]:
    told = pq.read_table(Path(out, MANIFEST)).to_pylist()
    found = {(row["source"], row["page"]): row for row in told}
    assert len(found) == len(told)
    return found


def lasting(out: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows without what differs from run to run."""
    changing = ("seconds", "finished_at")
    return {
        name: {key: row[key] for key in row if key not in changing}
        for name, row in rows(out).items()
    }


def outputs(out: str) -> dict[str, bytes]:
    found = {p.relative_to(out).as_posix(): p for p in Path(out).rglob("*") if p.is_file()}
    return {n: p.read_bytes() for n, p in found.items() if n not in (MANIFEST, ".lock")}


class Interrupted(Cluster):
    """After some outcomes something is done to the cluster, in the midst of its work."""

    def __init__(self, at: int, act: Any, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.at, self.act, self.most = at, act, 0
        self.named: list[str] = []

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        for outcome in super().results(tasks, alone=alone):
            self.most = max(self.most, len(self._flights))
            if outcome is not None:
                self.named.append(outcome.task.name)
                if len(self.named) == self.at:
                    assert self._flights
                    self.act()
            yield outcome


# --- a whole run ----------------------------------------------------------------------------------


def test_a_run_that_loses_a_worker_is_as_a_local_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dask_cluster: Any
) -> None:
    pids = [nanny.pid for nanny in dask_cluster.workers.values()]

    def kill() -> None:
        os.kill(pids[0], signal.SIGKILL)

    engine = Interrupted(8, kill, dask_cluster.scheduler_address, Path("out", SPOOL))
    result = convert(monkeypatch, engine, "out")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert result.stdout.strip() == f"{COUNT} pages written, 1 failed"
    assert sorted(engine.named) == sorted({name for name, _ in rows("local")})
    assert len(engine.named) == COUNT
    assert 2 <= engine.most <= 4
    assert lasting("out") == lasting("local")
    assert len(rows("out")) == COUNT + 1
    assert outputs("out") == outputs("local")
    assert len(outputs("out")) == 2 * COUNT
    assert not Path("out", JOURNAL).exists()
    assert not Path("out", SPOOL).exists()
    again = convert(monkeypatch, None, "out")
    assert again.stdout.strip() == f"0 pages written, 1 failed, {COUNT} kept"


def test_a_run_that_loses_its_scheduler_is_taken_up_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workers() as found:
        engine = Interrupted(20, found.close, found.scheduler_address, Path("rest", SPOOL))
        result = convert(monkeypatch, engine, "rest")
    assert isinstance(result.exception, ClusterError) or result.exit_code == 1
    text = f"{result.exception} {result.output}"
    assert "the same command goes on" in text
    done = [r["source"] for r in read_journal(Path("rest", JOURNAL)) if r["kind"] == "file"]
    assert sorted(done) == sorted(engine.named)
    assert 20 <= len(done) < COUNT
    assert not Path("rest", SPOOL).exists()
    pages = sum(2 if name == "two.pdf" else name != "bad.pdf" for name in done)
    again = convert(monkeypatch, None, "rest")
    assert again.stdout.strip() == f"{COUNT - pages} pages written, 1 failed, {pages} kept"
    assert outputs("rest") == outputs("local")
    assert set(rows("rest")) == set(rows("local"))


# --- one file -------------------------------------------------------------------------------------


def task(name: str, folder: Path) -> FileTask:
    work = Work(folder / "out", PageOptions())
    source = folder / name
    return FileTask(source, name, "", Path(), source.stem, source, "philips", "", work)


def fate(one: FileTask) -> FileResult:
    """What becomes of a file is its name."""
    match one.stem.partition("-")[0]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            note(one, 1, 2)
            time.sleep(600)
        case "raise":
            raise KeyError("Meier")
        case "slow":  # five pages of a second each, with a limit of three seconds
            for number in range(1, 6):
                time.sleep(1.0)
                note(one, number)
        case "once":  # dies after its pages are written, as it is first run
            result = convert_file(one)
            seen = one.work.out_dir.parent / f"{one.stem}.seen"
            if not seen.exists():
                seen.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        case "late":  # good, and slow enough to be in flight when others end their worker
            time.sleep(0.2)
    return FileResult((PageRow(one.name, page=1, pages=1, status="done"),))


def note(one: FileTask, *pages: int) -> None:
    assert one.spool is not None
    with one.spool.open("a") as file:
        for number in (*pages, *pages):  # twice, as by a task that was run again
            file.write(json.dumps(PageRow(one.name, page=number).as_record()) + "\n")


def outcomes(
    names: Sequence[str],
    folder: Path,
    cluster: Any,
    worker: Worker = fate,
    timeout_s: float = 3.0,
    alone: bool = False,
) -> dict[str, FileResult | Crash]:
    found: dict[str, FileResult | Crash] = {}
    engine = Cluster(cluster.scheduler_address, folder / "spool", timeout_s, worker=worker)
    heard_s = time.monotonic()
    with engine:
        for outcome in engine.results((task(name, folder) for name in names), alone=alone):
            assert time.monotonic() - heard_s < 20  # about a second on an idle machine
            heard_s = time.monotonic()
            if outcome is not None:
                assert outcome.task.name not in found
                found[outcome.task.name] = outcome.result
    assert not (folder / "spool").exists()
    return found


def test_each_file_has_its_own_fate(tmp_path: Path, dask_cluster: Any) -> None:
    late = [f"late-{number}" for number in range(10)]
    names = ["raise", *late[:5], "hang", *late[5:], "slow"]
    found = outcomes(names, tmp_path, dask_cluster)
    assert set(found) == set(names)
    for name in ("slow", *late):
        assert isinstance(found[name], FileResult), name
    hang, wrong = found["hang"], found["raise"]
    assert isinstance(hang, Crash)
    assert (hang.reason, hang.found) == ("timed-out", "that one page took longer than 3 s")
    assert [row.page for row in hang.rows] == [1, 2]
    assert isinstance(wrong, Crash)
    assert (wrong.reason, wrong.found) == ("internal", "KeyError")


def test_a_file_whose_worker_dies_after_writing_is_done(
    tmp_path: Path, dask_cluster: Any, drawn: list[bytes]
) -> None:
    (tmp_path / "once.pdf").write_bytes(drawn[0])
    result = outcomes(["once.pdf"], tmp_path, dask_cluster, timeout_s=60)["once.pdf"]
    assert (tmp_path / "once.seen").exists()
    assert isinstance(result, FileResult)
    assert [(row.status, row.reason) for row in result.rows] == [("done", "")]


def test_a_file_that_ends_all_its_workers_is_given_up(tmp_path: Path, dask_cluster: Any) -> None:
    names = ["late-1", "kill", "late-2"]
    found = outcomes(names, tmp_path, dask_cluster, alone=True, timeout_s=60)
    assert set(found) == set(names)
    assert isinstance(found["late-1"], FileResult)
    assert isinstance(found["late-2"], FileResult)
    crash = found["kill"]
    assert isinstance(crash, Crash)
    assert crash.reason == "worker-crashed"


def test_few_files_are_in_flight(tmp_path: Path, dask_cluster: Any) -> None:
    taken = done = 0

    def many() -> Iterator[FileTask]:
        nonlocal taken
        for number in range(12):
            taken += 1
            yield task(f"good-{number}", tmp_path)

    with Cluster(dask_cluster.scheduler_address, tmp_path / "spool", worker=fate) as engine:
        for room, alone in ((4, False), (1, True)):
            for outcome in engine.results(many(), alone=alone):
                done += outcome is not None
                assert taken - done <= room
    assert done == 24


# --- what keeps a run from its work ---------------------------------------------------------------


def test_without_a_scheduler_the_command_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "", "tcp://no host:1"):
        with (
            pytest.raises(UsageError, match="no dask scheduler answers"),
            Cluster(address, tmp_path / "spool"),
        ):
            pass


def test_workers_with_several_threads_are_refused(tmp_path: Path) -> None:
    with (
        workers(1, threads_per_worker=2) as found,
        pytest.raises(ClusterError, match="has 2 threads; start workers with --nthreads 1"),
    ):
        outcomes(["good"], tmp_path, found)


def test_no_workers_end_the_run(tmp_path: Path) -> None:
    with workers(0) as found:
        address = found.scheduler_address
        with Cluster(address, tmp_path / "spool", patience_s=1.0) as engine:
            results = engine.results(iter([task("good", tmp_path)]))
            with pytest.raises(ClusterError, match="has had no worker"):
                assert set(results) == {None}


def test_work_that_the_cluster_cannot_load_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dask_cluster: Any
) -> None:
    module = ModuleType("only_here")  # not where a worker could find it
    exec("def convert(task):\n    return None\n", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(ClusterError, match="install the same"):
        outcomes(["good"], tmp_path, dask_cluster, module.convert)


def test_a_worker_must_see_the_same_folder_and_have_the_same_formats(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    one = anywhere(task("a.pdf", tmp_path), spool)
    kit = kit_here()
    assert "does not see the output folder" in _unfit("tcp://w:1", 1, one, kit)
    spool.touch()
    assert _unfit("tcp://w:1", 1, one, kit) == ""
    assert "install the same" in _unfit("tcp://w:1", 1, one, (*kit, "acme"))
    assert "install the same" in _unfit("tcp://w:1", 1, one, ("0.0", *kit[1:]))


def test_what_is_sent_has_whole_paths_and_may_be_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = task("a.pdf", Path("here"))
    sent = anywhere(one, tmp_path / "spool")
    assert sent.source == sent.shown == tmp_path / "here/a.pdf"
    assert sent.work.out_dir == tmp_path / "here/out"
    assert sent.begun
    hidden = anywhere(replace(one, shown=Path("p-1.pdf")), tmp_path / "spool")
    assert hidden.shown == Path("p-1.pdf")
    Path("here/out").mkdir(parents=True)
    Path("here/out/a.json").touch()  # not ours
    assert not anywhere(one, tmp_path / "spool").begun
