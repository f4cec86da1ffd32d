"""What outputs are called, and that they appear whole or not at all."""

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

from ecgvision.errors import EcgVisionError
from ecgvision.output import OutputError, output_names, write_files, write_json, write_png


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


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


def test_files_and_their_new_folders_outlive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not tell which file a descriptor is")
    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "new" / "deep"
    write_files({folder / "a.json": b"1", folder / "a.png": b"2"})
    assert synced[:2] == [tmp_path, tmp_path / "new"]
    assert [path.parent for path in synced[2:4]] == [folder, folder]
    assert all(path.name.endswith(".tmp") for path in synced[2:4])
    assert synced[4:] == [folder]


@pytest.mark.parametrize(
    ("code", "full"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EACCES, False)]
)
def test_an_error_that_the_next_file_would_meet_too_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, full: bool
) -> None:
    def failing(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OutputError) as caught:
        write_files({tmp_path / "a.json": b"1"})
    assert caught.value.full is full
    assert list(tmp_path.iterdir()) == []
