"""Runs that are killed, stopped, crowded or cramped: what is done stays, the rest comes later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import ecgvision.archive.work as work
from ecgvision.archive.engine import Engine, InProcess, Outcome, Worker
from ecgvision.archive.finding import find
from ecgvision.archive.inputs import Inputs
from ecgvision.archive.journal import JOURNAL, read_journal
from ecgvision.archive.local import Limits, Pool
from ecgvision.archive.manifest import MANIFEST, Knowledge, knowledge
from ecgvision.archive.plan import Plan
from ecgvision.archive.rows import PageRow
from ecgvision.archive.run import Ending, locked, run, sweep
from ecgvision.archive.store import LOCK, SPOOL
from ecgvision.archive.task import FileResult, FileTask, Work
from ecgvision.archive.work import convert_file
from ecgvision.cli import main
from ecgvision.cli.batch import Teller
from ecgvision.conversion import PageOptions
from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")
MB = 1024**2


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    chosen = load_formats().find("philips")
    drawn = [draw_page(chosen.layouts[0], chosen.info, synthetic_ecg(seed=s)) for s in range(3)]
    return [one.pdf for one in drawn]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with an empty folder `in`."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def many(parts: Sequence[bytes]) -> bytes:
    with pymupdf.open() as pdf:
        for part in parts:
            with pymupdf.open(stream=part, filetype="pdf") as one:
                pdf.insert_pdf(one)
        return bytes(pdf.tobytes())


def archive(pages: Sequence[bytes], count: int) -> None:
    """Files in sub-folders, some of many pages, one that is bad."""
    for number in range(count):
        path = Path(f"in/{number % 3}/{number}.pdf")
        path.parent.mkdir(exist_ok=True)
        content = pages[number % 3] if number % 4 else many(pages)
        path.write_bytes(content)
    Path("in/bad.pdf").write_bytes(b"")


def command(out: str, *arguments: str) -> list[str]:
    start = [sys.executable, "-m", "ecgvision", "convert", "in", "--format", "philips", "-o", out]
    return [*start, *arguments]


def convert(*arguments: str, out: str = "out") -> Result:
    given = [*command(out)[3:], *arguments]
    return CliRunner().invoke(main, given, catch_exceptions=False)


def outputs(out: str = "out") -> dict[str, bytes]:
    """All files but manifest and lock; no temporary file may be among them."""
    found = {p.relative_to(out).as_posix(): p for p in Path(out).rglob("*") if p.is_file()}
    assert not [name for name in found if ".ecgvision-" in name]
    return {name: p.read_bytes() for name, p in found.items() if name not in (MANIFEST, LOCK)}


def rows(out: str = "out") -> list[dict[str, Any]]:
    return pq.read_table(Path(out, MANIFEST)).to_pylist()


def pages_of(out: str = "out") -> Counter[tuple[str, int, str]]:
    return Counter((row["source"], row["page"], row["status"]) for row in rows(out))


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(6000):
        if true():
            return
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.01)
    raise AssertionError("it takes too long")


def recorded(out: str) -> int:
    """How many files have come to their end."""
    return sum(record["kind"] == "file" for record in read_journal(Path(out, JOURNAL)))


def finished(out: str) -> int:
    return sum(1 for _ in Path(out).rglob("*.json"))


# --- killed -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "after"), [("2", 0), ("2", 4), ("0", 5)])
def test_a_killed_run_goes_on_and_gives_the_same(
    folder: Path, pages: list[bytes], workers: str, after: int
) -> None:
    archive(pages, 9)
    assert convert("--workers", "0", out="whole").exit_code == 1
    whole = outputs("whole")
    assert len(whole) == 2 * 15
    process = subprocess.Popen(
        command("out", "--workers", workers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    out = Path("out")
    wait_until(lambda: finished("out") >= after and (out / JOURNAL).exists(), process)
    process.kill()
    process.wait(60)
    left = finished("out")
    assert not (out / MANIFEST).exists()
    (out / ".ecgvision-0123456789ab.tmp").write_text("half of somethi")
    with (out / JOURNAL).open("ab") as file:
        file.write(b"0badc0de {half a li")
    done = convert("--workers", "0")
    assert done.exit_code == 1
    assert "[output-exists]" not in done.stderr
    assert left <= finished("out")
    assert outputs("out") == whole
    assert pages_of("out") == pages_of("whole")
    assert set(pages_of("out").values()) == {1}
    again = convert("--workers", "0")
    assert again.stdout == "0 pages written, 1 failed, 15 kept\n"
    assert outputs("out") == whole


@pytest.mark.slow
def test_workers_end_with_the_run(folder: Path, pages: list[bytes]) -> None:
    archive(pages, 30)
    process = subprocess.Popen(
        command("out", "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: finished("out") >= 2, process)
    process.kill()
    process.wait(60)
    time.sleep(2)
    count = finished("out")
    time.sleep(3)
    assert finished("out") == count < 30


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_keeps_what_is_done(folder: Path, pages: list[bytes], workers: str) -> None:
    archive(pages, 12)
    process = subprocess.Popen(
        command("out", "--workers", workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What is started in the background is deaf to Ctrl-C, and so would be all it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Files, not pages: what the interrupted one had finished is done again.
    wait_until(lambda: recorded("out") >= 2, process)
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert (
        told.decode()
        .splitlines()[-1]
        .endswith("files are left; the same command goes on where this one stopped")
    )
    assert b"Traceback" not in told
    written = int(said.split()[0])
    records = [r for r in read_journal(Path("out", JOURNAL)) if r["kind"] == "file"]
    assert sum(row["status"] == "done" for r in records for row in r["rows"]) == written >= 1
    outputs("out")
    done = convert("--workers", "0")
    assert f" {written} kept\n" in done.stdout
    assert len(pages_of("out")) == 12 + 2 * 3 + 1


# --- crowded ------------------------------------------------------------------------------------


def test_two_runs_do_not_share_a_folder(folder: Path, pages: list[bytes]) -> None:
    Path("in/a.pdf").write_bytes(pages[0])
    with locked(Path("out")):
        done = subprocess.run(command("out"), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("[output-in-use]\n")
        assert not Path("out/a.png").exists()
    assert convert().exit_code == 0  # a lock file that is left over locks nothing


# --- cramped ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 300 kB, mounted at `out`."""
    out = folder / "out"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(out)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield out
    subprocess.run(["umount", "--lazy", str(out)], check=True)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_full_disk_stops_the_run_and_more_room_ends_it(
    small_disk: Path, pages: list[bytes], workers: str
) -> None:
    for number in range(8):
        Path(f"in/{number}.pdf").write_bytes(pages[number % 3])
    done = convert("--workers", workers)
    assert done.exit_code == 1
    assert "stopped: cannot write" in done.stderr
    assert "No space left" in done.stderr
    assert done.stderr.endswith("; the same command goes on where this one stopped\n")
    written = int(done.stdout.split()[0])
    assert 0 < written < 8
    assert not (small_disk / MANIFEST).exists()
    there = outputs()
    for name, content in there.items():
        if name.endswith(".png"):
            assert content.endswith(b"IEND\xaeB`\x82")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = convert("--workers", workers)
    assert again.exit_code == 0, again.stderr
    assert again.stdout == f"{8 - written} pages written, 0 failed, {written} kept\n"
    assert {name: outputs()[name] for name in there if name != JOURNAL} == {
        name: content for name, content in there.items() if name != JOURNAL
    }
    assert set(pages_of().values()) == {1}


def test_a_disk_that_is_read_only_is_told_at_once(small_disk: Path, pages: list[bytes]) -> None:
    Path("in/a.pdf").write_bytes(pages[0])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = convert()
    assert done.exit_code == 1
    assert done.stderr.endswith("[output-unwritable]\n")
    assert "Read-only file system" in done.stderr
    assert list(small_disk.iterdir()) == []


# --- files that cost their worker ---------------------------------------------------------------


def fragile(task: FileTask) -> FileResult:
    """Converts files, but some of them end their worker by their name."""
    name, mark = task.source.stem, task.source.with_suffix(".tried")
    if name == "never":
        (task.work.out_dir / ".ecgvision-0123456789ab.tmp").write_text("half of somethi")
        os._exit(5)
    if name == "once" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "third":
        real = work.convert_each

        def dies(*arguments: Any) -> Any:
            for number, page in enumerate(real(*arguments), 1):
                if number == 3:
                    os._exit(5)
                yield page

        work.convert_each = dies
    return convert_file(task)


class Quiet:
    """Listens, and remembers the order of what came to an end."""

    def __init__(self) -> None:
        self.over: list[str] = []

    def kept(self, done: int, refused: int) -> None:
        self.over.append("kept")

    def finished(self, folder: Path, told: Sequence[PageRow], traces: Sequence[str]) -> None:
        self.over.append(told[0].source)

    def tick(self) -> None:
        pass


def run_with(
    worker: Worker, known: Knowledge | None = None, engine: Engine | None = None
) -> tuple[Ending, list[str]]:
    out = Path("out").absolute()
    inputs = Inputs()
    for found in find(["in"]):
        inputs.add(found)
    job = Work(out, PageOptions())
    with locked(out):
        sweep(out)
        known = knowledge(out, inputs.might_have)
        plan = Plan(inputs, job, {"": "o"}, "philips", known)
        listener = Quiet()
        pool = Pool(Limits(2, timeout_s=60, memory_bytes=600 * MB), out / SPOOL, worker)
        return run(plan, engine or pool, listener), listener.over


def test_a_file_that_crashes_is_tried_once_more_and_put_aside(
    folder: Path, pages: list[bytes]
) -> None:
    for name in ("a", "b", "never", "once"):
        Path(f"in/{name}.pdf").write_bytes(pages[0])
    Path("in/third.pdf").write_bytes(many([*pages, pages[0]]))
    ending, over = run_with(fragile)
    assert ending == Ending()
    assert sorted(over) == ["a.pdf", "b.pdf", "never.pdf", "once.pdf", "third.pdf"]
    assert set(over[:2]) == {"a.pdf", "b.pdf"}  # suspects come alone, after all others
    found = {(row["source"], row["page"]): row for row in rows()}
    assert set(found) == {
        ("a.pdf", 1),
        ("b.pdf", 1),
        ("never.pdf", 0),
        ("once.pdf", 1),
        *(("third.pdf", page) for page in (1, 2, 3, 4)),
    }
    assert (found["once.pdf", 1]["status"], found["once.pdf", 1]["attempts"]) == ("done", 2)
    never = found["never.pdf", 0]
    assert (never["status"], never["reason"], never["attempts"]) == ("failed", "worker-crashed", 2)
    assert never["message"].startswith("never.pdf: expected a file that a worker can convert")
    states = [(found["third.pdf", n]["status"], found["third.pdf", n]["reason"]) for n in (2, 3, 4)]
    assert states == [("done", ""), ("failed", "worker-crashed"), ("failed", "worker-crashed")]
    assert found["third.pdf", 2]["pages"] == 4
    assert len(found["third.pdf", 2]["source_sha256"]) == 64
    assert "third-p2.png" in outputs()
    ending, over = run_with(convert_file)
    assert over.count("kept") == 3
    assert {row["status"] for row in rows()} == {"done"}
    assert len(rows()) == 3 + 1 + 4


class Halted(InProcess):
    """An engine that is interrupted while something is half written."""

    def results(
        self, tasks: Iterator[FileTask], *, alone: bool = False
    ) -> Iterator[Outcome | None]:
        next(tasks)
        Path("out/.ecgvision-0123456789ab.tmp").write_text("half of somethi")
        raise KeyboardInterrupt
        yield None


def test_what_is_half_written_goes_with_an_interrupted_run(
    folder: Path, pages: list[bytes]
) -> None:
    Path("in/a.pdf").write_bytes(pages[0])
    ending, over = run_with(convert_file, engine=Halted())
    assert (ending.interrupted, over) == (True, [])
    assert set(outputs()) == {JOURNAL}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory so")
def test_a_page_that_eats_memory_costs_itself(folder: Path, pages: list[bytes]) -> None:
    Path("in/a.pdf").write_bytes(pages[0])
    Path("in/hungry.pdf").write_bytes(many(pages))
    run_with(hungry)
    found = {(row["source"], row["page"]): row for row in rows()}
    assert found["a.pdf", 1]["status"] == "done"
    states = [found["hungry.pdf", page]["reason"] for page in (1, 2, 3)]
    assert states == ["", "memory-exceeded", ""]
    assert found["hungry.pdf", 2]["attempts"] == 2
    assert found["hungry.pdf", 2]["message"].endswith("[memory-exceeded]")


def hungry(task: FileTask) -> FileResult:
    """Meets a second page of 700 MB."""
    import numpy as np

    from ecgvision import conversion

    real = conversion.page_ink

    def eats(page: Any, *rest: Any) -> Any:
        if page.number == 2:
            np.ones(700 * MB // 8)
        return real(page, *rest)

    conversion.page_ink = eats
    try:
        return convert_file(task)
    finally:
        conversion.page_ink = real


# --- pseudonyms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "1"])
def test_pseudonyms_hide_every_name(folder: Path, pages: list[bytes], workers: str) -> None:
    home = Path("in/Klinik Nord")
    home.mkdir()
    (home / "Meier_Anna.pdf").write_bytes(many(pages[:2]))
    (home / "Schulz.pdf").write_bytes(b"")
    (home / "Kunze.pdf").write_bytes(pages[0][:3000])
    kinds = ["--signals", "wfdb", "--signals", "npz", "--qc"]
    arguments = [*kinds, "--pseudonymise", "key", "--workers", workers]
    done = convert(*arguments)
    assert done.exit_code == 1
    assert done.stdout == "2 pages written, 2 failed\n"
    names = ("klinik", "nord", "meier", "anna", "schulz", "kunze")
    told = [done.output, json.dumps(rows())]
    for path in sorted(Path("out").rglob("*")):
        told.append(str(path.relative_to("out")))
        if path.is_file():
            told.append(path.read_bytes().decode("latin-1"))
    for name in names:
        assert name not in "\n".join(told).lower(), name
    links = Path("key.links.csv").read_text()
    sources = {row["source"] for row in rows()}
    assert len(sources) == 3
    for source in sources:
        assert source in links
    assert "Klinik Nord/Meier_Anna.pdf" in links
    assert len(list(Path("out").rglob("*.hea"))) == 2
    before = outputs()
    again = convert(*arguments)
    assert again.stdout == "0 pages written, 2 failed, 2 kept\n"
    assert outputs() == before
    assert Path("key.links.csv").read_text() == links


# --- what is said -------------------------------------------------------------------------------


def failure(number: int) -> PageRow:
    reason = "file-empty" if number % 3 else "pdf-damaged"
    return PageRow(f"{number}.pdf", reason=reason, message=f"{number}.pdf: no [{reason}]")


def test_many_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(90)
    for number in range(90):
        teller.finished(Path("sub"), [failure(number)], ())
    teller.end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "sub/0.pdf: no [pdf-damaged]"
    assert lines[49] == "sub/49.pdf: no [file-empty]"
    assert lines[50].startswith("further failures are counted only")
    assert lines[51:] == ["60 file-empty", "30 pdf-damaged"]
    assert teller.summary() == "0 pages written, 90 failed"
    assert not teller.is_well


def test_long_runs_tell_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    teller = Teller(1000, lambda: now[0])
    done = PageRow("x.pdf", status="done", page=1)
    for _ in range(100):
        now[0] += 1.0
        teller.finished(Path(), [done, done], ())
    teller.finished(Path(), [failure(1)], ())
    now[0] += 60
    teller.tick()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Converting 60/1000, 2 pages/s, 15 min 40 s left",
        "1.pdf: no [file-empty]",
        "Converting 101/1000, 1.26 pages/s, 23 min 44 s left, 1 failed: 1 file-empty",
    ]


def test_short_runs_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(1)
    teller.kept(2, 1)
    teller.end()
    assert capsys.readouterr().err == ""
    assert teller.summary() == "0 pages written, 0 failed, 3 kept (1 of them refused)"
    assert not teller.is_well
