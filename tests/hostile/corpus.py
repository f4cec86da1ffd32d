"""Hostile files, made by code: each with what may come of it, and nothing else may."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile import image_files, page_files, pdf_files
from tests.hostile.case import GOOD, Case, good_pdf


def cases() -> list[Case]:
    found = [*pdf_files.cases(), *page_files.cases(), *image_files.cases()]
    return [*found, *_name_cases(), *_odd_files()]


def _name_cases() -> list[Case]:
    names = {
        "newline": b"two\nlines.pdf",
        "not-utf-8": b"caf\xe9 \xff.pdf",
        "long": b"n" * 246 + b".pdf",
    }
    return [
        Case(f"name-{which}", lambda folder, n=name: _named(folder, n), frozenset([GOOD]))
        for which, name in names.items()
    ]


def _named(folder: Path, name: bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    path.write_bytes(good_pdf())
    return path


def _odd_files() -> list[Case]:
    return [
        Case("directory", _directory, frozenset(["file-is-directory"])),
        Case("symlink-loop", _symlink_loop, frozenset(["file-unreadable"])),
        Case("symlink-to-nothing", _dangling, frozenset(["file-missing"])),
        Case("pipe", _pipe, frozenset(["file-unreadable"])),
        Case("endless-device", lambda _: Path("/dev/zero"), frozenset(["file-unreadable"])),
        Case("name-too-long", lambda f: f / ("n" * 400 + ".pdf"), frozenset(["file-unreadable"])),
        Case("name-with-nul", lambda f: f / "a\0b.pdf", frozenset(["file-unreadable"])),
        Case("under-a-file", _under_a_file, frozenset(["file-unreadable", "file-missing"])),
    ]


def _directory(folder: Path) -> Path:
    path = folder / "x.pdf"
    path.mkdir()
    return path


def _symlink_loop(folder: Path) -> Path:
    one, other = folder / "loop.pdf", folder / "loop2.pdf"
    one.symlink_to(other)
    other.symlink_to(one)
    return one


def _dangling(folder: Path) -> Path:
    path = folder / "dangling.pdf"
    path.symlink_to(folder / "gone.pdf")
    return path


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.pdf"
    os.mkfifo(path)
    return path


def _under_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"x")
    return folder / "file" / "a.pdf"
