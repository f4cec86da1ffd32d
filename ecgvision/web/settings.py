"""What `ecgvision serve` is told, and the limits that hold for everybody who uses it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ecgvision.errors import UsageError

NOTICE = "Research use only. Not a medical device. Not for diagnosis or treatment. It can be wrong."
"""Stands on every result and in every download."""

# Risk words as in the study: low under 30 %, high from 70 %.
RISK_LOW, RISK_HIGH = 0.3, 0.7

Heat = Literal["grad-cam", "occlusion", "none"]
"""How it is found what raised an answer."""

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one upload, and all of them together, may take.

    `page_s` is the longest time for one page. `waiting` is how many uploads may wait or be in
    work. `kept` uploads at most are there at any time, each for `keep_s` at the longest.
    `memory_bytes` is what a worker may allocate.
    """

    upload_bytes: int = 20_000_000
    upload_s: float = 60.0
    pages: int = 20
    page_s: float = 120.0
    waiting: int = 32
    kept: int = 100
    keep_s: float = 600.0
    memory_bytes: int = 3 * 1024**3


@dataclass(frozen=True, slots=True)
class Settings:
    """`hosts` are the names, without ports, by which browsers may call the server.

    Without a `token` everybody who reaches the port may use it. `model` is a model's id or path,
    None for none. The private folder lies in `temporary`, by default the system's.
    """

    workers: int = 1
    model: str | None = None
    heat: Heat = "occlusion"
    token: str | None = None
    hosts: tuple[str, ...] = _LOOPBACK_NAMES
    limits: Limits = Limits()
    temporary: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server bound to that address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "ecg.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_names(bound: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The names that requests may have in their Host header. Raises `UsageError`.

    A server on all addresses cannot know how it is called: it has to be told.
    """
    for name in allowed:
        if not name or (any(c in name for c in "/:@ ") and not name.startswith("[")):
            raise UsageError(f"--allow-host {name!r}: expected a name without scheme and port")
    named = f"[{bound}]" if ":" in bound else bound
    if bound in ("0.0.0.0", "::"):  # noqa: S104  asked for by the user
        if not allowed:
            raise UsageError(
                f"--host {bound} listens on all addresses: say with --allow-host by which names "
                "or addresses browsers will call it"
            )
        return (*_LOOPBACK_NAMES, *allowed)
    return tuple(dict.fromkeys((*_LOOPBACK_NAMES, named, *allowed)))
