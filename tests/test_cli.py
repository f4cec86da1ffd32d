"""The command line: exit codes, what is written where, and what never gets out."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import ecgvision
from ecgvision.cli import main
from ecgvision.errors import UsageError
from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import as_png, draw_page, synthetic_ecg

PATIENT = ("Name: ZYXWVUT, QUENTIN", "ID: 98761234", "17-Mar-1931 04:05:06")
SECRETS = ("ZYXWVUT", "QUENTIN", "98761234", "1931", "04:05:06")


def draw(name: str) -> bytes:
    chosen = load_formats().find(name)
    ecg = synthetic_ecg()
    return draw_page(chosen.layouts[0], chosen.info, ecg, patient_text=PATIENT).pdf


@pytest.fixture(scope="session")
def philips() -> bytes:
    return draw("philips")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    """The command's result; an exception that is not meant to end a command fails the test."""
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


def convert(*arguments: str | Path) -> Result:
    return run("convert", *arguments, "--format", "philips", "-o", "out")


def outputs(folder: Path) -> list[str]:
    """All files below the output folder, also hidden ones: temporary files must be gone.

    Not those that each run leaves there: its manifest and its lock.
    """
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(set(found) - {"manifest.parquet", ".lock"})


def python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


# --- start --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["--help", "--version", "convert --help", "formats --help", "formats check -h"]
)
def test_help_loads_nothing_heavy_and_is_quick(command: str) -> None:
    code = "from ecgvision.cli import main; import sys\n"
    code += f"main({command.split()!r}, standalone_mode=False)\n"
    code += "heavy = {'numpy', 'cv2', 'pymupdf', 'torch', 'PIL', 'scipy', 'skimage', 'pydantic',"
    code += " 'pyarrow', 'pebble', 'multiprocessing'}\n"
    code += "assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)\n"
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        done = python("-c", code)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert min(seconds) < 0.25, seconds


@pytest.mark.parametrize("asked", [None, "2"])
def test_linear_algebra_has_one_thread_unless_told_otherwise(asked: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": asked} if asked else {}
    code = "from ecgvision.cli import main; import os, sys\n"
    code += "main(['formats', 'list'], standalone_mode=False)\n"
    code += "from threadpoolctl import threadpool_info; import numpy\n"
    code += "threads = {one['num_threads'] for one in threadpool_info()"
    code += " if one['internal_api'] == 'openblas'}\n"
    code += "print('found', os.environ['OPENBLAS_NUM_THREADS'], threads <= {1})"
    done = python("-c", code, env=environment)
    assert done.returncode == 0, done.stderr
    found, threads, alone = done.stdout.splitlines()[-1].split()
    assert (found, threads) == ("found", asked or "1")
    assert asked or alone == "True"


def test_module_and_version() -> None:
    done = python("-m", "ecgvision", "--version")
    assert done.stdout.strip() == f"ecgvision, version {ecgvision.__version__}"


@pytest.mark.parametrize("path", [[], ["formats"]], ids=["main", "formats"])
def test_every_option_has_a_sentence_of_help(path: list[str]) -> None:
    group: Any = main
    for name in path:
        group = group.commands[name]
    for command in group.commands.values():
        for option in command.params:
            if option.param_type_name == "option":
                assert option.help, f"{command.name} {option.opts}"
                assert option.help.rstrip("]").rstrip(".") != option.help or "[" in option.help


# --- convert ------------------------------------------------------------------------------------


def test_one_page(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    done = convert("page.pdf")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "1 page written, 0 failed\n"
    assert outputs(folder / "out") == ["page.json", "page.png"]
    summary = json.loads((folder / "out" / "page.json").read_text())
    pixels = cv2.imread("out/page.png", cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint8
    assert list(pixels.shape[::-1]) == summary["image"]["size_px"]
    assert (summary["format"], summary["layout"]) == ("philips-tc30", "3x4+1R")
    (same,) = ecgvision.convert("page.pdf", format="philips")
    assert np.array_equal(same.image.pixels, pixels)
    assert same.summary() == summary


def test_options_reach_the_picture(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    size = ["--px-per-mm", "4", "--lead-seconds", "2", "--lead-height", "20"]
    assert convert("page.pdf", *size).exit_code == 0
    assert cv2.imread("out/page.png", cv2.IMREAD_UNCHANGED).shape == (6 * 80, 2 * 200)
    other = convert("page.pdf", "--style", "published")
    assert other.exit_code == 1
    assert "was not converted with other options" in other.stderr
    assert other.stderr.endswith("[output-exists]\n")
    assert convert("page.pdf", "--style", "published", "--force").exit_code == 0
    assert cv2.imread("out/page.png", cv2.IMREAD_UNCHANGED).shape == (2100, 1402)


def hostile(folder: Path, good: bytes) -> None:
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "cut.pdf").write_bytes(good[: len(good) // 3])
    (folder / "web.pdf").write_text("<!DOCTYPE html><html><body>not found</body></html>")
    with pymupdf.open(stream=good, filetype="pdf") as pdf:
        way = pymupdf.PDF_ENCRYPT_AES_256
        pdf.save(folder / "locked.pdf", encryption=way, user_pw="open", owner_pw="sesame")


def test_bad_files_are_named_and_the_good_ones_come_out(folder: Path, philips: bytes) -> None:
    (folder / "in").mkdir()
    for name in ("a good one.pdf", "zuletzt ök.pdf"):
        (folder / "in" / name).write_bytes(philips)
    hostile(folder / "in", philips)
    done = convert("in")
    assert done.exit_code == 1
    assert done.stdout == "2 pages written, 4 failed\n"
    assert outputs(folder / "out") == [
        "a good one.json",
        "a good one.png",
        "zuletzt ök.json",
        "zuletzt ök.png",
    ]
    lines = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    codes = {name: line.rpartition("[")[2].rstrip("]") for name, line in lines.items()}
    assert codes["empty.pdf"] == "file-empty"
    assert codes["web.pdf"] == "file-type-unknown"
    assert codes["locked.pdf"] == "pdf-encrypted"
    assert codes["cut.pdf"] == "pdf-damaged"
    assert len(lines) == 4


def test_a_page_of_another_format_is_refused(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    done = run("convert", "page.pdf", "--format", "ge", "-o", "out")
    assert done.exit_code == 1
    assert done.stderr.startswith("page.pdf page 1: expected a page of ge-mac1200, found ")
    assert done.stderr.endswith("[format-not-found]\n")
    assert outputs(folder / "out") == []


def test_auto_finds_the_format(folder: Path, philips: bytes) -> None:
    (folder / "a.pdf").write_bytes(philips)
    (folder / "b.pdf").write_bytes(draw("edan-se3"))
    done = run("convert", "a.pdf", "b.pdf", "-o", "out")
    assert (done.exit_code, done.stderr) == (0, "")
    formats = [json.loads(Path(f"out/{name}.json").read_text())["format"] for name in "ab"]
    assert formats == ["philips-tc30", "edan-se3"]


def test_only_force_replaces(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    (folder / "out").mkdir()
    (folder / "out" / "page.json").write_text("mine")
    done = convert("page.pdf")
    assert done.exit_code == 1
    assert "[output-exists]" in done.stderr
    assert "--force" in done.stderr
    assert outputs(folder / "out") == ["page.json"]
    assert (folder / "out" / "page.json").read_text() == "mine"
    assert convert("page.pdf", "--force").exit_code == 0
    assert outputs(folder / "out") == ["page.json", "page.png"]
    assert (folder / "out" / "page.json").read_text() != "mine"


def test_two_inputs_never_write_one_output(folder: Path, philips: bytes) -> None:
    (folder / "x.pdf").write_bytes(philips)
    (folder / "x.png").write_bytes(as_png(philips, dpi=150))
    done = convert("x.pdf", "x.png", "--force")
    assert done.exit_code == 1
    assert done.stdout == "1 page written, 1 failed\n"
    assert done.stderr.startswith("x.png: expected outputs named 'x' for this input alone")
    assert done.stderr.endswith(
        "found that x.pdf writes them, too; rename one of them, or "
        "convert them to different folders [output-clash]\n"
    )
    assert json.loads((folder / "out" / "x.json").read_text())["source"]["name"] == "x.pdf"


def test_a_second_page_clashes_with_a_file_of_its_name(folder: Path, philips: bytes) -> None:
    (folder / "x.pdf").write_bytes(many(philips, 2))
    (folder / "x-p2.pdf").write_bytes(philips)
    done = convert("x.pdf", "x-p2.pdf", "--force")
    assert done.stdout == "2 pages written, 1 failed\n"
    assert done.stderr.startswith("x.pdf page 2: expected x-p2.png for this input alone")
    assert json.loads((folder / "out" / "x-p2.json").read_text())["source"]["name"] == "x-p2.pdf"


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
def test_an_input_is_never_replaced(folder: Path, philips: bytes, force: list[str]) -> None:
    scan = as_png(philips, dpi=150)
    (folder / "out").mkdir()
    (folder / "out" / "x.png").write_bytes(scan)
    done = convert("out/x.png", *force)
    assert done.exit_code == 1
    assert "[output-is-input]" in done.stderr
    assert (folder / "out" / "x.png").read_bytes() == scan


def many(page: bytes, count: int) -> bytes:
    with pymupdf.open(stream=page, filetype="pdf") as one, pymupdf.open() as pdf:
        for _ in range(count):
            pdf.insert_pdf(one)
        return bytes(pdf.tobytes())


def test_further_pages_are_numbered(folder: Path, philips: bytes) -> None:
    (folder / "x.pdf").write_bytes(many(philips, 3))
    assert convert("x.pdf").exit_code == 0
    assert [name for name in outputs(folder / "out") if name.endswith(".png")] == [
        "x-p2.png",
        "x-p3.png",
        "x.png",
    ]
    source = json.loads((folder / "out" / "x-p2.json").read_text())["source"]
    assert (source["page"], source["pages"]) == (2, 3)
    (folder / "out" / "x-p2.png").unlink()
    (folder / "out" / "x-p2.json").unlink()
    fresh = convert("x.pdf", "--no-resume")
    assert (fresh.exit_code, fresh.stdout) == (1, "0 pages written, 1 failed\n")
    assert fresh.stderr.endswith("[output-exists]\n")
    assert convert("x.pdf").stdout == "3 pages written, 0 failed\n"
    again = convert("x.pdf")
    assert (again.exit_code, again.stdout) == (0, "0 pages written, 0 failed, 3 kept\n")


def test_a_page_that_is_refused_costs_only_itself(folder: Path, philips: bytes) -> None:
    with pymupdf.open(stream=many(philips, 2), filetype="pdf") as pdf:
        pdf.new_page(pno=1, width=792, height=612)
        pdf.save(folder / "x.pdf")
    done = convert("x.pdf")
    assert done.stdout == "2 pages written, 1 failed\n"
    assert done.stderr.startswith("x.pdf page 2: ")
    assert outputs(folder / "out") == ["x-p3.json", "x-p3.png", "x.json", "x.png"]


def test_folders_keep_their_structure(folder: Path, philips: bytes) -> None:
    for name in ("in/x.pdf", "in/2019/x.pdf", "in/2019/may/x.pdf"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_bytes(philips)
    Path("in/2019/bad.pdf").write_bytes(b"")
    done = convert("in")
    assert done.stdout == "3 pages written, 1 failed\n"
    assert done.stderr.startswith(f"2019{os.sep}bad.pdf: ")
    pngs = [name for name in outputs(folder / "out") if name.endswith(".png")]
    assert pngs == ["2019/may/x.png", "2019/x.png", "x.png"]
    assert run("convert", "in/*/x.pdf", "--format", "philips", "-o", "out2").exit_code == 0
    assert outputs(folder / "out2") == ["2019/x.json", "2019/x.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems forbid such names")
@pytest.mark.parametrize(
    "stem",
    ["two words", "ÖÄ 心電圖", "a\nb \x1b[31mred", "\udcff\udcfe", "-o", "100%"],
    ids=["space", "unicode", "newline", "undecodable", "dash", "percent"],
)
def test_odd_names(folder: Path, philips: bytes, stem: str) -> None:
    (folder / "in").mkdir()
    (folder / "in" / f"{stem}.pdf").write_bytes(philips)
    (folder / "in" / f"{stem}bad.pdf").write_bytes(b"")
    done = convert("in")
    assert done.stdout == "1 page written, 1 failed\n"
    assert outputs(folder / "out") == [f"{stem}.json", f"{stem}.png"]
    summary = json.loads((folder / "out" / f"{stem}.json").read_text(encoding="utf-8"))
    assert summary["source"]["name"] == f"{stem}.pdf"
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()
    done.stderr.encode()


@pytest.mark.parametrize("kind", ["vector", "image"])
@pytest.mark.parametrize("name", ["philips", "ge"])
def test_nothing_of_the_header_gets_out(folder: Path, name: str, kind: str) -> None:
    page = draw(name)
    with pymupdf.open(stream=page, filetype="pdf") as pdf:
        pdf.set_metadata({"title": PATIENT[0], "author": PATIENT[1], "subject": PATIENT[2]})
        page = pdf.tobytes()
    ending = "pdf" if kind == "vector" else "png"
    (folder / f"x.{ending}").write_bytes(page if kind == "vector" else as_png(page, dpi=200))
    done = [run("convert", f"x.{ending}", "--format", name, "-o", "out")]
    assert done[0].exit_code == 0, done[0].stderr
    other = "edan-se3"
    done.append(run("convert", f"x.{ending}", "--format", other, "-o", "out-other"))
    assert done[1].exit_code == 1
    said = "".join(one.stdout + one.stderr for one in done)
    written = b"".join(path.read_bytes() for path in Path("out").iterdir())
    for secret in SECRETS:
        assert secret.lower() not in said.lower()
        assert secret.encode() not in written
    picture = cv2.imread("out/x.png", cv2.IMREAD_UNCHANGED)
    plain = draw_page(*_layout_and_info(name), synthetic_ecg(), patient_text=()).pdf
    (folder / f"plain.{ending}").write_bytes(plain if kind == "vector" else as_png(plain, dpi=200))
    assert run("convert", f"plain.{ending}", "--format", name, "-o", "out").exit_code == 0
    assert np.array_equal(picture, cv2.imread("out/plain.png", cv2.IMREAD_UNCHANGED))


def _layout_and_info(name: str) -> tuple[Any, Any]:
    chosen = load_formats().find(name)
    return chosen.layouts[0], chosen.info


def test_a_full_disk_leaves_no_parts(
    folder: Path, philips: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (folder / f"{name}.pdf").write_bytes(philips)
    real = os.fsync

    def full(descriptor: int) -> None:
        if Path("out").is_dir() and any(Path("out").glob(".ecgvision-*.tmp")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        done = convert("a.pdf", "b.pdf", "--workers", "0")
    assert done.exit_code == 1
    assert done.stdout == "0 pages written, 1 failed\n"
    assert "No space left" in done.stderr
    assert done.stderr.endswith(
        "[output-unwritable]; 1 of 2 files are left; the same command goes on where this one "
        "stopped\n"
    )
    assert outputs(folder / "out") == ["manifest.journal"]
    assert convert("a.pdf", "b.pdf", "--workers", "0").stdout == "2 pages written, 0 failed\n"
    assert outputs(folder / "out") == ["a.json", "a.png", "b.json", "b.png"]


def test_an_output_folder_that_cannot_be_made(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    (folder / "file").write_text("")
    below = run("convert", "page.pdf", "-o", "file/out")
    assert below.exit_code == 1
    assert below.stderr.endswith("[output-unwritable]\n")
    assert run("convert", "page.pdf", "-o", "file").exit_code == 2


def test_a_bug_costs_one_file_and_tells_nothing_of_the_page(
    folder: Path, philips: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ecgvision.conversion

    for name in "ab":
        (folder / f"{name}.pdf").write_bytes(philips)
    real = ecgvision.conversion.normalise_page

    def buggy(page: Any, *rest: Any) -> Any:
        if page.source.name == "a.pdf":
            raise KeyError(PATIENT[0])
        return real(page, *rest)

    monkeypatch.setattr(ecgvision.conversion, "normalise_page", buggy)
    done = convert("a.pdf", "b.pdf", "--workers", "0")
    assert done.exit_code == 1
    assert done.stdout == "1 page written, 1 failed\n"
    assert "a.pdf page 1: " in done.stderr
    assert "found KeyError in test_cli.py line " in done.stderr
    assert done.stderr.endswith("[internal]\n")
    assert "ZYXWVUT" not in done.stderr
    assert "Traceback" in convert("a.pdf", "--debug").stderr


WRONG: dict[str, tuple[list[str], str]] = {
    "no such format": (["--format", "philip"], "did you mean 'philips'"),
    "layout without custom": (["--layout", "a.toml"], "--layout goes with --format custom"),
    "custom without layout": (["--format", "custom"], "needs a layout file"),
    "no such layout": (["--format", "custom", "--layout", "none.toml"], "none.toml"),
    "no scale": (["--px-per-mm", "0"], "--px-per-mm must be a positive number"),
    "negative": (["--lead-height", "-3"], "--lead-height must be a positive number"),
    "not a number": (["--lead-seconds", "nan"], "--lead-seconds must be a positive number"),
    "endless": (["--px-per-mm", "inf"], "--px-per-mm must be a positive number"),
    "absurd": (["--px-per-mm", "300"], "megapixels, over 400"),
    "tiny": (["--px-per-mm", "0.1"], "pixels, under 8"),
    "beats": (["--beats", "5"], "5 is not in the range"),
    "no effect": (["--style", "published", "--beats", "3"], "--beats needs --style canonical"),
    "renderer": (["--renderer", "paint"], "'paint' is not one of"),
    "no such path": (["missing.pdf"], "'missing.pdf' does not exist"),
    "no match": (["*.tiff"], "no reports in '*.tiff'"),
    "no list": (["--list", "none.csv"], "'none.csv' does not exist"),
    "a list of another kind": (["--list", "page.pdf"], "must end in .csv or .parquet"),
    "no workers": (["--workers", "-1"], "-1 is not in the range"),
    "no time": (["--timeout", "0"], "0.0 is not in the range"),
    "no memory": (["--memory", "0"], "0.0 is not in the range"),
    "limits of nothing": (
        ["--workers", "0", "--timeout", "5"],
        "--timeout needs --workers 1 or more",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_commands_exit_with_2(folder: Path, philips: bytes, case: str) -> None:
    (folder / "page.pdf").write_bytes(philips)
    arguments, message = WRONG[case]
    done = run("convert", "page.pdf", "-o", "out", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize("arguments", [["page.pdf"], ["-o", "out"], []])
def test_convert_needs_input_and_output(folder: Path, arguments: list[str]) -> None:
    assert run("convert", *arguments).exit_code == 2


def test_broken_plugins_are_named_and_the_rest_works(
    folder: Path, philips: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ecgvision.plugins

    def broken() -> None:
        raise ImportError("no module\nnamed acme")

    real = ecgvision.plugins.entry_points
    bad = SimpleNamespace(name="acme", load=broken)
    monkeypatch.setattr(ecgvision.plugins, "entry_points", lambda group: [*real(group=group), bad])
    (folder / "page.pdf").write_bytes(philips)
    done = convert("page.pdf")
    assert done.exit_code == 0
    named = "acme is broken: ImportError: no module\\nnamed acme"
    assert done.stderr == f"warning: plugin {named}\n"
    listed = run("formats", "list")
    assert listed.exit_code == 0
    assert listed.stdout.splitlines()[-1] == "broken: acme: ImportError: no module\\nnamed acme"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal_and_errors_stay_whole(
    folder: Path, philips: bytes
) -> None:
    import pty

    (folder / "good.pdf").write_bytes(philips)
    (folder / "bad.pdf").write_bytes(b"")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "ecgvision", "convert", "bad.pdf", "good.pdf", "-o", "out"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 1
    assert done.stdout == "1 page written, 1 failed\n"
    assert "Converting" in shown
    assert "2/2" in shown
    assert "\r\x1b[2Kbad.pdf: " in shown


# --- inspect, sample, formats -------------------------------------------------------------------


def test_inspect(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(many(philips, 2))
    done = run("inspect", "page.pdf")
    assert done.exit_code == 0
    assert "QUENTIN" in done.stdout  # it prints the page's words; that is what it is for
    assert "QUENTIN" not in run("inspect", "page.pdf", "--no-texts").stdout
    pages = json.loads(run("inspect", "page.pdf", "--json").stdout)
    assert len(pages) == 2
    assert all(isinstance(page, dict) for page in pages)
    assert "QUENTIN" not in run("inspect", "page.pdf", "--json", "--no-texts").stdout
    gone = run("inspect", "gone.pdf")
    assert gone.exit_code == 1
    assert gone.stderr.endswith("[file-missing]\n")


def sample(*arguments: str) -> Result:
    return run("sample", "--format", "philips", *arguments)


def test_sample_draws_the_same_page_for_the_same_seed(folder: Path) -> None:
    for name, seed in (("a.pdf", "1"), ("b.pdf", "1"), ("c.pdf", "2")):
        assert sample("-o", name, "--seed", seed).exit_code == 0
    a, b, c = (pixels_of(name) for name in ("a.pdf", "b.pdf", "c.pdf"))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def pixels_of(name: str) -> Any:
    with ecgvision.open_report(name) as report:
        return report.page(1).pixels(3.0)


@pytest.mark.parametrize(
    ("name", "options", "origin"),
    [
        ("page.pdf", [], "vector"),
        ("page.pdf", ["--scan"], "scan"),
        ("page.png", [], "image"),
        ("page.PNG", ["--png", "--scan"], "image"),
    ],
)
def test_samples_are_of_their_kind(
    folder: Path, name: str, options: list[str], origin: str
) -> None:
    done = sample("-o", name, *options)
    assert (done.exit_code, done.stderr) == (0, "")
    with ecgvision.open_report(name) as report:
        page = report.page(1)
    assert page.origin == origin
    assert page.size_mm == pytest.approx((279.4, 215.9), abs=0.3)
    if origin != "vector":
        assert page.px_per_mm == pytest.approx((200 if "--scan" in options else 300) / 25.4, 0.01)


def test_sample_of_one_layout(folder: Path) -> None:
    names = [layout.name for layout in load_formats().find("edan-se3").layouts]
    for name in names:
        done = run("sample", "--format", "edan-se3", "--layout-name", name, "-o", f"{name}.pdf")
        assert done.exit_code == 0
        assert f"layout {name}" in done.stdout
    wrong = run("sample", "--format", "edan-se3", "--layout-name", "9x9", "-o", "x.pdf")
    assert wrong.exit_code == 2
    assert names[0] in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "page.txt"], "must end in .pdf or .png"),
        (["-o", "page.pdf", "--png"], "ends in .png"),
        (["-o", "page.pdf", "--heart-rate", "0"], "20 to 250"),
        (["-o", "page.pdf", "--heart-rate", "nan"], "20 to 250"),
        (["-o", "page.pdf", "--seed", "-1"], "seed"),
        (["-o", "folder.pdf"], "is a folder"),
    ],
)
def test_wrong_samples(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "folder.pdf").mkdir()
    done = sample(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert outputs(folder) == []


def test_sample_replaces_only_with_force(folder: Path) -> None:
    (folder / "page.pdf").write_text("mine")
    done = sample("-o", "page.pdf")
    assert done.exit_code == 1
    assert "[output-exists]" in done.stderr
    assert (folder / "page.pdf").read_text() == "mine"
    assert sample("-o", "page.pdf", "--force").exit_code == 0


def test_list_and_show(folder: Path) -> None:
    listed = run("formats", "list")
    assert listed.exit_code == 0
    for chosen in load_formats().formats:
        assert chosen.info.id in listed.stdout
        shown = run("formats", "show", chosen.info.id)
        assert shown.exit_code == 0
        assert chosen.info.source in shown.stdout
        for layout in chosen.layouts:
            assert f"layout {layout.name}\n" in shown.stdout
        assert shown.stdout.count("V6  ") >= len(chosen.layouts)
    unknown = run("formats", "show", "philps")
    assert unknown.exit_code == 2
    assert "did you mean 'philips'" in unknown.stderr


ORANGE, GREEN, RED = (235, 120, 0), (0, 130, 60), (210, 0, 60)


def colours(path: str) -> Callable[[tuple[int, int, int]], int]:
    pixels = cv2.imread(path)[:, :, ::-1]
    return lambda rgb: int((pixels == rgb).all(axis=2).sum())


def test_check_draws_the_boxes(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(many(philips, 2))
    done = run("formats", "check", "philips", "page.pdf", "-o", "check.png", "--page", "2")
    assert (done.exit_code, done.stderr) == (0, "")
    count = colours("check.png")
    assert count(GREEN) > 5000
    assert count(RED) > 1000
    assert count(ORANGE) == 0
    assert run("formats", "check", "philips", "page.pdf", "-o", "check.png").exit_code == 0


@pytest.mark.parametrize("kind", ["vector", "image", "blank", "no size"])
def test_check_of_a_refused_page_shows_what_was_declared(
    folder: Path, philips: bytes, kind: str
) -> None:
    name = "page.pdf" if kind == "vector" else "page.png"
    if kind == "vector":
        (folder / name).write_bytes(philips)
    elif kind == "blank":
        cv2.imwrite(name, np.full((900, 1200), 255, np.uint8))
    else:
        (folder / name).write_bytes(as_png(philips, dpi=150, with_dpi=kind == "image"))
    done = run("formats", "check", "ge", name, "-o", "check.png")
    assert done.exit_code == 1
    assert done.stderr.endswith("[format-not-found]\n")
    count = colours("check.png")
    assert count(ORANGE) > 5000
    assert count(GREEN) == 0


def test_check_never_replaces_the_page(folder: Path, philips: bytes) -> None:
    (folder / "page.png").write_bytes(as_png(philips, dpi=100))
    for arguments in (["page.png", "-o", "page.png"], ["page.png", "-o", "page.jpg"]):
        assert run("formats", "check", "philips", *arguments).exit_code == 2
    assert run("formats", "check", "auto", "page.png", "-o", "c.png").exit_code == 2
    missing = run("formats", "check", "philips", "page.png", "-o", "c.png", "--page", "2")
    assert missing.exit_code == 1
    assert missing.stderr.endswith("[page-missing]\n")


def test_new_writes_a_package(folder: Path) -> None:
    done = run("formats", "new", "acme-duo", "-o", "here")
    assert done.exit_code == 0
    assert "pip install -e 'here/ecgvision-acme-duo[test]'" in done.stdout
    assert (folder / "here" / "ecgvision-acme-duo" / "pyproject.toml").exists()
    assert run("formats", "new", "acme-duo", "-o", "here").exit_code == 2
    assert run("formats", "new", "philips").exit_code == 2


def test_propose_then_convert(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    done = run("formats", "propose", "page.pdf", "-o", "acme.toml")
    assert done.exit_code == 0, done.output
    assert "found: " in done.stdout
    assert not any(secret in done.stdout + Path("acme.toml").read_text() for secret in SECRETS)
    custom = ["--format", "custom", "--layout", "acme.toml"]
    made = run("convert", "page.pdf", *custom, "-o", "out")
    assert made.exit_code == 0, made.stderr
    seen = run("formats", "check", "custom", "page.pdf", "--layout", "acme.toml", "-o", "c.png")
    assert seen.exit_code == 0
    again = run("formats", "propose", "page.pdf", "-o", "acme.toml")
    assert again.exit_code == 1
    assert "[output-exists]" in again.stderr
    assert run("formats", "propose", "page.pdf", "-o", "acme.toml", "--force").exit_code == 0
    assert run("formats", "propose", "page.pdf", "-o", "page.pdf", "--force").exit_code == 2


def test_propose_that_finds_nothing_writes_nothing(folder: Path) -> None:
    cv2.imwrite("blank.png", np.full((900, 1200), 255, np.uint8))
    done = run("formats", "propose", "blank.png", "-o", "acme.toml")
    assert done.exit_code == 1
    assert "not found: " in done.stdout
    assert outputs(folder) == ["blank.png"]


def test_a_layout_file_that_is_wrong_is_a_wrong_command(folder: Path, philips: bytes) -> None:
    (folder / "page.pdf").write_bytes(philips)
    (folder / "bad.toml").write_text("this is = not [ toml")
    custom = ["--format", "custom", "--layout", "bad.toml"]
    done = run("convert", "page.pdf", *custom, "-o", "out")
    assert done.exit_code == 2
    assert "bad.toml" in done.stderr


def test_errors_of_the_library_are_those_of_the_command() -> None:
    with pytest.raises(UsageError, match="did you mean 'philips'"):
        ecgvision.convert("page.pdf", format="philip")
