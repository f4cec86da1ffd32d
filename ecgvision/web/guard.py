"""What every request has to pass before the application sees it, and what every answer carries."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecgvision.web.errors import WebError

# Nothing but what the server itself gives: no other host, no script or style within the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_READING = ("GET", "HEAD", "OPTIONS")
_MOST_JSON_BYTES = 100_000
_OURS = ("same-origin", "none")


class Guard:
    """Checks host, origin and token, and bounds the JSON that a request may bring."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], token: str | None) -> None:
        self._app, self._token = app, token
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope)
            receive = await _bounded(scope, receive)
        except WebError as error:
            response = JSONResponse(
                error.refusal.model_dump(), status_code=error.status, headers=error.headers
            )
            await response(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            raise WebError(
                400,
                "host-unknown",
                "the request names a host that this server is not called",
                "use the address that `ecgvision serve` printed, or --allow-host",
            )
        _check_origin(scope, headers, host)
        if self._token is not None and _is_private(scope["path"]):
            given = headers.get("authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise WebError(
                    401,
                    "token-missing",
                    "the request has no token, or a wrong one",
                    "open the address with its token that `ecgvision serve` printed, or send it "
                    "as Authorization: Bearer TOKEN",
                    {"WWW-Authenticate": "Bearer"},
                )


def _is_private(path: str) -> bool:
    """The page itself has no secrets; all that comes of reports has."""
    return path.startswith("/api/")


def _name(host: str) -> str:
    """The host's name without the port.

    >>> _name("localhost:8000"), _name("[::1]:8000"), _name("ECG.example")
    ('localhost', '[::1]', 'ecg.example')
    """
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _check_origin(scope: MutableMapping[str, Any], headers: Headers, host: str) -> None:
    """Other sites may neither read nor write, whatever a browser lets them send."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign_site = site is not None and site not in _OURS
    foreign_origin = origin is not None and origin.partition("://")[2] != host
    writes = scope["method"] not in _READING
    if (foreign_origin or foreign_site) and (writes or _is_private(scope["path"])):
        raise WebError(
            403,
            "origin-foreign",
            "the request comes from another site",
            "use the page of this server itself",
        )


async def _bounded(scope: MutableMapping[str, Any], receive: Receive) -> Receive:
    """JSON is read here, so far as it is short; files are counted where they are stored."""
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] in _READING or kind != "application/json":
        return receive
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        if len(body) > _MOST_JSON_BYTES:
            raise WebError(
                413,
                "request-too-large",
                f"the JSON has more than {_MOST_JSON_BYTES // 1000} kB",
                "send less of it",
            )
        if not message.get("more_body", False):
            break
    whole, told = body, False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": whole, "more_body": False}

    return again
