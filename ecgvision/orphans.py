"""Worker processes that do not outlive the one they work for."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """In a worker of `multiprocessing`: end it with the process that started it, killed or not.

    An orphan would go on with what it has been given, then wait for more for ever.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
