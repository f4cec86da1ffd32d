"""The hostile files, sent one by one: each ends in an answer, and the server lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.case import GOOD, Case
from tests.hostile.corpus import cases
from tests.web.conftest import Site

_MOST_BYTES = 20_000_000
# What the server says before or beside the codes of the page itself.
_OWN = {"too-many-pages", "file-type-unknown", "file-empty", "upload-too-large", "timed-out"}
_OWN |= {"memory-exceeded", "quality-refused", "quality-too-low"}


def files(folder: Path) -> list[tuple[Case, bytes]]:
    """Those of the corpus that are files: what browsers send has no name, link or device."""
    found = []
    for case in cases():
        if case.name.startswith("name-"):
            continue
        home = folder / case.name
        home.mkdir()
        path = case.make(home)
        try:
            is_file = path.is_file() and not path.is_symlink()
        except (OSError, ValueError):
            continue
        if is_file:
            found.append((case, path.read_bytes()))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_hostile_corpus_ends_in_answers(site: Site, tmp_path: Path, report: bytes) -> None:
    corpus = files(tmp_path)
    assert len(corpus) > 50
    wrong = []
    for case, content in corpus:
        reply = site.send("/api/predict", content, "application/octet-stream")
        if reply.status == 200:
            codes = {
                page["reason"]["code"] if page["reason"] else GOOD for page in reply.json["pages"]
            }
        else:
            codes = {reply.json["code"]}
            if reply.status not in (413, 415, 422):
                wrong.append(f"{case.name}: {reply.status}")
        if not codes <= case.codes | _OWN:
            wrong.append(f"{case.name}: {sorted(codes)}, not {sorted(case.codes)}")
    assert wrong == []
    assert site.send("/api/predict", report).json["pages"][0]["status"] == "done"
    assert site.get("/healthz").json["waiting"] == 0
