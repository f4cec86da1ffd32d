"""The application: its pages, its JSON, and how requests become uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ecgvision import __version__
from ecgvision.web import api
from ecgvision.web.answering import about_model
from ecgvision.web.errors import Refusal, WebError
from ecgvision.web.guard import Guard
from ecgvision.web.private import PrivateFolder
from ecgvision.web.settings import NOTICE, Settings
from ecgvision.web.shapes import Health
from ecgvision.web.state import Shared
from ecgvision.web.uploads import Reader, Uploads
from ecgvision.web.work import read_upload

_STATIC = Path(__file__).with_name("static")
_PLAIN = {
    404: ("not-found", "there is nothing at this address", "see /openapi.json"),
    405: ("method-not-allowed", "this address does not know the method", "see /openapi.json"),
}


def create_app(settings: Settings, reader: Reader = read_upload) -> ASGIApp:
    """The whole server as an ASGI application; its processes start and end with its lifespan.

    Raises `UsageError` and other errors of `load_model` for a model that cannot be asked.
    """
    model = about_model(settings.model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with PrivateFolder(settings.temporary) as root:
            uploads = Uploads(root, settings.workers, settings.limits, reader)
            await uploads.start()
            app.state.shared = Shared(settings, uploads, model)
            try:
                yield
            finally:
                await uploads.stop()

    # No pages of documentation: theirs would fetch scripts from other hosts.
    app = FastAPI(
        title="ecgvision",
        version=__version__,
        description=f"ECG report pages in, images, signals and answers out. {NOTICE}",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(api.router)
    _add_pages(app)
    app.add_exception_handler(WebError, _refused)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, settings.hosts, settings.token)


def _add_pages(app: FastAPI) -> None:
    @app.get("/healthz", tags=["server"], summary="Whether the server is well")
    async def healthz(request: Request) -> Health:
        uploads = request.app.state.shared.uploads
        return Health(status="ok", version=__version__, waiting=uploads.waiting, kept=uploads.kept)

    app.mount("/", StaticFiles(directory=_STATIC, html=True), name="static")


# --- errors ---------------------------------------------------------------------------------------


def _json(status: int, refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(refusal.model_dump(), status_code=status, headers=headers)


async def _refused(request: Request, error: Any) -> Response:
    return _json(error.status, error.refusal, error.headers)


async def _plain(request: Request, error: Any) -> Response:
    code, message, hint = _PLAIN.get(
        error.status_code, ("request-refused", str(error.detail), "see /openapi.json")
    )
    refusal = Refusal(code=code, message=message, hint=hint)
    return _json(error.status_code, refusal, dict(error.headers or {}))


async def _invalid(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    refusal = Refusal(
        code="request-invalid", message=f"{where}: {first['msg']}", hint="see /openapi.json"
    )
    return _json(422, refusal)


async def _broken(request: Request, error: Any) -> Response:
    """A bug of ours: what it says may quote a report, so only its kind is told."""
    refusal = Refusal(
        code="internal", message=f"the server failed: {type(error).__name__}", hint="report it"
    )
    return _json(500, refusal)
