"""What a URL names: a store and a path in it, and which parts of it are secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ecgvision.archive.urlstore import WEB, UrlStore, is_odd
from ecgvision.errors import UsageError

_QUERY = re.compile(r"\?[^/]*=")


def opened(scheme: str, rest: str) -> tuple[UrlStore, Path]:
    """The store, and the path in it, of the URL `scheme://rest`; raises `UsageError`.

    Nothing is asked of the store yet. What the URL keeps secret, a password or a query, is in no
    message.
    """
    if "::" in rest:
        raise UsageError("chains of URLs, with :: in them, cannot be used; name one store")
    place, mark, query = rest.partition("?") if scheme in WEB else (rest, "", "")
    if _QUERY.search(place):
        raise UsageError(
            f"a {scheme}:// URL with a query cannot be used; take off what follows the question "
            "mark, and give credentials by the environment"
        )
    user, at, _ = place.partition("/")[0].rpartition("@")
    kind = _kind(scheme)
    options = _options(kind, f"{scheme}://{place}")
    inner = str(kind._strip_protocol(f"{scheme}://{place}"))
    if scheme in WEB:
        lead, host, inner = f"{scheme}://{user}{at}", *_halves(place[len(user + at) :])
        lead, label = f"{lead}{host}/", f"{scheme}://{host}/"
    else:
        if ":" in user and inner.lstrip("/").startswith(user):
            raise UsageError(
                f"{scheme}:// URLs hold no keys; give them by the environment or a file of "
                "credentials, see the documentation of archives"
            )
        lead = "/" if inner.startswith("/") else ""
        port = f":{options['port']}" if options.get("port") else ""
        host = f"{options['host']}{port}/" if options.get("host") else ""
        # Of a store that has neither hosts nor buckets, such as a mounted share.
        top = "/" if place.startswith("/") and scheme != "memory" else ""
        label = f"{scheme}://{host or top}"
    secret = ":" in user or bool(query)
    store = UrlStore(scheme, label, lead, mark + query, tuple(sorted(options.items())), secret)
    return store, _path(store, inner)


def _path(store: UrlStore, inner: str) -> Path:
    plain = inner.strip("/")
    if not plain and not store.lead:
        raise UsageError(f"{store.label} names nothing; put a bucket or folder behind it")
    if plain and any(map(is_odd, plain.split("/"))):
        raise UsageError(f"'{store.label}{plain}' has a part that is empty, or made of dots only")
    return Path(plain)


def _halves(place: str) -> tuple[str, str]:
    host, _, inner = place.partition("/")
    return host, inner


def _kind(scheme: str) -> Any:
    """The class of fsspec for such URLs."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{scheme}:// needs the package fsspec; pip install 'ecgvision[remote]'"
        ) from error
    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise UsageError(f"{scheme}:// is no kind of store that fsspec knows") from None
    except ImportError as error:
        extra = "; pip install 'ecgvision[remote]'" if scheme in ("s3", "s3a") else ""
        raise UsageError(f"{scheme}:// needs one more package{extra}: {error}") from error


def _options(kind: Any, url: str) -> dict[str, Any]:
    try:
        return dict(kind._get_kwargs_from_urls(url))
    except Exception as error:  # of any kind, and its text may hold the URL
        raise UsageError(f"a URL cannot be read ({type(error).__name__}); check it") from None
