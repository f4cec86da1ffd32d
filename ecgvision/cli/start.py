"""What the process of a command is set to before it loads anything large."""

from __future__ import annotations

import atexit
import gc
import os

# So many objects more than before, and unused ones are looked for.
_GARBAGE_AFTER = 20_000


def prepare_process() -> None:
    """Keep libraries and the interpreter from work that takes longer than to read a page."""
    # Idle threads of numpy's OpenBLAS spin for a while, on the core that the rest of a page needs,
    # and no matrix here is large. It reads this when numpy is first loaded: by a command.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules stay to the end: they need not be looked through for garbage, again and again while
    # they load and once more at the end.
    gc.set_threshold(_GARBAGE_AFTER)
    atexit.register(gc.freeze)
