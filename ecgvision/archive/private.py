"""Files that hold what others must not see, and that nothing is left of."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def private_file() -> Iterator[tuple[BinaryIO, Path]]:
    """An empty file for this process only, which is gone however it ends, and its name."""
    with tempfile.TemporaryFile(prefix="ecgvision-") as file:
        # It has no name of its own any more, so that nothing is left by a worker that is killed.
        here = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        if here.exists():
            yield file, here
            return
    with tempfile.TemporaryDirectory(prefix="ecgvision-") as folder:
        named = Path(folder, "copy")
        with named.open("xb") as file:
            yield file, named
