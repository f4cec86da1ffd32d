"""What the Hub's client raises, as one error of ours: a line that says what to try."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,  # of httpx up to 1.x of the client, of httpx2 from 2.0 on
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ecgvision.errors import EcgVisionError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class HubError(EcgVisionError):
    """The Hub, the way to it or the cache would not do; the message says what to try."""

    def __init__(self, message: str, code: str = "hub-failed") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.code)


@contextmanager
def hub_errors(endpoint: str, cache: Path, what: str) -> Iterator[None]:
    """Turn all that the client raises into `HubError`s: of one line, with what to try."""
    try:
        yield
    except EcgVisionError:
        raise
    except (HTTPError, OSError, EntryNotFoundError, RuntimeError, ValueError) as error:
        raise _told(endpoint, cache, what, error) from error


def _told(endpoint: str, cache: Path, what: str, error: BaseException) -> HubError:
    cause = error.__cause__
    # These two say nothing themselves: what went wrong is their cause.
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and cause is not None:
        return _told(endpoint, cache, what, cause)
    if isinstance(error, OfflineModeIsEnabled):
        return offline(cache)
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"{what}: {endpoint} has no such repository, or a private one: check the name, and "
            "set HF_TOKEN to a token that may read it",
            "hub-not-found",
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"{what}: the repository has no such revision; check --revision, or update ecgvision",
            "hub-not-found",
        )
    if isinstance(error, EntryNotFoundError):
        return HubError(
            f"{what}: the repository has no such file at that revision; update ecgvision, or ask "
            "who keeps the model",
            "hub-not-found",
        )
    if isinstance(error, HfHubHTTPError):
        return _refused(what, error)
    if isinstance(error, HTTPError):
        return unreachable(endpoint, cache, _first_line(error))
    if isinstance(error, OSError) and error.errno in _FULL:
        return HubError(
            f"{what}: no space is left in {cache}; make room, or set HF_HOME to another disk",
            "disk-full",
        )
    return HubError(f"{what}: {_first_line(error)}")


def _refused(what: str, error: Any) -> HubError:
    status = error.response.status_code
    said = (error.server_message or _first_line(error)).splitlines()[0]
    if status in (401, 403):
        return HubError(
            f"{what}: the Hub refused it ({status}: {said}); set HF_TOKEN to a token that may do "
            "it: reading for a pull, writing for a push",
            "hub-denied",
        )
    hint = "try again later" if status >= 500 or status == 429 else "see what it says"
    return HubError(f"{what}: the Hub answered {status}: {said}; {hint}")


def offline(cache: Path) -> HubError:
    return HubError(
        "HF_HUB_OFFLINE is set, and not all files are in the cache; unset it and pull once, or "
        f"copy the cache of another computer to {cache}",
        "hub-offline",
    )


def unreachable(endpoint: str, cache: Path, why: str) -> HubError:
    return HubError(
        f"cannot reach {endpoint}: {why}; check the network, HTTPS_PROXY and HF_ENDPOINT, or "
        f"copy the cache of another computer to {cache}; models already in it work offline",
        "hub-unreachable",
    )


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
