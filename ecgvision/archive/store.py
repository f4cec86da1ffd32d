"""Where files lie: the file system of this machine, or one that is named by a URL.

A store is chosen once, by `placed`, from what the user named. All else asks the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ecgvision.archive.journal import Journal
from ecgvision.errors import EcgVisionError
from ecgvision.output import (
    TEMPORARY,
    make_folder,
    sync_folder,
    temporary_beside,
    unwritable,
    write_files,
)

LOCK = ".lock"
"""The name of the file, in the output folder, that a run locks. It stays there."""

SPOOL = f"{TEMPORARY}rows"
"""The folder, in the output folder, for rows of files that are not finished."""

_URL = re.compile(r"([a-z][a-z0-9+.\-]+)://(.*)", re.IGNORECASE | re.DOTALL)


class InUseError(EcgVisionError):
    """Another run writes to the same folder."""

    code = "output-in-use"


class State(NamedTuple):
    """What a file is like: it was changed where this is different.

    `mtime_ns` is 0 where a store does not tell; `etag` is the store's own mark, "" for none.
    """

    size_bytes: int
    mtime_ns: int
    etag: str = ""


class Held(Protocol):
    """An output folder that is locked."""

    def check(self) -> None:
        """Raise `OSError` where another run has the folder now."""
        ...


class RunJournal(Protocol):
    """A journal that is open, as `ecgvision.archive.journal.Journal`."""

    def append(self, record: Mapping[str, Any]) -> None: ...

    def sync_if_due(self) -> None: ...

    def sync(self) -> None: ...

    def __enter__(self) -> RunJournal: ...

    def __exit__(self, *error: Any) -> None: ...


class Store(Protocol):
    """A file system. Small, and the same in each process that it travels to.

    Paths are those within the store. What cannot be read or written raises `OSError` unless
    stated otherwise; its text never holds what a URL keeps secret.
    """

    @property
    def url(self) -> str:
        """What stands before all its paths; "" for this machine."""
        ...

    @property
    def copies(self) -> bool:
        """Whether `fetched` gives a copy, which stays as it is."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it lives and ends with this process."""
        ...

    @property
    def secret(self) -> bool:
        """Whether the URL that named it holds a password or token."""
        ...

    def told(self, path: Path) -> str:
        """What messages call the path."""
        ...

    def whole(self, path: Path) -> str:
        """The path with all before it, links as they are."""
        ...

    def real(self, path: Path) -> str:
        """The same for all paths that lead to the same place."""
        ...

    def anywhere(self, path: Path) -> Path:
        """The path for processes that work elsewhere."""
        ...

    def state(self, path: Path) -> State | None:
        """None where there is nothing to be seen."""
        ...

    def has(self, path: Path) -> bool:
        """Whether there is anything of that name; raises `OutputError` where nobody can tell."""
        ...

    def is_folder(self, path: Path) -> bool: ...

    def glance(self, folder: Path) -> Callable[[str | Path], bool]:
        """As `has` for what lies in the folder, for many questions; may not see what comes."""
        ...

    def fetched(self, path: Path) -> AbstractContextManager[Path]:
        """Where the file can be read, on this machine, as long as the context is open."""
        ...

    def read(self, path: Path, most_bytes: int) -> bytes:
        """All bytes of a file; `OSError` for one that has more than that."""
        ...

    def write(self, files: Mapping[Path, bytes], removed: Iterable[Path] = ()) -> None:
        """As `ecgvision.output.write_files`: each whole or not at all; raises `OutputError`."""
        ...

    def replacing(self, path: Path) -> AbstractContextManager[Path]:
        """A name of this machine for a file, which takes the place of `path` at the end."""
        ...

    def remove(self, path: Path) -> None: ...

    def locked(self, folder: Path) -> AbstractContextManager[Held]:
        """Make the folder, and keep other runs out; raises `InUseError`, `OutputError`."""
        ...

    def sweep(self, folder: Path, journal: Path) -> None:
        """Remove what a killed run has left half done, if there is its journal."""
        ...

    def journal(self, path: Path, held: Held) -> RunJournal:
        """The journal, made if need be, for more records."""
        ...

    def journal_text(self, path: Path) -> AbstractContextManager[Path]:
        """Where all of the journal can be read; a name of nothing where there is none."""
        ...

    def end_journal(self, path: Path) -> None:
        """Remove the journal, all of whose rows are in the manifest."""
        ...

    def local_spool(self, folder: Path) -> Path:
        """A folder of this machine, which need not exist, for rows of files in work."""
        ...

    def begin_notes(self, spool: Path) -> None:
        """Make ready for what `note` adds."""
        ...

    def sees(self, folder: Path, spool: Path) -> bool:
        """Whether this process sees the output folder of the run with that spool."""
        ...

    def note(self, spool: Path, number: int, line: str) -> None:
        """Keep the line of a finished page, the `number`th, where it outlives this process."""
        ...

    def noted(self, spool: Path) -> int:
        """A number that grows with each note."""
        ...

    def notes(self, spool: Path) -> list[str]:
        """All lines that were kept; the last may be torn."""
        ...

    def forget(self, spool: Path) -> None:
        """Remove what was kept."""
        ...

    def forget_all(self, spools: Path) -> None:
        """Remove a folder with all that was kept in it."""
        ...


class Place(NamedTuple):
    """A path and the store that it lies in."""

    store: Store
    path: Path

    @property
    def told(self) -> str:
        return self.store.told(self.path)


def placed(given: str | Path) -> Place:
    """The place that a path or a URL names; raises `UsageError` for URLs that cannot be used."""
    url = _URL.fullmatch(given) if isinstance(given, str) else None
    if url is None:
        return Place(LOCAL, Path(given))
    if url[1].lower() in ("file", "local"):
        return Place(LOCAL, Path(url[2]))
    from ecgvision.archive.urls import opened

    store, path = opened(url[1].lower(), url[2])
    return Place(store, path)


def is_url(given: str | Path) -> bool:
    return isinstance(given, str) and _URL.fullmatch(given) is not None


# --- this machine -----------------------------------------------------------------------------


class _Locked:
    """A lock of the system, which nobody can take away."""

    def check(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class LocalStore:
    """The file system of this machine."""

    url = ""
    copies = False
    in_process = False
    secret = False

    def told(self, path: Path) -> str:
        return str(path)

    def whole(self, path: Path) -> str:
        return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100  links stay as they are

    def real(self, path: Path) -> str:
        return os.path.realpath(path)

    def anywhere(self, path: Path) -> Path:
        return Path(os.path.abspath(path))  # noqa: PTH100  links stay as they are

    def state(self, path: Path) -> State | None:
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return State(found.st_size, found.st_mtime_ns)

    def has(self, path: Path) -> bool:
        return os.path.lexists(path)

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def glance(self, folder: Path) -> Callable[[str | Path], bool]:
        return os.path.lexists

    def fetched(self, path: Path) -> AbstractContextManager[Path]:
        return nullcontext(path)

    def read(self, path: Path, most_bytes: int) -> bytes:
        if path.stat().st_size > most_bytes:
            raise OSError(0, "it is too large")
        return path.read_bytes()

    def write(self, files: Mapping[Path, bytes], removed: Iterable[Path] = ()) -> None:
        write_files(files, removed)

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        temporary = temporary_beside(path)
        try:
            yield temporary
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def remove(self, path: Path) -> None:
        path.unlink()

    @contextmanager
    def locked(self, folder: Path) -> Iterator[Held]:
        """The lock ends with the process, however that ends."""
        import filelock

        lock = filelock.FileLock(folder / LOCK, timeout=0)
        try:
            make_folder(folder)
            lock.acquire()
        except filelock.Timeout as error:
            raise InUseError(
                f"another run writes to {folder}; wait for its end, or name another folder with -o"
            ) from error
        except OSError as error:
            raise unwritable(folder, error) from error
        try:
            yield _Locked()
        finally:
            lock.release()

    def sweep(self, folder: Path, journal: Path) -> None:
        if not journal.exists():
            return
        for inside, _, files in os.walk(folder):
            for name in files:
                if name.startswith(TEMPORARY) or Path(inside).name == SPOOL:
                    with suppress(OSError):
                        Path(inside, name).unlink()
        with suppress(OSError):
            (folder / SPOOL).rmdir()

    def journal(self, path: Path, held: Held) -> RunJournal:
        return Journal(path)

    def journal_text(self, path: Path) -> AbstractContextManager[Path]:
        return nullcontext(path)

    def end_journal(self, path: Path) -> None:
        path.unlink()
        sync_folder(path.parent)

    def local_spool(self, folder: Path) -> Path:
        return folder / SPOOL

    def begin_notes(self, spool: Path) -> None:
        spool.parent.mkdir(parents=True, exist_ok=True)
        spool.touch()

    def sees(self, folder: Path, spool: Path) -> bool:
        return spool.is_file()

    def note(self, spool: Path, number: int, line: str) -> None:
        with spool.open("a", encoding="ascii") as file:
            file.write(f"{line}\n")

    def noted(self, spool: Path) -> int:
        # Another machine may write it: only what is opened is up to date.
        try:
            with spool.open("rb") as file:
                return file.seek(0, os.SEEK_END)
        except OSError:
            return 0

    def notes(self, spool: Path) -> list[str]:
        with suppress(OSError):
            return spool.read_text(encoding="ascii", errors="replace").splitlines()
        return []

    def forget(self, spool: Path) -> None:
        with suppress(OSError):
            spool.unlink()

    def forget_all(self, spools: Path) -> None:
        for left in spools.glob("*"):
            left.unlink(missing_ok=True)
        with suppress(OSError):
            spools.rmdir()


LOCAL = LocalStore()
