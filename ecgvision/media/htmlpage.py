"""One PDF page laid out from HTML."""

from __future__ import annotations

from collections.abc import Mapping

from ecgvision.media.mupdf import pymupdf

_A4_PT = (595.0, 842.0)
_MARGIN_PT = 36.0


def html_page(html: str, css: str, images: Mapping[str, bytes]) -> bytes:
    """An A4 page as PDF, with the HTML made smaller where it would not fit.

    `images` are the files that the HTML names. Letters of all scripts are embedded. The file has
    no date and no author.
    """
    archive = pymupdf.Archive()
    for name, content in images.items():
        archive.add(content, name)
    with pymupdf.open() as document:
        page = document.new_page(width=_A4_PT[0], height=_A4_PT[1])
        page.insert_htmlbox(
            (_MARGIN_PT, _MARGIN_PT, _A4_PT[0] - _MARGIN_PT, _A4_PT[1] - _MARGIN_PT),
            html,
            css=css,
            archive=archive,
        )
        document.subset_fonts()
        document.set_metadata({})
        content_bytes: bytes = document.tobytes(garbage=3, deflate=True)
    return content_bytes
