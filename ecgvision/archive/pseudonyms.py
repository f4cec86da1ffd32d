"""Pseudonyms for files and folders: keyed hashes of their paths, and a table that leads back.

Whoever has the key can work out whether a name belongs to a pseudonym, and whoever has the table
can look it up. Both are kept apart from what is passed on.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import os
import secrets
import stat
import string
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ecgvision.errors import UsageError

try:
    import fcntl
except ImportError:  # no such thing on Windows: there two runs must not share a key at once
    fcntl = None  # type: ignore[assignment]

_KEY_BYTES, _MOST_KEY_BYTES = 32, 4096
# A key of random bytes has more different ones than this, for all that can happen.
_LEAST_DIFFERENT = 12
_NAME_LETTERS = 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_HEAD = ("source", "pseudonym")
# What was linked is on disk after so many links, or so many seconds, at the latest.
_BATCH, _BATCH_S = 256, 1.0
_PURPOSE = b"ecgvision pseudonym 1\0"
_HEX = frozenset(string.hexdigits.encode())


class Pseudonyms:
    """Names made with one key, and the table of links beside it (`<keyfile>.links.csv`).

    Use it as `contextlib.closing` does, or call `close`. Not to be shared between threads.
    """

    def __init__(self, key: bytes, table: Path) -> None:
        """`key` is at least 32 secret bytes; `table` is made by the first link."""
        self._key, self.table = key, table
        self._known: dict[bytes, bytes] | None = None
        self._waiting: list[bytes] = []
        self._written_at = time.monotonic()

    @classmethod
    def load(cls, keyfile: Path) -> Pseudonyms:
        """The pseudonyms of the key in a file, which is made, for its owner only, if need be.

        The file holds 32 bytes or more, or 64 hexadecimal digits or more. Raises `UsageError`
        where it is too short or not random, where others may read it, and where it, or the table
        beside it, cannot be used.
        """
        table = keyfile.with_name(keyfile.name + ".links.csv")
        with _told(keyfile):
            key = _key_of(keyfile, _read_or_made(keyfile))
        return cls(key, table)

    def name(self, relative: PurePosixPath) -> PurePosixPath:
        """A path with each folder, and the file with its ending, replaced by 20 letters.

        The same path always gives the same names; equal names in different folders do not.

        >>> pseudonyms = Pseudonyms(bytes(range(32)), Path("links.csv"))
        >>> pseudonyms.name(PurePosixPath("2019/ward 3.pdf"))
        PurePosixPath('ryox34bcscz7qrl2te2m/6qhtthh6kba4jxpk3xbu')
        """
        parts = [os.fsencode(part) for part in relative.parts]
        return PurePosixPath(*(self._hash(parts[: n + 1]) for n in range(len(parts))))

    def link(self, source: str, pseudonym: str) -> None:
        """Note in the table whose pseudonym it is, once; it is on disk a second later, or at close.

        Raises `UsageError` where the pseudonym is another source's, or the table cannot be used.
        """
        with _told(self.table):
            if self._known is None:
                self._known = _read_links(self.table)
            mark = _mark(source.lstrip("/"))
            known = self._known.setdefault(_mark(pseudonym), b"")
            if known == mark:
                return
            if known:
                raise UsageError(
                    f"two files would have the pseudonym {pseudonym}: {self.table.name} has it "
                    "already for another one; use another key file"
                )
            self._known[_mark(pseudonym)] = mark
            self._waiting.append(_line((source, pseudonym)))
            late = time.monotonic() - self._written_at > _BATCH_S
            if late or len(self._waiting) >= _BATCH:
                self._write()

    def close(self) -> None:
        """Bring all links to disk. Raises `UsageError` where that cannot be done."""
        with _told(self.table):
            self._write()

    def _write(self) -> None:
        if self._waiting:
            with _opened(self.table) as file:
                head = [] if file.seek(0, os.SEEK_END) else [_line(_HEAD)]
                file.write(b"".join([*head, *self._waiting]))
                file.flush()
                os.fsync(file.fileno())
            self._waiting.clear()
        self._written_at = time.monotonic()

    def _hash(self, parts: Sequence[bytes]) -> str:
        digest = hmac.digest(self._key, _PURPOSE + b"/".join(parts), "sha256")
        return base64.b32encode(digest).decode().lower()[:_NAME_LETTERS]


# --- the key ----------------------------------------------------------------------------------


def _read_or_made(keyfile: Path) -> bytes:
    try:
        return _private(keyfile, _MOST_KEY_BYTES)
    except FileNotFoundError:
        pass
    data = secrets.token_hex(_KEY_BYTES).encode() + b"\n"
    with os.fdopen(os.open(keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return data


def _key_of(keyfile: Path, data: bytes) -> bytes:
    digits = data.strip()
    if digits and _HEX.issuperset(digits):
        key = bytes.fromhex(digits.decode()[: len(digits) // 2 * 2])
    else:
        key = data
    if len(key) < _KEY_BYTES or len(set(key)) < _LEAST_DIFFERENT:
        raise UsageError(
            f"the key file {keyfile.name!r} must hold at least {_KEY_BYTES} random bytes, or twice "
            f"as many hexadecimal digits; found {len(key)} bytes, {len(set(key))} of them "
            "different. Name a file that does not exist, and it is made"
        )
    return key


def _private(path: Path, most_bytes: int) -> bytes:
    """What is in a file that only its owner may read; raises `OSError`, `UsageError`."""
    with path.open("rb") as file:
        _check_private(path, os.fstat(file.fileno()))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UsageError(f"{path.name!r} is no key file: it has over {most_bytes} bytes")
    return data


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path.name!r} must be a plain file")
    if os.name == "posix" and found.st_mode & _OTHERS:
        raise UsageError(
            f"{path.name!r} may be used by others than its owner (mode "
            f"{stat.S_IMODE(found.st_mode):03o}); take that from them with chmod 600, and take "
            "another key if they may have read it"
        )


# --- the table --------------------------------------------------------------------------------


@contextmanager
def _opened(table: Path) -> Iterator[BinaryIO]:
    """The table, made if need be, for reading and appending, and for nobody else at that time."""
    descriptor = os.open(table, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        _check_private(table, os.fstat(descriptor))
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _read_links(table: Path) -> dict[bytes, bytes]:
    """All links by their pseudonyms, both as marks; a last line that was cut off is taken away."""
    if not table.exists():
        return {}
    known: dict[bytes, bytes] = {}
    with _opened(table) as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(whole)
                break
            whole += len(line)
            row = next(csv.reader([line.decode("utf-8", "replace")]), [])
            if len(row) == len(_HEAD) and tuple(row) != _HEAD:
                known[_mark(row[1])] = _mark(row[0].lstrip("/"))
    return known


def _line(row: tuple[str, str]) -> bytes:
    """A link as one line of the table, whatever the name holds."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([_plain(value) for value in row])
    return out.getvalue().encode()


def _plain(name: str) -> str:
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )


def _mark(name: str) -> bytes:
    """Stands for a name in little room."""
    return hashlib.blake2b(_plain(name).encode(), digest_size=12).digest()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what the system says of a file into a `UsageError`."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot use {str(path)!r} for pseudonyms: {error.strerror or type(error).__name__}"
        ) from error
