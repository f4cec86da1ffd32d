"""Compiles the few loops that look at every pixel; the code is kept for the next start.

numba keeps it beside the module or, where that cannot be written, in the user's cache folder. Where
there is neither, it is compiled anew at each start, which takes some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called with arrays of some kind.

    It must not divide by 0, which gives infinity or NaN and no error.

    >>> @compiled
    ... def doubled(value):
    ...     return 2 * value
    >>> doubled(4)
    8
    """
    # Divided as numpy does: to look at each divisor for 0 keeps loops from vector instructions.
    how: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        kept: Callable[..., Any] = njit(function, cache=True, **how)
    except RuntimeError:  # no folder that can be written
        kept = njit(function, **how)
    return kept
