"""Which files are converted, what their outputs are called, and that they appear whole or not."""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ecgvision.errors import EcgVisionError, UsageError
from ecgvision.output import (
    Job,
    OutputError,
    find_jobs,
    output_names,
    write_files,
    write_json,
    write_png,
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*paths: str | Path, out_dir: Path | None = None) -> list[tuple[str, str]]:
    return [(job.source.name, job.relative.as_posix()) for job in find_jobs(paths, out_dir)]


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        body = data[position + 4 : position + 8 + length]
        (crc,) = struct.unpack_from(">I", data, position + 8 + length)
        assert crc == zlib.crc32(body)
        yield body[:4], body[4:]
        position += 12 + length


def test_names_of_pages() -> None:
    first = output_names(Path("in/a.b.pdf"), 1, Path("out"), Path("sub"))
    assert (first.png, first.json) == (Path("out/sub/a.b.png"), Path("out/sub/a.b.json"))
    assert output_names(Path("a.pdf"), 12, Path("out")).png == Path("out/a-p12.png")


def test_a_file_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    put(tmp_path, "report", "b.pdf")
    assert find_jobs([tmp_path / "report"]) == [Job(tmp_path / "report", Path())]


def test_a_folder_gives_all_reports_below_it_in_order(tmp_path: Path) -> None:
    put(tmp_path, "b.PDF", "a.jpeg", "notes.txt", "2/z.tiff", "10/sub/y.bmp", "x.pdf/inside.png")
    assert found(tmp_path) == [
        ("a.jpeg", "."),
        ("b.PDF", "."),
        ("y.bmp", "10/sub"),
        ("z.tiff", "2"),
        ("inside.png", "x.pdf"),
    ]


def test_patterns_keep_the_folders_they_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "in/a/x.pdf", "in/b/x.pdf", "in/b/x.txt", "in/top.pdf", "up.png")
    monkeypatch.chdir(tmp_path)
    assert found("in/*/*") == [("x.pdf", "a"), ("x.pdf", "b")]
    assert found("in/**") == [("x.pdf", "a"), ("x.pdf", "b"), ("top.pdf", ".")]
    assert found("in/[a]") == [("x.pdf", "a")]
    assert found("in/[a]/../../up.png") == [("up.png", ".")]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "scan[1].pdf", "scan1.pdf")
    assert found(tmp_path / "scan[1].pdf") == [("scan[1].pdf", ".")]


def test_the_same_file_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.pdf", "b.pdf")
    monkeypatch.chdir(tmp_path)
    assert found("b.pdf", ".", tmp_path / "a.pdf") == [("b.pdf", "."), ("a.pdf", ".")]


def test_outputs_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.pdf", "out/a.png")
    monkeypatch.chdir(tmp_path)
    assert found(".", out_dir=Path("out")) == [("a.pdf", ".")]
    assert found("**/*.p*", out_dir=Path("out")) == [("a.pdf", ".")]
    with pytest.raises(UsageError, match="cannot take the output"):
        find_jobs(["."], tmp_path)


def test_links_do_not_loop_and_broken_ones_are_not_lost(tmp_path: Path) -> None:
    put(tmp_path, "in/a.pdf")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "gone.pdf").symlink_to(tmp_path / "nowhere.pdf")
    (tmp_path / "in" / "self.pdf").symlink_to(tmp_path / "in" / "self.pdf")
    assert [name for name, _ in found(tmp_path / "in")] == ["a.pdf", "gone.pdf", "self.pdf"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a.pdf")
    os.mkfifo(tmp_path / "pipe.pdf")
    assert found(tmp_path) == [("a.pdf", ".")]
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        find_jobs([tmp_path / "pipe.pdf"])


def test_a_folder_that_cannot_be_listed_is_a_job_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.pdf", "shut/b.pdf")
    scandir = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert found(tmp_path) == [("a.pdf", "."), ("shut", ".")]


@pytest.mark.parametrize(
    ("path", "message"),
    [("none.pdf", "does not exist"), ("empty", "no reports"), ("*.pdf", "no reports")],
)
def test_paths_that_give_nothing(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "empty/readme.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        find_jobs([path])


def test_png_is_grey_and_knows_its_resolution_and_nothing_else(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    write_png(tmp_path / "a.png", pixels, 8.0)
    data = (tmp_path / "a.png").read_bytes()
    parts = list(chunks(data))
    assert {name for name, _ in parts} == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert dict(parts)[b"pHYs"] == struct.pack(">IIB", 8000, 8000, 1)
    assert dict(parts)[b"IHDR"] == struct.pack(">IIBBBBB", 30, 40, 8, 0, 0, 0, 0)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), pixels)


def test_colours_stay_in_order(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :, 0] = 200
    write_png(tmp_path / "red.png", pixels, 8.0)
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 200]


def test_json_is_utf8_and_holds_any_file_name(tmp_path: Path) -> None:
    value = {"name": "Grüße \udcff\n.pdf", "number": 1.5}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Grüße" in text
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "b.json", {"number": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_outputs_get_the_usual_permissions_and_their_folders(tmp_path: Path) -> None:
    put(tmp_path, "plain")
    write_json(tmp_path / "new" / "deep" / "a.json", 1)
    mode = (tmp_path / "new" / "deep" / "a.json").stat().st_mode
    assert mode == (tmp_path / "plain").stat().st_mode


def test_the_longest_name_that_the_file_system_takes(tmp_path: Path) -> None:
    write_json(tmp_path / f"{'a' * 250}.json", 1)
    with pytest.raises(OutputError, match="too long"):
        write_json(tmp_path / f"{'a' * 251}.json", 1)
    assert len(list(tmp_path.iterdir())) == 1


def fail_the_second(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The second call of `os.fsync` or `Path.replace` meets a full disk."""
    home = os if name == "fsync" else Path
    real, calls = getattr(home, name), []

    def failing(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(home, name, failing)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.png")
    fail_the_second(monkeypatch, "fsync")
    with pytest.raises(OutputError, match="No space left") as caught:
        write_files({tmp_path / "a.png": b"new", tmp_path / "a.json": b"new"})
    assert caught.value.code == "output-unwritable"
    assert isinstance(caught.value, EcgVisionError)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"x"


def test_a_failing_rename_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_the_second(monkeypatch, "replace")
    with pytest.raises(OutputError):
        write_files({tmp_path / "a.png": b"new", tmp_path / "a.json": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        write_files({tmp_path / "a.png": b"new", tmp_path / "a.json": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    put(tmp_path, "file")
    with pytest.raises(OutputError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", 1)
