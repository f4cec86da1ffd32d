"""PDF files that are broken, locked or lying as files, whatever is on their pages."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pymupdf

from tests.hostile import raw_pdf
from tests.hostile.case import BOMB_BYTES, GOOD, NO_ECG, Case, good_pdf, of, zeros

PAGES = 10_000


def cases() -> list[Case]:
    cut = [
        of(f"truncated-{tenth}0", lambda t=tenth: _truncated(t), "pdf-damaged", "file-empty")
        for tenth in range(10)
    ]
    return [
        *cut,
        of("encrypted", lambda: _encrypted("secret"), "pdf-encrypted"),
        of("empty-password", lambda: _encrypted(""), GOOD),
        of("xref-loop", _xref_loop, "pdf-damaged", NO_ECG),
        of("page-tree-loop", _page_tree_loop, "pdf-damaged", "pdf-no-pages", "page-damaged"),
        of("page-tree-laughs", _page_tree_laughs, "pdf-damaged"),
        of("count-lies", _count_lies, "pdf-damaged"),
        of("index-misses-pages", _index_misses_pages, "pdf-damaged"),
        of("number-given-twice", _number_given_twice, "pdf-damaged"),
        of("stream-length-lies", _length_lies, GOOD),
        of("object-stream-bomb", _object_stream_bomb, "pdf-damaged", "pdf-no-pages"),
        Case("pages-10000", _ten_thousand, frozenset([GOOD]), pages=3),
        of("html", lambda: b"<!DOCTYPE html><title>Sign in</title>", "file-type-unknown"),
        of("html-says-pdf", lambda: b"<html>%PDF-1.7 </html>", "pdf-damaged"),
    ]


def _truncated(tenth: int) -> bytes:
    return good_pdf()[: len(good_pdf()) * tenth // 10]


def _encrypted(password: str) -> bytes:
    with pymupdf.open(stream=good_pdf(), filetype="pdf") as document:
        aes = pymupdf.PDF_ENCRYPT_AES_256
        locked: bytes = document.tobytes(encryption=aes, user_pw=password, owner_pw="owner")
        return locked


def _xref_loop() -> bytes:
    """An index that names itself as the one before it."""
    data = raw_pdf.one_page(b"0 0 m 9 9 l S")
    start = data.rindex(b"startxref\n") + 10
    place = data[start : data.index(b"\n", start)]
    return data.replace(b"/Root 1 0 R>>", b"/Root 1 0 R/Prev %b>>" % place)


def _page_tree_loop() -> bytes:
    tree = [b"<</Type/Catalog/Pages 2 0 R>>"]
    node = b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R 3 0 R]/Count 5>>"
    return raw_pdf.assembled([*tree, node, node])


def _page_tree_laughs() -> bytes:
    """Nine nodes that hold the next one ten times: a thousand million pages."""
    nodes = [
        b"<</Type/Pages/Parent %d 0 R/Kids[%b]/Count %d>>"
        % (max(2, n - 1), b"%d 0 R " % (n + 1) * 10, 10 ** (11 - n))
        for n in range(2, 11)
    ]
    page = b"<</Type/Page/Parent 10 0 R/MediaBox[0 0 792 612]>>"
    return raw_pdf.assembled([b"<</Type/Catalog/Pages 2 0 R>>", *nodes, page])


def _count_lies() -> bytes:
    return raw_pdf.one_page(b"").replace(b"/Count 1>>", b"/Count 2147483647>>")


def _index_misses_pages() -> bytes:
    """The index has another place for the page tree, which is noticed when pages are counted."""
    data = good_pdf()
    at = re.findall(rb"^(\d{10}) 00000 n", data, re.MULTILINE)[1]
    return data.replace(at + b" 00000 n", b"%010d 00000 n" % (int(at) + 5), 1)


def _number_given_twice() -> bytes:
    """The page has the catalogue's number: counted twice, the file has one page and then none."""
    data = raw_pdf.one_page(b"0 0 m 9 9 l S", packed=False)
    second = re.findall(rb"^(\d{10}) 00000 n", data, re.MULTILINE)[1]
    data = data.replace(second + b" 00000 n", b"%010d 00000 n" % 6, 1)
    return data.replace(b"3 0 obj", b"1 0 obj", 1)


def _length_lies() -> bytes:
    return good_pdf().replace(b"/Length ", b"/Length 9", 1)


def _object_stream_bomb() -> bytes:
    """An index that keeps the catalogue in 300 MB of nothing, packed twice to 1 KB."""
    inner = zlib.compress(zeros(BOMB_BYTES), 9)
    entries = b"/Type/ObjStm/N 1/First 4/Filter[/FlateDecode/FlateDecode]"
    out = bytearray(b"%PDF-1.7\n")
    place = len(out)
    out += b"1 0 obj\n%b\nendobj\n" % raw_pdf.stream(inner, entries)
    index = len(out)
    table = struct.pack(">BIBBIBBIBBIB", 0, 0, 0, 1, place, 0, 2, 1, 0, 1, index, 0)
    entries = b"/Type/XRef/Size 4/W[1 4 1]/Root 2 0 R"
    out += b"3 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (
        raw_pdf.stream(table, entries),
        index,
    )
    return bytes(out)


def _ten_thousand(folder: Path) -> Path:
    """The good page, 10,000 times: the objects of the pages differ, what they show does not."""
    path = folder / "pages-10000.pdf"
    with pymupdf.open(stream=good_pdf(), filetype="pdf") as document:
        page, pages = document[0].xref, document.xref_get_key(document.pdf_catalog(), "Pages")[1]
        body = document.xref_object(page)
        kids = [page]
        for _ in range(PAGES - 1):
            kids.append(document.get_new_xref())
            document.update_object(kids[-1], body)
        tree = int(pages.split()[0])
        document.xref_set_key(tree, "Kids", "[" + " ".join(f"{k} 0 R" for k in kids) + "]")
        document.xref_set_key(tree, "Count", str(PAGES))
        document.save(path)
    return path
