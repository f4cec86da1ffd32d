"""The bytes of a file, read once, and the certainty that they are those of one moment."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ecgvision.errors import UnreadableError

HEAD_BYTES = 1024
"""How much of a file tells its kind: the PDF standard lets its header stand anywhere in it."""

# Larger files stay on disk. Only PDFs may be so large: an image would be over all limits.
_IN_MEMORY = 256_000_000


class _State(NamedTuple):
    """What changes when a file is written to or replaced."""

    device: int
    inode: int
    size: int
    modified_ns: int


class SourceFile:
    """A file that is read as it was when it was opened.

    `data` are all its bytes, or None where it is so large that it stays on disk. Raises
    `UnreadableError` where it is no file, cannot be read, is empty, or changes meanwhile.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        try:
            self._refuse_no_file()
            with source.open("rb") as file:
                self._state = _state(os.fstat(file.fileno()))
                most = min(self._state.size, _IN_MEMORY)
                content = file.read(most + 1)  # one more tells a file that grows
                now = _state(os.fstat(file.fileno()))
        except FileNotFoundError as error:
            raise self._refused(
                "file-missing", "a file", "nothing of that name", "check the path"
            ) from error
        except (OSError, ValueError) as error:
            raise self._unreadable(_reason(error)) from error
        if self._state.size <= _IN_MEMORY and len(content) != self._state.size:
            raise self._changed()
        if now != self._state:
            raise self._changed()
        if not content:
            raise self._refused(
                "file-empty", "a report", "a file of 0 bytes", "copy or export the file again"
            )
        self.head = content[:HEAD_BYTES]
        self.data = content if self._state.size <= _IN_MEMORY else None

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of what is read, in hex."""
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        try:
            with self.source.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(_reason(error)) from error
        self.check_unchanged()
        return digest

    def check_unchanged(self, page: int | None = None) -> None:
        """Raise `UnreadableError` (file-changed) unless the file on disk is still the same."""
        try:
            now = _state(self.source.stat())
        except OSError as error:
            raise self._changed(page) from error
        if now != self._state:
            raise self._changed(page)

    def whole(self) -> bytes:
        """All bytes; raises `UnreadableError` (file-too-large) where they stayed on disk."""
        if self.data is None:
            raise self._refused(
                "file-too-large",
                f"an image file of at most {_IN_MEMORY / 1e6:.0f} MB",
                f"one of {self._state.size / 1e6:.0f} MB",
                "save it as PNG, or in several files",
            )
        return self.data

    def _refuse_no_file(self) -> None:
        mode = self.source.stat().st_mode
        if stat.S_ISDIR(mode):
            raise self._refused(
                "file-is-directory", "a file", "a folder", "name the file inside it"
            )
        if not stat.S_ISREG(mode):  # a pipe would keep us waiting, a device may never end
            raise self._unreadable("a pipe, socket or device")

    def _changed(self, page: int | None = None) -> UnreadableError:
        return UnreadableError(
            "file-changed",
            self.source,
            page,
            expected="a file that nobody writes to",
            found="one that changed while it was read",
            hint="wait until it is whole",
        )

    def _unreadable(self, found: str) -> UnreadableError:
        return self._refused(
            "file-unreadable",
            "a file that can be read",
            found,
            "check the path and its permissions",
        )

    def _refused(self, code: str, expected: str, found: str, hint: str) -> UnreadableError:
        return UnreadableError(code, self.source, None, expected=expected, found=found, hint=hint)


def _state(found: os.stat_result) -> _State:
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _reason(error: Exception) -> str:
    """The system's own words, which name no path."""
    return getattr(error, "strerror", None) or type(error).__name__
