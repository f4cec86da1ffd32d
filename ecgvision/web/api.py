"""The addresses under /api: reports, their pages, corrections, downloads, and predictions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from ecgvision import __version__
from ecgvision.web import downloads, layouts
from ecgvision.web.errors import Refusal, WebError, unknown_report
from ecgvision.web.pages import CHECK, IMAGE, OVERLAY, PICTURE
from ecgvision.web.settings import NOTICE
from ecgvision.web.shapes import (
    About,
    Arrangement,
    Corrected,
    Correction,
    Prediction,
    ReportState,
    SummaryAsked,
    ZipAsked,
)
from ecgvision.web.state import Shared
from ecgvision.web.uploads import Upload, too_large
from ecgvision.web.work import UploadTask

_KINDS = ("application/pdf", "image/png", "image/jpeg", "image/tiff", "image/bmp")
_ANY_KIND = "application/octet-stream"
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
_PDF_WITHIN = 1024

_WORDS = {
    400: "The Host header names another server",
    401: "The token is missing",
    403: "The request comes from another site",
    404: "There is no such report, page or file",
    408: "The file came too slowly",
    413: "The upload is too large",
    415: "Not a PDF, PNG, JPEG, TIFF or BMP file",
    422: "What was sent cannot be used",
    429: "Too many reports are waiting or open",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": Refusal, "description": _WORDS[status]}
        for status in (400, 401, 403, *statuses)
    }


_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file itself. Its first bytes say what it is.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in (*_KINDS, _ANY_KIND)
        },
    }
}


def _binary(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


router = APIRouter(prefix="/api")
Id = Annotated[str, Path(max_length=64)]
Number = Annotated[int, Path(ge=1, le=100_000)]
FormatName = Annotated[
    str, Query(alias="format", max_length=100, description="A format's id, or auto")
]
Clinical = Annotated[
    str, Query(max_length=300, description="Clinical features, as in age_years=67,sex=1")
]


def _shared(request: Request) -> Shared:
    shared: Shared = request.app.state.shared
    return shared


@router.get("/about", tags=["server"], summary="Model, formats and limits", responses=_errors())
async def about(request: Request) -> About:
    return _shared(request).about()


@router.post(
    "/predict",
    tags=["predict"],
    summary="A report in, its answers out; nothing is kept",
    responses=_errors(408, 413, 415, 422, 429),
    openapi_extra=_BODY,
)
async def predict(
    request: Request, format_name: FormatName = "auto", clinical: Clinical = ""
) -> Prediction:
    """All pages with format, scale, verdict and, for those that are not refused, the answers.

    A page that cannot be used has a `reason` and no answer. A file that cannot be used at all is
    refused with 422 and the reason's code.
    """
    shared = _shared(request)
    upload = await _received(request, format_name, clinical, pictures=False)
    try:
        await shared.uploads.finished(upload)
        if upload.error is not None:
            error = upload.error
            raise WebError(
                422, error.code, f"expected {error.expected}, found {error.found}", error.hint
            )
        return Prediction(
            notice=NOTICE,
            version=__version__,
            model=shared.ready_model,
            pages=upload.results(),
        )
    finally:
        shared.uploads.remove(upload)


@router.post(
    "/reports",
    tags=["reports"],
    summary="Send a report to look at",
    status_code=202,
    responses=_errors(408, 413, 415, 422, 429),
    openapi_extra=_BODY,
)
async def send(
    request: Request, format_name: FormatName = "auto", clinical: Clinical = ""
) -> ReportState:
    """The report is read page by page; ask for it until its state is "done" or "failed"."""
    return _state(await _received(request, format_name, clinical, pictures=True))


async def _received(request: Request, format_name: str, clinical: str, *, pictures: bool) -> Upload:
    shared = _shared(request)
    limits = shared.settings.limits
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*_KINDS, _ANY_KIND):
        raise _wrong_type(f"the Content-Type is {kind[:60]!r}")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.upload_bytes:
        raise too_large(limits)
    format_id = shared.format_id(format_name)
    given = shared.clinical(clinical)
    upload = await shared.uploads.receive(request.stream())
    task = UploadTask(
        upload.folder,
        format=format_id,
        model=shared.ready_model,
        clinical=given,
        most_pages=limits.pages,
        heat=shared.settings.heat if pictures else "none",
        pictures=pictures,
    )
    with task.report.open("rb") as file:
        head = file.read(_PDF_WITHIN)
    if not (head.startswith(_MAGIC) or b"%PDF-" in head):
        shared.uploads.remove(upload)
        raise _wrong_type("the file begins like none of them, whatever it is called")
    shared.uploads.begin(upload, task)
    return upload


def _wrong_type(found: str) -> WebError:
    return WebError(
        415,
        "file-type-unknown",
        f"expected a PDF, PNG, JPEG, TIFF or BMP file; {found}",
        "export the report as PDF or as an image",
    )


def _state(upload: Upload) -> ReportState:
    # In this order: a page that is finished meanwhile is told the next time.
    state, error = upload.state, upload.error
    return ReportState(
        id=upload.id,
        state=state,
        pages_total=upload.pages_total,
        pages=upload.results(),
        error=error,
        notice=NOTICE,
    )


@router.get(
    "/reports/{report}", tags=["reports"], summary="How far it is", responses=_errors(404, 422)
)
async def state(request: Request, report: Id) -> ReportState:
    return _state(_shared(request).uploads.find(report))


@router.delete(
    "/reports/{report}",
    tags=["reports"],
    summary="Remove it at once",
    status_code=204,
    responses=_errors(404, 422),
)
async def remove(request: Request, report: Id) -> None:
    uploads = _shared(request).uploads
    uploads.remove(uploads.find(report))


@router.get(
    "/reports/{report}/pages/{page}/files/{name}",
    tags=["reports"],
    summary="A picture of a page",
    responses={**_errors(404, 422), **_binary("image/png"), **_binary("image/*")},
    response_class=Response,
)
async def picture(request: Request, report: Id, page: Number, name: Id) -> Response:
    upload = _shared(request).uploads.find(report)
    known = upload.page(page).files
    heat = name.startswith("heat-") and name.endswith(".png")
    if name not in known or not (heat or name in (PICTURE, IMAGE, OVERLAY, CHECK)):
        raise unknown_report()
    kind = "image/jpeg" if name == PICTURE else "image/png"
    return Response(upload.file(page, known[known.index(name)]), media_type=kind)


# --- corrections ----------------------------------------------------------------------------------


@router.get(
    "/formats/{format_id}/layouts/{number}",
    tags=["corrections"],
    summary="A layout's lead boxes, to begin with",
    responses=_errors(404, 422),
)
async def declared(
    request: Request, format_id: Id, number: Annotated[int, Path(ge=0, le=1000)]
) -> Arrangement:
    return layouts.declared(_shared(request).formats, format_id, number)


@router.post(
    "/reports/{report}/corrections",
    tags=["corrections"],
    summary="Read a page again, as another format or with other lead boxes",
    status_code=202,
    responses=_errors(404, 413, 422, 429),
)
async def correct(request: Request, report: Id, asked: Correction) -> ReportState:
    """Gives a report of its own, of the one page."""
    shared = _shared(request)
    before = shared.uploads.find(report)
    if (asked.format is None) == (asked.boxes is None):
        raise WebError(
            422, "request-invalid", "expected either a format or boxes", "leave one of them out"
        )
    format_id = "custom" if asked.format is None else shared.format_id(asked.format)
    given = shared.clinical(asked.clinical)
    toml = None if asked.boxes is None else layouts.toml(before, asked.page, asked.boxes)
    upload = shared.uploads.copy(before)
    task = UploadTask(
        upload.folder,
        format=format_id,
        layout=None if toml is None else layouts.stored(upload.folder, toml),
        model=shared.ready_model,
        clinical=given,
        most_pages=shared.settings.limits.pages,
        only=asked.page,
        heat=shared.settings.heat,
    )
    shared.uploads.begin(upload, task)
    return _state(upload)


@router.post(
    "/reports/{report}/pages/{page}/layout",
    tags=["corrections"],
    summary="Lead boxes as a layout file for `convert --layout`",
    responses={**_errors(404, 413, 422), **_binary("application/toml")},
    response_class=Response,
)
async def layout_file(request: Request, report: Id, page: Number, boxes: Corrected) -> Response:
    upload = _shared(request).uploads.find(report)
    return _download(layouts.toml(upload, page, boxes).encode(), "application/toml", "layout.toml")


# --- downloads ------------------------------------------------------------------------------------


@router.get(
    "/reports/{report}/pages/{page}/{kind}.zip",
    tags=["downloads"],
    summary="Signals (csv, wfdb) or image of a page, with the notice beside it",
    responses={**_errors(404, 422), **_binary("application/zip")},
    response_class=Response,
)
async def download(request: Request, report: Id, page: Number, kind: downloads.Kind) -> Response:
    upload = _shared(request).uploads.find(report)
    content = downloads.page_zip(upload, page, kind)
    return _download(content, "application/zip", f"ecg-research-only-{kind}.zip")


@router.post(
    "/reports/{report}/pages/{page}/summary",
    tags=["downloads"],
    summary="One page of PDF; it names nobody unless a name is given",
    responses={**_errors(404, 413, 422), **_binary("application/pdf")},
    response_class=Response,
)
async def summary(request: Request, report: Id, page: Number, asked: SummaryAsked) -> Response:
    shared = _shared(request)
    upload = shared.uploads.find(report)
    content = await shared.drawn(downloads.summary, upload, page, asked, shared.model)
    return _download(content, "application/pdf", "ecg-research-only.pdf")


@router.post(
    "/zip",
    tags=["downloads"],
    summary="Several reports in one ZIP",
    responses={**_errors(404, 413, 422), **_binary("application/zip")},
    response_class=Response,
)
async def everything(request: Request, asked: ZipAsked) -> Response:
    shared = _shared(request)
    uploads = [shared.uploads.find(name) for name in dict.fromkeys(asked.reports)]
    content = await shared.drawn(downloads.session_zip, uploads, asked.language, shared.model)
    return _download(content, "application/zip", "ecg-research-only.zip")


def _download(content: bytes, kind: str, name: str) -> Response:
    """The names are ours, so that they need no quoting."""
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
