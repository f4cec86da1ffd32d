"""The server's own folder: for its eyes only, and gone with it, however it ends."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

_PREFIX = "ecgvision-serve-"
_LOCK = "lock"


class PrivateFolder:
    """A folder of mode 0700 under the system's temporary folder, removed at the end.

    A small process of its own waits for this one to end and removes the folder where this one was
    killed. What a machine that went down has left is removed at the next start.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(tempfile.gettempdir())

    def __enter__(self) -> Path:
        sweep(self._root)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._root))
        self._lock = FileLock(self.path / _LOCK)
        self._lock.acquire()
        # Its standard input ends when this process does.
        self._janitor = subprocess.Popen(  # noqa: S603  our own script
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("janitor.py")), self.path],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)
        if self._janitor.stdin is not None:
            self._janitor.stdin.close()
        self._janitor.wait()


def sweep(root: Path) -> None:
    """Remove the folders of servers that are gone; those of living ones are locked."""
    for folder in root.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            with FileLock(folder / _LOCK, timeout=0):
                pass
        except (Timeout, OSError):  # alive, or another user's
            continue
        shutil.rmtree(folder, ignore_errors=True)
