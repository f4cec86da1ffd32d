"""A second call: what is kept, what is done again, and what is never replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import ecgvision.archive.work as work
from ecgvision.archive.journal import JOURNAL, Journal
from ecgvision.archive.manifest import MANIFEST
from ecgvision.cli import main
from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg

Rows = dict[tuple[str, int], dict[str, Any]]


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    chosen = load_formats().find("philips")
    return [draw_page(chosen.layouts[0], chosen.info, synthetic_ecg(seed=s)).pdf for s in (1, 2)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: list[bytes]) -> Path:
    """A folder to work in, with in/a.pdf and in/2019/b.pdf."""
    monkeypatch.chdir(tmp_path)
    Path("in/2019").mkdir(parents=True)
    Path("in/a.pdf").write_bytes(pages[0])
    Path("in/2019/b.pdf").write_bytes(pages[1])
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened from now on."""
    names: list[str] = []
    real = work.convert_each

    def noted(path: Path, *rest: Any) -> Any:
        names.append(Path(path).name)
        return real(path, *rest)

    monkeypatch.setattr(work, "convert_each", noted)
    return names


def many(parts: list[bytes]) -> bytes:
    with pymupdf.open() as pdf:
        for part in parts:
            with pymupdf.open(stream=part, filetype="pdf") as one:
                pdf.insert_pdf(one)
        return bytes(pdf.tobytes())


def blank(count: int = 1) -> bytes:
    with pymupdf.open() as pdf:
        for _ in range(count):
            pdf.new_page(width=792, height=612)
        return bytes(pdf.tobytes())


def convert(*arguments: str, source: str = "in", name: str = "philips") -> Result:
    command = ["convert", source, "--format", name, "-o", "out", "--workers", "0", *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def rows() -> Rows:
    told = pq.read_table(Path("out", MANIFEST)).to_pylist()
    found = {(row["source"], row["page"]): row for row in told}
    assert len(found) == len(told)
    return found


def outputs() -> dict[str, bytes]:
    found = {p.relative_to("out").as_posix(): p for p in Path("out").rglob("*") if p.is_file()}
    return {n: p.read_bytes() for n, p in found.items() if n not in (MANIFEST, ".lock")}


def said(result: Result) -> tuple[int, str]:
    return result.exit_code, result.stdout.strip()


# --- kept ---------------------------------------------------------------------------------------


def test_a_manifest_says_what_is_there(folder: Path) -> None:
    Path("in/blank.pdf").write_bytes(blank())
    Path("in/bad.pdf").write_bytes(b"")
    assert said(convert("--signals", "npz")) == (1, "2 pages written, 2 failed")
    found = rows()
    assert set(found) == {("a.pdf", 1), ("2019/b.pdf", 1), ("blank.pdf", 1), ("bad.pdf", 0)}
    one = found["2019/b.pdf", 1]
    summary = json.loads(Path("out/2019/b.json").read_text())
    state = Path("in/2019/b.pdf").stat()
    assert one["source_sha256"] == summary["source"]["sha256"]
    assert (one["source_bytes"], one["source_mtime_ns"]) == (state.st_size, state.st_mtime_ns)
    assert (one["status"], one["reason"], one["message"]) == ("done", "", "")
    assert (one["origin"], one["format"], one["layout"]) == ("vector", "philips-tc30", "3x4+1R")
    assert (one["quality"], one["pages"], one["attempts"]) == ("good", 1, 1)
    assert one["speed_mm_per_s"] == pytest.approx(25, rel=1e-3)
    assert one["speed_from"] == summary["scale"]["speed_from"]
    assert one["outputs"] == ["2019/b.json", "2019/b.png", "2019/b.npz"]
    assert set(one["outputs"]) < set(outputs())
    assert json.loads(one["versions"]).keys() == {"ecgvision", "python"}
    blank_row, bad = found["blank.pdf", 1], found["bad.pdf", 0]
    assert (blank_row["status"], blank_row["reason"]) == ("refused", "format-not-found")
    assert blank_row["message"].startswith("blank.pdf page 1: expected ")
    assert (bad["status"], bad["reason"], bad["pages"]) == ("failed", "file-empty", 0)
    assert not Path("out", JOURNAL).exists()


def test_what_is_done_or_refused_is_kept_unopened(folder: Path, opened: list[str]) -> None:
    Path("in/blank.pdf").write_bytes(blank(2))
    assert said(convert()) == (1, "2 pages written, 2 failed")
    first, before = rows(), outputs()
    opened.clear()
    again = convert()
    assert said(again) == (1, "0 pages written, 0 failed, 4 kept (2 of them refused)")
    assert again.stderr == ""
    assert opened == []
    assert (rows(), outputs()) == (first, before)


def test_other_inputs_rows_stay(folder: Path, pages: list[bytes]) -> None:
    assert said(convert()) == (0, "2 pages written, 0 failed")
    Path("in/c.pdf").write_bytes(pages[0])
    assert said(convert()) == (0, "1 page written, 0 failed, 2 kept")
    Path("more").mkdir()
    Path("more/d.pdf").write_bytes(pages[0])
    assert said(convert(source="more")) == (0, "1 page written, 0 failed")
    assert {name for name, _ in rows()} == {"a.pdf", "2019/b.pdf", "c.pdf", "d.pdf"}
    assert said(convert()) == (0, "0 pages written, 0 failed, 3 kept")


def test_a_copy_with_another_time_is_kept_by_its_content(folder: Path, opened: list[str]) -> None:
    convert()
    before = outputs()
    opened.clear()
    os.utime("in/a.pdf", ns=(1, 1))
    assert said(convert()) == (0, "0 pages written, 0 failed, 2 kept")
    assert (opened, outputs()) == ([], before)
    assert not Path("out", JOURNAL).exists()


def test_a_moved_archive_is_known_by_its_content(folder: Path, opened: list[str]) -> None:
    convert()
    opened.clear()
    shutil.copytree("in", "elsewhere")
    assert said(convert(source="elsewhere")) == (0, "0 pages written, 0 failed, 2 kept")
    assert opened == []


def test_another_archive_with_the_same_names_replaces_nothing(
    folder: Path, pages: list[bytes]
) -> None:
    convert()
    before, told = outputs(), rows()
    Path("other").mkdir()
    Path("other/a.pdf").write_bytes(pages[1])
    done = convert(source="other")
    assert said(done) == (1, "0 pages written, 1 failed")
    assert done.stderr.endswith("[output-exists]\n")
    assert (outputs(), rows()) == (before, told)


def test_sources_that_are_gone_stay_done(folder: Path) -> None:
    Path("all.csv").write_text("path\nin/a.pdf\nin/2019/b.pdf\n")
    arguments = ["convert", "--list", "all.csv", "-o", "out", "--workers", "0"]
    assert CliRunner().invoke(main, arguments).stdout == "2 pages written, 0 failed\n"
    Path("in/a.pdf").unlink()
    assert CliRunner().invoke(main, arguments).stdout == "0 pages written, 0 failed, 2 kept\n"
    Path("out/in/a.png").unlink()
    done = CliRunner().invoke(main, arguments)
    assert done.stdout == "0 pages written, 1 failed, 1 kept\n"
    assert done.stderr.endswith("[file-missing]\n")


# --- done again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["out/a.png", "out/a.json", "out/a.npz"])
def test_what_is_missing_is_done_again(folder: Path, opened: list[str], lost: str) -> None:
    convert("--signals", "npz")
    before = outputs()
    opened.clear()
    Path(lost).unlink()
    assert said(convert("--signals", "npz")) == (0, "1 page written, 0 failed, 1 kept")
    assert (opened, outputs()) == (["a.pdf"], before)
    assert len(rows()) == 2


def test_what_failed_is_done_again(folder: Path, pages: list[bytes]) -> None:
    Path("in/c.pdf").write_bytes(b"")
    assert said(convert()) == (1, "2 pages written, 1 failed")
    Path("in/c.pdf").write_bytes(pages[0])
    assert said(convert()) == (0, "1 page written, 0 failed, 2 kept")
    assert set(rows()) == {("a.pdf", 1), ("2019/b.pdf", 1), ("c.pdf", 1)}


def test_what_changed_is_done_again_and_nothing_old_stays(folder: Path, pages: list[bytes]) -> None:
    Path("in/a.pdf").write_bytes(many([pages[0], pages[0], pages[0]]))
    assert said(convert()) == (0, "4 pages written, 0 failed")
    Path("in/a.pdf").write_bytes(many([pages[1], blank()]))
    assert said(convert()) == (1, "1 page written, 1 failed, 1 kept")
    assert set(outputs()) == {"a.json", "a.png", "2019/b.json", "2019/b.png"}
    found = rows()
    assert set(found) == {("a.pdf", 1), ("a.pdf", 2), ("2019/b.pdf", 1)}
    assert found["a.pdf", 2]["status"] == "refused"


def test_a_changed_file_that_cannot_be_read_keeps_what_it_gave(
    folder: Path, pages: list[bytes]
) -> None:
    convert()
    before = outputs()
    Path("in/a.pdf").write_bytes(b"")
    assert said(convert()) == (1, "0 pages written, 1 failed, 1 kept")
    assert outputs() == before
    assert rows()["a.pdf", 0]["reason"] == "file-empty"
    Path("in/a.pdf").write_bytes(pages[1])
    assert said(convert()) == (0, "1 page written, 0 failed, 1 kept")
    assert outputs()["a.png"] == outputs()["2019/b.png"]


def test_refused_files_may_be_tried_with_other_options(folder: Path) -> None:
    assert said(convert(name="ge")) == (1, "0 pages written, 2 failed")
    assert said(convert()) == (0, "2 pages written, 0 failed")
    assert {row["status"] for row in rows().values()} == {"done"}


@pytest.mark.parametrize(
    "options",
    [["--signals", "npz"], ["--px-per-mm", "4"], ["--format", "auto"], ["--renderer", "poppler"]],
)
def test_other_options_are_an_error_and_force_replaces(folder: Path, options: list[str]) -> None:
    convert()
    before, told = outputs(), rows()
    done = convert(*options)
    assert said(done) == (1, "0 pages written, 2 failed")
    assert done.stderr.count("was not converted with other options") == 2
    assert (outputs(), rows()) == (before, told)
    if options[0] != "--renderer":
        assert said(convert(*options, "--force")) == (0, "2 pages written, 0 failed")
        assert {row["options"] for row in rows().values()}.isdisjoint(
            row["options"] for row in told.values()
        )
        assert said(convert(*options)) == (0, "0 pages written, 0 failed, 2 kept")


def test_an_alias_is_no_other_option(folder: Path) -> None:
    convert()
    assert said(convert(name="philips-tc30")) == (0, "0 pages written, 0 failed, 2 kept")


def test_a_changed_layout_file_is_another_option(folder: Path, pages: list[bytes]) -> None:
    shown = CliRunner().invoke(main, ["formats", "propose", "in/a.pdf", "-o", "acme.toml"])
    assert shown.exit_code == 0, shown.output
    custom = ["--layout", "acme.toml"]
    first = convert(*custom, name="custom")
    assert said(convert(*custom, name="custom"))[1].startswith("0 pages written, 0 failed, 2 kept")
    text = Path("acme.toml").read_text()
    Path("acme.toml").write_text(text + "\n# looked at\n")
    again = convert(*custom, name="custom")
    assert first.exit_code == 0, first.output
    assert again.stderr.count("was not converted with other options") == 2


def test_force_does_all_again(folder: Path, opened: list[str]) -> None:
    convert()
    before = outputs()
    opened.clear()
    assert said(convert("--force")) == (0, "2 pages written, 0 failed")
    assert (sorted(opened), outputs()) == (["a.pdf", "b.pdf"], before)
    assert len(rows()) == 2


def test_no_resume_keeps_and_replaces_nothing(folder: Path, opened: list[str]) -> None:
    convert()
    before, told = outputs(), rows()
    opened.clear()
    done = convert("--no-resume")
    assert said(done) == (1, "0 pages written, 2 failed")
    assert done.stderr.count("[output-exists]") == 2
    assert (opened, outputs(), rows()) == ([], before, told)


def test_what_a_killed_run_was_replacing_is_done_again(folder: Path) -> None:
    """Rows of an earlier run do not vouch for outputs that a later one had begun to replace."""
    convert()
    before = outputs()
    with Journal(Path("out", JOURNAL)) as journal:
        journal.append({"kind": "start", "sources": ["a.pdf", "2019/b.pdf"]})
        journal.append({"kind": "same", "source": "2019/b.pdf"})
    Path("out/a.png").write_bytes(b"of other options")
    assert said(convert()) == (0, "1 page written, 0 failed, 1 kept")
    assert outputs() == before


# --- whose outputs ------------------------------------------------------------------------------


def test_outputs_without_a_row_are_not_ours(folder: Path) -> None:
    convert()
    before = outputs()
    Path("out", MANIFEST).unlink()
    done = convert()
    assert said(done) == (1, "0 pages written, 2 failed")
    assert done.stderr.count("[output-exists]") == 2
    assert outputs() == before
    Path("out/a.json").write_bytes(before["a.json"] + b"\n")
    again = convert()  # to have been refused does not make them ours
    assert said(again) == (1, "0 pages written, 2 failed")
    assert outputs()["a.json"] == before["a.json"] + b"\n"


def test_forced_over_another_source_there_is_one_row(folder: Path) -> None:
    convert()
    assert said(convert("--force", source="in/a.pdf")) == (0, "1 page written, 0 failed")
    assert set(rows()) == {("in/a.pdf", 1), ("2019/b.pdf", 1)}


def test_a_list_names_formats(folder: Path, write_muse: Callable[[str], None]) -> None:
    write_muse("in/m.pdf")
    Path("all.csv").write_text("path,format\nin/m.pdf,muse\nin/a.pdf,philips\nin/a.pdf,\n")
    base = ["convert", "-o", "out", "--workers", "0", "--list"]
    done = CliRunner().invoke(main, [*base, "all.csv"])
    assert (done.exit_code, done.stdout) == (0, "2 pages written, 0 failed\n"), done.output
    assert {row["format"] for row in rows().values()} == {"ge-muse", "philips-tc30"}
    assert "in/m.png" in outputs()
    Path("all.csv").write_text("path,format\nin/m.pdf,philip\n")
    wrong = CliRunner().invoke(main, [*base, "all.csv"])
    assert wrong.exit_code == 2
    assert "did you mean 'philips'" in wrong.stderr


@pytest.fixture
def write_muse() -> Callable[[str], None]:
    def write(path: str) -> None:
        chosen = load_formats().find("ge-muse")
        page = draw_page(chosen.layouts[0], chosen.info, synthetic_ecg(seed=3))
        Path(path).write_bytes(page.pdf)

    return write


# --- sources that change under the hand ---------------------------------------------------------


@pytest.mark.parametrize("how", ["grows", "vanishes", "is replaced"])
def test_a_file_that_changes_while_it_is_read_gives_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pages: list[bytes], how: str
) -> None:
    real = work.convert_each

    def changed(path: Path, *rest: Any) -> Any:
        for page in real(path, *rest):
            if path.name == "a.pdf":
                if how == "grows":
                    path.write_bytes(path.read_bytes() + b"\n")
                elif how == "vanishes":
                    path.unlink()
                else:
                    path.write_bytes(pages[1])
            yield page

    with monkeypatch.context() as patched:
        patched.setattr(work, "convert_each", changed)
        done = convert()
    assert said(done) == (1, "1 page written, 1 failed")
    assert done.stderr.endswith("[file-changed]\n")
    assert set(outputs()) == {"2019/b.json", "2019/b.png"}
    Path("in/a.pdf").write_bytes(pages[0])
    assert said(convert()) == (0, "1 page written, 0 failed, 1 kept")


@pytest.mark.skipif(os.name == "nt", reason="needs links and any characters in names")
def test_odd_names_end_in_a_row(folder: Path, pages: list[bytes]) -> None:
    odd = ["new\nline.pdf", os.fsdecode(b"\xff\xfe.pdf"), "x" * 251 + ".pdf", "..pdf", ".pdf.pdf"]
    for name in odd:
        (Path("in") / name).write_bytes(pages[0])
    Path("in/loop.pdf").symlink_to("loop.pdf")
    Path("in/round").symlink_to(".", target_is_directory=True)
    Path("in/gone.pdf").symlink_to("nowhere.pdf")
    done = convert()
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    found = {name: row for (name, _), row in rows().items()}
    assert len(found) == 2 + len(odd) + 2
    assert found["new\nline.pdf"]["status"] == "done"
    assert found["\\udcff\\udcfe.pdf"]["outputs"] == ["\\udcff\\udcfe.json", "\\udcff\\udcfe.png"]
    assert found["x" * 251 + ".pdf"]["reason"] == "output-unwritable"
    assert found["gone.pdf"]["reason"] == "file-missing"
    assert found["loop.pdf"]["reason"] == "file-unreadable"
    assert all(line.isprintable() for line in done.stderr.splitlines())
    kept = convert()
    assert said(kept) == (1, "0 pages written, 3 failed, 6 kept")
