"""Whatever a file does, it ends in a reason code: in bounded time and memory, and alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ecgvision.errors import PageError
from ecgvision.media import open_report
from ecgvision.media.filedata import SourceFile
from tests.hostile.case import GOOD, Case, good_pdf, good_png
from tests.hostile.corpus import cases

ROOT = Path(__file__).parents[2]
CASES = cases()
# On a busy machine a child may wait for long; this tells a hang.
HANG_S = 240
MOST_SECONDS = 10.0
MOST_GROWN_BYTES = 1 << 30


def _told(path: Path, pages: int) -> dict[str, Any]:
    """What a process of its own says of the file."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.hostile.child", str(pages)],
        input=os.fsencode(path),
        capture_output=True,
        cwd=ROOT,
        timeout=HANG_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-2000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is compiled once for all files must not count for the first of them."""
    folder = tmp_path_factory.mktemp("good")
    for name, data in (("a.pdf", good_pdf()), ("a.png", good_png())):
        (folder / name).write_bytes(data)
        _told(folder / name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_file_ends_in_its_reason(case: Case, compiled: None, tmp_path: Path) -> None:
    told = _told(case.make(tmp_path), case.pages)
    codes = [result["code"] for result in told["results"]]
    assert codes
    assert set(codes) <= case.codes, told["results"]
    assert told["grown_bytes"] < MOST_GROWN_BYTES
    assert told["seconds"] < MOST_SECONDS
    for result in told["results"]:
        assert "SYNTHETIC" not in result["message"]


def test_a_batch_does_the_rest(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "good.pdf").write_bytes(good_pdf())
    left_out = ("pages-10000", "bomb", "largest", "endless", "name-", "million", "points")
    bad = [
        case
        for case in CASES
        if GOOD not in case.codes and not any(word in case.name for word in left_out)
    ]
    assert len(bad) > 20
    for case in bad:
        case.make(folder)
    for name in (b"two\nlines.pdf", b"caf\xe9 \xff.pdf", b"n" * 246 + b".pdf"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(good_pdf()[:5000])
    done = _convert(folder, out)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    # A folder that is called x.pdf is a folder, and what is no regular file is not looked at.
    _check_good(out / "good")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "good.pdf").write_bytes(good_pdf())
    (tmp_path / "file").write_bytes(b"in the way")
    done = _convert(tmp_path / "good.pdf", tmp_path / "file" / "out")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_bytes() == b"in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_read_only_output(tmp_path: Path) -> None:
    (tmp_path / "good.pdf").write_bytes(good_pdf())
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    done = _convert(tmp_path / "good.pdf", out)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def _convert(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ecgvision", "convert", os.fspath(source), "-o", os.fspath(out)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        timeout=280,
        check=False,
    )


def _check_good(stem: Path) -> None:
    from PIL import Image

    with Image.open(stem.with_suffix(".png")) as image:
        image.load()
        assert image.width > 100
    assert json.loads(stem.with_suffix(".json").read_text())["format"]


# --- files that change while they are read ------------------------------------------------------


class _GrowsWhileRead(type(Path())):
    """This one file grows as soon as it has been read; all others are as ever."""

    def open(self, *args, **options):
        file = super().open(*args, **options)
        return _Reading(file, self)


class _Reading:
    def __init__(self, file, path):
        self._file, self._path = file, path
        self.fileno = file.fileno

    def read(self, count=-1):
        content = self._file.read(count)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND), "wb") as file:
            file.write(b"more")
        return content

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


class _VanishesBeforeReading(type(Path())):
    """This one file is gone when it is opened, after it was looked at."""

    def open(self, *args, **options):
        self.unlink()
        return super().open(*args, **options)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(_GrowsWhileRead, "file-changed"), (_VanishesBeforeReading, "file-missing")],
)
def test_a_file_that_changes_while_it_is_read(kind, code, tmp_path):
    (tmp_path / "a.pdf").write_bytes(good_pdf())
    with pytest.raises(PageError) as caught:
        SourceFile(kind(tmp_path / "a.pdf"))
    assert caught.value.code == code


def test_a_file_that_somebody_keeps_writing_to(tmp_path):
    path, stop = tmp_path / "a.png", threading.Event()
    path.write_bytes(good_png())  # what follows a PNG does not matter

    def write() -> None:
        while not stop.is_set():
            with path.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        codes = {_opened(path) for _ in range(50)}
    finally:
        stop.set()
        writer.join()
    assert codes <= {"file-changed", GOOD}
    assert _opened(path) == GOOD


def _opened(path: Path) -> str:
    try:
        with open_report(path) as report:
            assert report.page(1).reader.native(True).size
    except PageError as error:
        return error.code
    return GOOD


@pytest.mark.parametrize("data", [good_pdf, good_png], ids=["pdf", "png"])
def test_an_open_report_does_not_notice_what_becomes_of_its_file(data, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(data())
    with open_report(path) as report, open_report(path) as same:
        digest = report.sha256
        path.write_bytes(b"%PDF-1.7 something else")
        one = report.page(1)
        path.unlink()
        assert same.sha256 == digest
        other = same.page(1)
        assert len(one.strokes) == len(other.strokes)
        for page in (one, other):
            assert page.reader.native(True).size if page.size_px else page.pixels(4.0).size


def test_poppler_reads_the_file_again_and_so_minds(tmp_path):
    pytest.importorskip("pdf2image")
    path = tmp_path / "a.pdf"
    path.write_bytes(good_pdf())
    try:
        report = open_report(path, renderer="poppler")
    except PageError as error:
        pytest.skip(str(error))
    with report:
        path.write_bytes(good_pdf() + b"\n")
        with pytest.raises(PageError) as caught:
            report.page(1)
    assert caught.value.code == "file-changed"
