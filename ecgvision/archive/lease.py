"""The lock of an output folder behind a URL: an object that is made once, and renewed.

A store has no locks that end with a process. So the object has a time in it, and whoever holds it
renews that while it lives. A lock whose time is over belongs to nobody. The clocks of machines that
share an output folder must agree to half a minute.
"""

from __future__ import annotations

import errno
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecgvision.archive.store import LOCK, InUseError
from ecgvision.archive.urlstore import UrlStore
from ecgvision.output import OutputError

HOLD_S = 120.0
"""So long after it was last renewed a lock is over."""

RENEW_S = 20.0
# Two runs that find a lock which is over may both write theirs: the later one has it.
_SETTLE_S = 1.0
# Without news from the store for so long, another run may soon take the lock.
_MOST_SILENT_S = HOLD_S - 2 * RENEW_S
_MOST_BYTES = 1024


@contextmanager
def leased(store: UrlStore, folder: Path) -> Iterator[Lease]:
    """Hold the lock of the folder; raises `InUseError`, `OutputError`."""
    lease = Lease(store, folder / LOCK)
    try:
        lease.take(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write to {store.told(folder)}: {error.strerror}; check the address, "
            "credentials and rights, or choose another folder with -o",
            full=True,
        ) from None
    try:
        yield lease
    finally:
        lease.end()


class Lease:
    """A lock, which a thread of its own renews as long as it is held."""

    def __init__(self, store: UrlStore, path: Path) -> None:
        self._store, self._path = store, path
        self._token = secrets.token_hex(16)
        self._renewed_s = time.monotonic()
        self._taken_away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_all, daemon=True)

    def take(self, folder: Path) -> None:
        """Raises `InUseError` where another run has it, `OSError` where it cannot be written."""
        try:
            self._store.put(self._path, self._content(), new=True)
        except FileExistsError:
            token, age_s = self._found()
            if token and token != self._token and age_s < HOLD_S:
                raise self._in_use(folder, age_s) from None
            self._store.put(self._path, self._content())
            time.sleep(_SETTLE_S)
        if self._found()[0] != self._token:  # also where a store heeds no "only if new"
            raise self._in_use(folder, 0.0)
        self._thread.start()

    def check(self) -> None:
        """Raise `OSError` where it is lost."""
        if self._taken_away:
            raise OSError(errno.EEXIST, "another run has taken its lock")
        if time.monotonic() - self._renewed_s > _MOST_SILENT_S:
            raise OSError(errno.EIO, f"its lock could not be renewed for {_MOST_SILENT_S:.0f} s")

    def end(self) -> None:
        """Give the lock back, if it is still ours."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):
            if self._found()[0] == self._token:
                self._store.remove(self._path)

    def _content(self) -> bytes:
        told = {"token": self._token, "renewed_at_s": round(time.time(), 3), "holds_s": HOLD_S}
        return json.dumps(told).encode("ascii")

    def _found(self) -> tuple[str, float]:
        """Whose lock is there, "" for nobody's, and its age; raises `OSError`."""
        try:
            told = json.loads(self._store.read(self._path, _MOST_BYTES))
            return str(told["token"]), time.time() - float(told["renewed_at_s"])
        except FileNotFoundError:
            return "", 0.0
        except (ValueError, KeyError, TypeError):  # not of ours
            state = self._store.state(self._path)
            return "?", time.time() - (state.mtime_ns / 1e9 if state else 0.0)

    def _renew_all(self) -> None:
        while not self._over.wait(RENEW_S):
            with suppress(OSError):
                began_s = time.monotonic()
                if self._found()[0] != self._token:
                    self._taken_away = True
                    return
                self._store.put(self._path, self._content())
                self._renewed_s = began_s

    def _in_use(self, folder: Path, age_s: float) -> InUseError:
        return InUseError(
            f"another run writes to {self._store.told(folder)}; it renewed its lock {age_s:.0f} s "
            f"ago. Wait for its end, or name another folder with -o. The lock of a run that was "
            f"killed ends {HOLD_S:.0f} s after that"
        )
