"""What can be taken away: signals, images, a summary, and all of it. The notice goes with each."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from enum import StrEnum

from ecgvision.web import pages
from ecgvision.web.errors import WebError
from ecgvision.web.settings import NOTICE
from ecgvision.web.shapes import ModelAbout, PageResult, SummaryAsked
from ecgvision.web.summary import summary_pdf
from ecgvision.web.uploads import Upload

_NOTICE_FILE = "NOTICE.txt"
# A ZIP has times of its files; these tell nothing.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


class Kind(StrEnum):
    """What of a page can be taken by itself."""

    CSV = "csv"
    WFDB = "wfdb"
    IMAGE = "image"


_FILES: Mapping[Kind, tuple[str, ...]] = {
    Kind.CSV: ("ecg.csv",),
    Kind.WFDB: ("ecg.hea", "ecg.dat"),
    Kind.IMAGE: (pages.IMAGE,),
}


def page_zip(upload: Upload, number: int, kind: Kind) -> bytes:
    """One kind of a page's files, with what is known of the page; raises `WebError`."""
    page = upload.page(number)
    names = [name for name in _FILES[kind] if name in page.files]
    if not names:
        raise WebError(
            404, "nothing-to-download", "the page has no such file", "its signals were withheld"
        )
    files = {name: upload.file(number, name) for name in names}
    return zipped({**files, "page.json": described(page), **_notice()})


def summary(upload: Upload, number: int, asked: SummaryAsked, model: ModelAbout | None) -> bytes:
    """The summary of a page as PDF; raises `WebError`."""
    page = upload.page(number)
    picture = upload.file(number, pages.OVERLAY) if pages.OVERLAY in page.files else None
    return summary_pdf(page, picture, asked.name, asked.language, model)


def session_zip(uploads: Sequence[Upload], language: str, model: ModelAbout | None) -> bytes:
    """All that was read of these reports, a folder a page; raises `WebError`."""
    files = _notice()
    for at, upload in enumerate(uploads, 1):
        for number in upload.numbers():
            page = upload.page(number)
            folder = f"report-{at}-page-{number}"
            for name in page.files:
                # The page as it was sent may name a patient; a layout is none of the results.
                if name not in (pages.PICTURE, pages.LAYOUT):
                    files[f"{folder}/{name}"] = upload.file(number, name)
            files[f"{folder}/page.json"] = described(page)
            asked = SummaryAsked(language=language)
            files[f"{folder}/summary.pdf"] = summary(upload, number, asked, model)
    return zipped(files)


def described(page: PageResult) -> bytes:
    """The page as JSON, with the notice in it."""
    told = page.model_dump_json(indent=2, exclude={"files", "picture_px"})
    return (f'{{\n  "notice": "{NOTICE}",' + told[1:] + "\n").encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of the files, without dates."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            told = zipfile.ZipInfo(name, _NO_TIME)
            told.compress_type = zipfile.ZIP_DEFLATED
            told.external_attr = 0o600 << 16
            archive.writestr(told, content)
    return packed.getvalue()


def _notice() -> dict[str, bytes]:
    return {_NOTICE_FILE: f"{NOTICE}\n".encode()}
