"""What fsspec answers, in words of our own.

What it, and the libraries behind it, say of an error may hold what a URL keeps secret, such as a
token. So errors are told anew here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from ecgvision.archive.store import State

# What the system says of these is told as it is.
_OF_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR)
# Where a store tells the time of the last change.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def state_of(info: Mapping[str, Any]) -> State:
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    time_s = next((_seconds(info[name]) for name in _TIMES if info.get(name)), 0.0)
    # Some stores list fractions of seconds, and do not tell them of a single object.
    mtime_ns = int(time_s) * 10**9 if etag else round(time_s * 1e6) * 1000
    return State(int(info.get("size") or 0), mtime_ns, etag)


def _seconds(value: Any) -> float:
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        return datetime.fromisoformat(str(value)).timestamp()
    return 0.0


def plain_error(error: Exception) -> OSError:
    """What happened in words of our own."""
    name = type(error).__name__
    if isinstance(error, UnicodeError):
        return OSError(errno.EINVAL, "a name that is no text")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such bucket, folder or file")
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, "it is there already")
    if isinstance(error, NotImplementedError):
        return OSError(errno.EROFS, "this kind of store cannot be written to safely")
    if "Credential" in name or "Auth" in name:
        return PermissionError(errno.EACCES, f"no valid credentials were found ({name})")
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, "access is denied")
    if "Connect" in name or "Timeout" in name:
        return OSError(errno.EHOSTUNREACH, f"the store cannot be reached ({name})")
    if isinstance(error, OSError) and error.errno in _OF_SYSTEM:
        return OSError(error.errno, os.strerror(error.errno))
    return OSError(errno.EIO, f"the store does not answer as it should ({name})")
