"""A store that a URL names, by way of fsspec: object stores, SFTP, memory and many others."""

from __future__ import annotations

import errno
import glob
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from ecgvision.archive.private import private_file
from ecgvision.archive.rows import escaped
from ecgvision.archive.store import LOCK, Held, RunJournal, State
from ecgvision.archive.urlanswers import plain_error, state_of
from ecgvision.output import TEMPORARY, OutputError, temporary_beside

WEB = ("http", "https")
# Stores in which an object appears whole when all of it has arrived.
_WHOLE = frozenset("memory s3 s3a gs gcs abfs abfss az oss oci obs cos tos".split())  # noqa: SIM905
# Larger files are fetched in parts, and refused beyond the second number.
_AT_ONCE, _MOST_BYTES = 64 << 20, 4 << 30
_PART = 1 << 20
# What the next file would meet as well: no bucket, no rights, no way there, no room.
_LASTING = (
    errno.ENOENT,
    errno.EACCES,
    errno.EHOSTUNREACH,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
)
# Small files are read by so many threads.
_READERS = 16
# Stands before parts of an object's name that no path can have. No name has it by itself.
_ODD = "\udc80"


def is_odd(part: str) -> bool:
    """Whether it cannot be a part of a path."""
    return part in ("", ".", "..")


@dataclass(frozen=True, slots=True)
class UrlStore:
    """All that lies behind the beginning of a URL.

    `label` is that beginning without secrets, `lead` and `tail` what fsspec needs around a path,
    `options` what it needs besides.
    """

    scheme: str
    label: str
    lead: str = field(repr=False)
    tail: str = field(default="", repr=False)
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    secret: bool = False

    copies = True

    @property
    def url(self) -> str:
        return self.label

    @property
    def in_process(self) -> bool:
        return self.scheme == "memory"

    def told(self, path: Path) -> str:
        return self.whole(path)

    def whole(self, path: Path) -> str:
        return f"{self.label}{'' if path == Path() else path.as_posix()}"

    def real(self, path: Path) -> str:
        return self.whole(path)

    def anywhere(self, path: Path) -> Path:
        return path

    # --- what is there ------------------------------------------------------------------------

    def state(self, path: Path) -> State | None:
        with suppress(OSError), self._asked() as fs:
            return state_of(fs.info(self._key(path)))
        return None

    def kind(self, path: Path) -> tuple[str, State]:
        """Whether it is a "file" or a "directory", and its state; raises `OSError`."""
        with self._asked() as fs:
            found = fs.info(self._key(path))
            return str(found.get("type")), state_of(found)

    def has(self, path: Path) -> bool:
        try:
            self.kind(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable("look at", path, error) from None
        return True

    def is_folder(self, path: Path) -> bool:
        try:
            return self.kind(path)[0] == "directory"
        except FileNotFoundError:
            return False

    def glance(self, folder: Path) -> Callable[[str | Path], bool]:
        names = {path.as_posix() for path, _ in self.tree(folder)}
        return lambda path: escaped(Path(path).as_posix()) in names

    def tree(self, folder: Path) -> Iterator[tuple[Path, State | None]]:
        """All files below a folder; a folder below it that cannot be listed comes without a state.

        Nothing where there is no such folder. Raises `OSError` where it cannot be listed.
        """
        if self.scheme in _WHOLE:
            with self._asked() as fs:
                found = fs.find(self._key(folder), detail=True)
            for key in sorted(found):
                if not key.endswith("/") and found[key].get("type") != "directory":
                    yield self._path(key), state_of(found[key])
            return
        with suppress(FileNotFoundError):
            yield from self._below(folder)

    def _below(self, folder: Path) -> Iterator[tuple[Path, State | None]]:
        with self._asked() as fs:
            entries = sorted(fs.ls(self._key(folder), detail=True), key=lambda one: one["name"])
        for entry in entries:
            path = self._path(entry["name"])
            if entry.get("type") != "directory":
                yield path, state_of(entry)
            elif folder in path.parents:
                try:
                    yield from self._below(path)
                except OSError:
                    yield path, None

    def matches(self, pattern: Path) -> Iterator[tuple[Path, bool, State]]:
        """What fits a pattern in order, and whether it is a folder; raises `OSError`."""
        with self._asked() as fs:
            found = fs.glob(self._key(pattern), detail=True)
        for key in sorted(found):
            yield self._path(key), found[key].get("type") == "directory", state_of(found[key])

    # --- reading ------------------------------------------------------------------------------

    @contextmanager
    def fetched(self, path: Path) -> Iterator[Path]:
        with private_file() as (file, here):
            self._fetch(path, file)
            yield here

    def _fetch(self, path: Path, file: BinaryIO) -> None:
        if any(part.startswith(_ODD) for part in path.parts):
            raise OSError(errno.EINVAL, "its name has a part that is empty, or made of dots only")
        kind, state = self.kind(path)
        if kind == "directory":
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if state.size_bytes > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"it has {state.size_bytes:,} bytes")
        for part in self._parts(path, state.size_bytes):
            if file.tell() + len(part) > _MOST_BYTES:
                raise OSError(errno.EFBIG, f"it has more than {_MOST_BYTES:,} bytes")
            try:
                file.write(part)
                file.flush()
            except OSError as error:
                raise OutputError(
                    f"no room for a copy of a file in {tempfile.gettempdir()} "
                    f"({error.strerror}); make some, or set TMPDIR",
                    full=True,
                ) from error

    def _parts(self, path: Path, size_bytes: int) -> Iterator[bytes]:
        with self._asked() as fs:
            if 0 < size_bytes <= _AT_ONCE:
                # From its start on: otherwise s3fs asks for the size once more.
                span = {} if self.scheme in WEB else {"start": 0}
                yield fs.cat_file(self._key(path), **span)
                return
            with fs.open(self._key(path), "rb") as source:
                while part := source.read(_PART):
                    yield part

    def read(self, path: Path, most_bytes: int) -> bytes:
        with self._asked() as fs:
            data: bytes = fs.cat_file(self._key(path), end=most_bytes + 1)
        if len(data) > most_bytes:
            raise OSError(errno.EFBIG, "it is too large")
        return data

    def read_all(self, paths: Iterable[Path]) -> Iterator[bytes]:
        """All bytes of small files, in order; one that is not there raises `OSError`."""
        with ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(lambda path: self.read(path, _AT_ONCE), paths)

    # --- writing ------------------------------------------------------------------------------

    def write(self, files: Mapping[Path, bytes], removed: Iterable[Path] = ()) -> None:
        """Put the files in the order given; those of a failed call are taken away again."""
        begun: list[Path] = []
        path = Path()
        try:
            for path, data in files.items():
                begun.append(path)
                self.put(path, data)
            for path in removed:
                self.remove(path)
        except OSError as error:
            for one in begun:
                with suppress(OSError):
                    self.remove(one)
            raise self._unusable("write", path, error) from None

    def put(self, path: Path, data: bytes, *, new: bool = False) -> None:
        """Put one file in its place, whole; with `new` only where there is none."""
        try:
            self._put(path, data, new)
        except OSError:
            # Stores, and versions of their libraries, differ in what they say then.
            if new and self.has(path):
                raise FileExistsError(errno.EEXIST, "it is there already") from None
            raise

    def _put(self, path: Path, data: bytes, new: bool) -> None:
        key, whole = self._key(path), self.scheme in _WHOLE
        with self._asked() as fs:
            if not (whole or _renames(fs)):
                raise NotImplementedError
            if not whole:
                fs.makedirs(self._key(path.parent), exist_ok=True)
            if new:
                fs.pipe_file(key, data, mode="create")
                return
            if whole:
                fs.pipe_file(key, data)
                return
            aside = self._key(temporary_beside(path))
            try:
                fs.pipe_file(aside, data)
                fs.mv(aside, key)
            except Exception:
                with suppress(Exception):
                    fs.rm_file(aside)
                raise

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="ecgvision-") as folder:
            here = Path(folder, path.name)
            yield here
            self.put(path, here.read_bytes())

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError), self._asked() as fs:
            fs.rm_file(self._key(path))

    def remove_all(self, paths: Sequence[Path]) -> None:
        keys = [self._key(path) for path in paths]
        if any(map(glob.has_magic, keys)):  # fsspec would take them for patterns
            for path in paths:
                self.remove(path)
        elif keys:
            with suppress(FileNotFoundError), self._asked() as fs:
                fs.rm(keys)

    # --- runs ---------------------------------------------------------------------------------

    def locked(self, folder: Path) -> AbstractContextManager[Held]:
        from ecgvision.archive.lease import leased

        return leased(self, folder)

    def sweep(self, folder: Path, journal: Path) -> None:
        found = [path for path, _ in self.tree(folder)]
        if any(journal in path.parents for path in found):
            inside = len(folder.parts)
            left = [
                path for path in found if any(p.startswith(TEMPORARY) for p in path.parts[inside:])
            ]
            self.remove_all(left)

    def journal(self, path: Path, held: Held) -> RunJournal:
        from ecgvision.archive.segments import SegmentJournal

        return SegmentJournal(self, path, held)

    @contextmanager
    def journal_text(self, path: Path) -> Iterator[Path]:
        from ecgvision.archive.segments import read_segments

        with private_file() as (file, here):
            yield here if read_segments(self, path, file) else here / "none"

    def end_journal(self, path: Path) -> None:
        from ecgvision.archive.segments import end_segments

        end_segments(self, path)

    def local_spool(self, folder: Path) -> Path:
        return Path(tempfile.gettempdir(), f"ecgvision-{secrets.token_hex(6)}")

    def begin_notes(self, spool: Path) -> None:
        pass

    def sees(self, folder: Path, spool: Path) -> bool:
        return _sees(self, folder, spool.parent)

    def note(self, spool: Path, number: int, line: str) -> None:
        self.write({spool / f"{number:06d}": line.encode("ascii")})

    def noted(self, spool: Path) -> int:
        with suppress(OSError):
            return sum(1 for _ in self.tree(spool))
        return 0

    def notes(self, spool: Path) -> list[str]:
        with suppress(OSError):
            found = [path for path, _ in self.tree(spool)]
            return [one.decode("ascii", "replace") for one in self.read_all(found)]
        return []

    def forget(self, spool: Path) -> None:
        with suppress(OSError):
            self.remove_all([path for path, _ in self.tree(spool)])

    forget_all = forget

    # --- fsspec -------------------------------------------------------------------------------

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """The file system; what it raises is told in plain words, as an `OSError`."""
        try:
            import fsspec

            fs = fsspec.filesystem(self.scheme, **dict(self.options))
            with suppress(AttributeError):
                fs.dircache.use_listings_cache = False  # others write there, too
            yield fs
        except (OutputError, GeneratorExit):
            raise
        except Exception as error:
            raise plain_error(error) from None

    def _key(self, path: Path) -> str:
        """What fsspec calls the path."""
        inner = "" if path == Path() else escaped(path.as_posix())
        return f"{self.lead}{inner}{self.tail}"

    def _path(self, key: str) -> Path:
        parts = key.removeprefix(self.lead).removesuffix(self.tail).split("/")
        return Path(*(f"{_ODD}{part}" if is_odd(part) else part for part in parts))

    def _unusable(self, verb: str, path: Path, error: OSError) -> OutputError:
        return OutputError(
            f"cannot {verb} {self.told(path)}: {error.strerror}; check the address, credentials "
            "and rights, or choose another folder with -o",
            full=error.errno in _LASTING,
        )


def _renames(fs: Any) -> bool:
    """Whether it can rename; where it would copy, a file would be seen half."""
    import fsspec

    return type(fs).mv is not fsspec.AbstractFileSystem.mv


@lru_cache(maxsize=16)
def _sees(store: UrlStore, folder: Path, spools: Path) -> bool:
    return store.has(folder / LOCK)
