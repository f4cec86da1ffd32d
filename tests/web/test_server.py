"""What the server answers: pages as the library reads them, refusals with their codes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pymupdf
import pytest
from PIL import Image

import ecgvision
from ecgvision.errors import UsageError
from ecgvision.plugins import Format
from ecgvision.testing import Ecg, draw_page
from ecgvision.types import Layout
from ecgvision.web import answering
from ecgvision.web.answering import heat_of
from ecgvision.web.settings import NOTICE, Limits, Settings
from tests.web.conftest import PDF, Reply, Site, eventually, running

PNG = "image/png"
LayoutOf = Callable[[str, str], Layout]


def blank(pages: int = 1, kind: str = "PNG") -> bytes:
    """White pages without an ECG."""
    many = [Image.new("L", (600, 400), 255) for _ in range(pages)]
    file = io.BytesIO()
    extra = {"save_all": True, "append_images": many[1:]} if pages > 1 else {}
    many[0].save(file, kind, **extra)
    return file.getvalue()


def unzipped(reply: Reply) -> dict[str, bytes]:
    assert reply.status == 200, reply.body
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pdf_text(content: bytes) -> str:
    with pymupdf.open(stream=content) as document:
        assert len(document) == 1
        return " ".join(document[0].get_text().split())


def code_of(reply: Reply) -> tuple[int, str]:
    told = reply.json
    assert set(told) == {"code", "message", "hint"}
    assert told["message"]
    return reply.status, told["code"]


# --- predictions ----------------------------------------------------------------------------------


def test_answers_are_those_of_the_library(
    site: Site, model: Path, report: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "page.pdf"
    path.write_bytes(report)
    (page,) = ecgvision.convert(path, signals=True)
    due = ecgvision.load_model(model).answer(page, {"age_years": 67})
    reply = site.send("/api/predict?clinical=age_years=67", report)
    assert reply.status == 200
    found = reply.json
    assert (found["notice"], found["model"]) == (NOTICE, str(model))
    (told,) = found["pages"]
    assert (told["status"], told["format"], told["verdict"]) == ("done", "philips-tc30", "good")
    assert told["scale"]["speed_mm_per_s"] == pytest.approx(25, abs=0.01)
    assert [one["task"] for one in told["answers"]] == ["mi", "cd"]
    for one, task in zip(told["answers"], due.tasks, strict=True):
        assert one["probability"] == pytest.approx(task.probability, abs=1e-5)
        assert (one["positive"], one["threshold"]) == (task.positive, task.threshold)
    # Of shares from 0 to a half, twice as many percent lie below a probability.
    place = told["answers"][0]["cohort"]
    assert place["test_set"] == "201 shares"
    assert place["percentile"] == pytest.approx(200 * due.tasks[0].probability, abs=0.2)
    assert told["answers"][1]["cohort"] is None
    assert "clinical-guessed" in [one["code"] for one in told["warnings"]]


def test_age_changes_the_answer(site: Site, report: bytes) -> None:
    young, old = (
        site.send(f"/api/predict?clinical=age_years={age}", report).json["pages"][0]["answers"]
        for age in (20, 90)
    )
    assert young[0]["probability"] != old[0]["probability"]


def test_a_refused_page_has_a_reason_and_no_number(site: Site) -> None:
    (page,) = site.send("/api/predict", blank(), PNG).json["pages"]
    assert (page["status"], page["reason"]["code"]) == ("refused", "format-not-found")
    assert page["answers"] == []
    assert page["scale"] is None


def test_nothing_is_kept_of_a_prediction(site: Site, report: bytes) -> None:
    before = set(site.folders())
    assert site.send("/api/predict", report).status == 200
    assert set(site.folders()) <= before


@pytest.mark.parametrize(
    ("path", "content", "kind", "due"),
    [
        ("/api/predict", b"GIF89a", PDF, (415, "file-type-unknown")),
        ("/api/predict", b"%PDF-1.7", "text/plain", (415, "file-type-unknown")),
        ("/api/predict", b"", PDF, (422, "file-empty")),
        ("/api/predict", b"%PDF-1.7 and nothing", PDF, (422, "pdf-damaged")),
        ("/api/predict?format=acme", b"%PDF-", PDF, (422, "format-unknown")),
        ("/api/predict?clinical=height=3", b"%PDF-", PDF, (422, "clinical-unknown")),
        ("/api/predict?clinical=age_years=nan", b"%PDF-", PDF, (422, "clinical-unknown")),
        ("/api/predict", b"%PDF-" + bytes(20_000_001), PDF, (413, "upload-too-large")),
    ],
)
def test_what_cannot_be_used_is_refused(
    site: Site, path: str, content: bytes, kind: str, due: tuple[int, str]
) -> None:
    before = set(site.folders())
    assert code_of(site.send(path, content, kind)) == due
    assert set(site.folders()) <= before


def test_too_much_is_refused_without_a_length_too(site: Site) -> None:
    chunks = iter([b"%PDF-", *[bytes(1_000_000)] * 21])
    reply = site.ask("POST", "/api/predict", chunks, {"Content-Type": PDF}, chunked=True)
    assert code_of(reply) == (413, "upload-too-large")


def test_too_many_pages_are_refused(site: Site) -> None:
    reply = site.send("/api/predict", blank(21, "TIFF"), "image/tiff")
    assert code_of(reply) == (422, "too-many-pages")


def test_long_json_is_refused(site: Site) -> None:
    reply = site.post("/api/zip", {"reports": ["x" * 200_000]})
    assert code_of(reply) == (413, "request-too-large")


# --- reports --------------------------------------------------------------------------------------


def test_each_page_of_a_report_comes(site: Site) -> None:
    state = site.read(blank(3, "TIFF"), "image/tiff")
    assert (state["state"], state["pages_total"], state["error"]) == ("done", 3, None)
    assert [page["page"] for page in state["pages"]] == [1, 2, 3]
    assert all(page["files"] == ["page.jpg"] for page in state["pages"])


def test_pictures_of_a_page(site: Site, report: bytes) -> None:
    state = site.read(report)
    (page,) = state["pages"]
    at = f"/api/reports/{state['id']}/pages/1/files"
    sizes = {}
    for name in ("page.jpg", "image.png", "overlay.png", "check.png", "heat-mi.png"):
        assert name in page["files"]
        with Image.open(io.BytesIO(site.get(f"{at}/{name}").body)) as picture:
            sizes[name] = picture.size
            assert picture.format == ("JPEG" if name == "page.jpg" else "PNG")
            if name != "page.jpg":
                assert picture.info["Description"] == NOTICE
    assert list(sizes["page.jpg"]) == page["picture_px"]
    assert sizes["overlay.png"] == sizes["image.png"]
    for name in ("layout.toml", "page.json", "..%2Ftotal", "ecg.csv", "nothing.png"):
        assert code_of(site.get(f"{at}/{name}"))[0] == 404


def test_the_signal_lies_on_the_image(site: Site, report: bytes) -> None:
    state = site.read(report)
    at = f"/api/reports/{state['id']}/pages/1/files"
    with Image.open(io.BytesIO(site.get(f"{at}/image.png").body)) as picture:
        ink = np.asarray(picture.convert("L")) < 100
    with Image.open(io.BytesIO(site.get(f"{at}/overlay.png").body)) as picture:
        red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), 2, 0)
    drawn = blue - red > 100
    # It covers most of the ink, and lies nowhere but within two pixels of it.
    assert (ink & drawn).sum() > 0.6 * ink.sum()
    near = cv2.dilate(ink.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (near & drawn).sum() > 0.99 * drawn.sum()


def test_heat_is_shared_by_the_leads(site: Site, report: bytes) -> None:
    (page,) = site.read(report)["pages"]
    for answer in page["answers"]:
        shares = [one["share"] for one in answer["leads"]]
        assert answer["heat_map_method"] == "occlusion"
        assert sum(shares) == pytest.approx(1, abs=0.01)
        assert shares == sorted(shares, reverse=True)


def test_grad_cam_where_torch_is(model: Path, report: bytes, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_grad_cam")
    with running(Settings(model=str(model), heat="grad-cam"), tmp_path) as site:
        state = site.read(report)
        (page,) = state["pages"]
        assert page["status"] == "done", page["reason"]
        for answer in page["answers"]:
            assert answer["heat_map_method"] == "grad-cam"
            assert sum(one["share"] for one in answer["leads"]) == pytest.approx(1, abs=0.01)
            at = f"/api/reports/{state['id']}/pages/1/files/{answer['heat_map']}"
            with Image.open(io.BytesIO(site.get(at).body)) as picture:
                assert picture.info["Description"] == NOTICE


def test_heat_is_found_as_it_can_be(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: set[str] = set()
    monkeypatch.setattr(answering, "find_spec", lambda name: None if name in lost else name)
    assert heat_of("auto", str(model)) == "grad-cam"
    assert heat_of("none", str(model)) == "none"
    lost.add("torch")
    assert heat_of("auto", str(model)) == "occlusion"
    with pytest.raises(UsageError, match="ecgvision\\[train\\]"):
        heat_of("grad-cam", str(model))


def test_removed_reports_are_gone(site: Site, report: bytes) -> None:
    before = set(site.folders())
    state = site.read(report)
    (folder,) = set(site.folders()) - before
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert site.ask("DELETE", f"/api/reports/{state['id']}").status == 204
    assert not folder.exists()
    assert code_of(site.get(f"/api/reports/{state['id']}")) == (404, "report-unknown")
    assert code_of(site.ask("DELETE", f"/api/reports/{state['id']}")) == (404, "report-unknown")


def test_reports_go_by_themselves(tmp_path: Path) -> None:
    settings = Settings(limits=Limits(keep_s=0.2))
    with running(settings, tmp_path) as site:
        assert site.send("/api/reports", blank(), PNG).status == 202
        eventually(lambda: not site.folders())


# --- downloads ------------------------------------------------------------------------------------


def test_downloads_have_signals_and_notice(site: Site, report: bytes, tmp_path: Path) -> None:
    import wfdb

    name = site.read(report)["id"]
    at = f"/api/reports/{name}/pages/1"
    table = unzipped(site.get(f"{at}/csv.zip"))
    record = unzipped(site.get(f"{at}/wfdb.zip"))
    for found in (table, record):
        assert found["NOTICE.txt"].decode().strip() == NOTICE
        assert json.loads(found["page.json"])["notice"] == NOTICE
    assert NOTICE in record["ecg.hea"].decode()
    for file in ("ecg.hea", "ecg.dat"):
        (tmp_path / file).write_bytes(record[file])
    signals = wfdb.rdrecord(str(tmp_path / "ecg"))
    columns = np.genfromtxt(io.BytesIO(table["ecg.csv"]), delimiter=",", skip_header=1)
    np.testing.assert_allclose(signals.p_signal[:, 1], columns[:, 2], atol=6e-4)
    assert np.ptp(columns[np.isfinite(columns[:, 2]), 2]) > 0.5


@pytest.mark.parametrize("language", ["en", "th", "xx"])
def test_the_summary_names_nobody_unless_told(site: Site, report: bytes, language: str) -> None:
    at = f"/api/reports/{site.read(report)['id']}/pages/1/summary"
    plain = site.post(at, {"language": language})
    assert plain.status == 200
    text = pdf_text(plain.body)
    assert NOTICE in text
    assert "philips-tc30" in text
    assert "SYNTHETIC" not in text
    assert pymupdf.open(stream=plain.body).metadata["author"] in (None, "")
    named = site.post(at, {"language": language, "name": "Ada <b>& Co</b>"})
    assert "Ada <b>& Co</b>" in pdf_text(named.body)


def test_a_session_as_zip_has_nothing_of_the_header(site: Site, report: bytes) -> None:
    names = [site.read(report)["id"], site.read(blank(2, "TIFF"), "image/tiff")["id"]]
    found = unzipped(site.post("/api/zip", {"reports": names}))
    assert found["NOTICE.txt"].decode().strip() == NOTICE
    folders = {name.partition("/")[0] for name in found} - {"NOTICE.txt"}
    assert folders == {"report-1-page-1", "report-2-page-1", "report-2-page-2"}
    assert {"report-1-page-1/ecg.csv", "report-1-page-1/summary.pdf"} <= set(found)
    assert not [name for name in found if name.endswith("page.jpg")]
    for name, content in found.items():
        text = pdf_text(content) if name.endswith(".pdf") else content.decode("latin-1")
        assert "SYNTHETIC" not in text, name


def test_nothing_to_download_of_a_refused_page(site: Site) -> None:
    at = f"/api/reports/{site.read(blank(), PNG)['id']}/pages/1"
    assert code_of(site.get(f"{at}/csv.zip")) == (404, "nothing-to-download")
    assert "format-not-found" in pdf_text(site.post(f"{at}/summary", {}).body)


# --- corrections ----------------------------------------------------------------------------------


def signals_of(site: Site, name: str) -> dict[str, np.ndarray]:
    content = unzipped(site.get(f"/api/reports/{name}/pages/1/csv.zip"))["ecg.csv"]
    table = np.genfromtxt(io.BytesIO(content), delimiter=",", names=True)
    return {name: table[name] for name in table.dtype.names}


def test_boxes_put_by_hand_give_the_signals_and_a_layout_file(
    site: Site, layout_of: LayoutOf, formats: dict[str, Format], ecg: Ecg, tmp_path: Path
) -> None:
    """A machine of which nobody knows that it prints V3 before V2."""
    exchanged = {"V2": "V3", "V3": "V2"}
    known = layout_of("philips-tc30", "3x4+1R")
    boxes = [replace(box, lead=exchanged.get(box.lead, box.lead)) for box in known.boxes]
    unknown = replace(known, boxes=tuple(boxes))
    drawn = draw_page(unknown, formats["philips-tc30"].info, ecg).pdf
    state = site.read(drawn)
    (page,) = state["pages"]
    assert (page["status"], page["reason"]["code"]) == ("refused", "format-not-found")

    number = [one.name for one in formats["philips-tc30"].layouts].index("3x4+1R")
    areas = site.get(f"/api/formats/philips-tc30/layouts/{number}").json["boxes"]
    for area in areas:
        area["lead"] = exchanged.get(area["lead"], area["lead"])
    asked = {"page_mm": page["picture_mm"], "boxes": areas}
    sent = site.post(f"/api/reports/{state['id']}/corrections", {"page": 1, "boxes": asked})
    assert sent.status == 202, sent.body
    after = site.finished(sent.json["id"])
    (told,) = after["pages"]
    assert (told["format"], told["layout"]) == ("corrected", "corrected")
    signals = signals_of(site, after["id"])
    seen = slice(round(5.1 * ecg.fs_hz), round(7.4 * ecg.fs_hz))
    for lead in ("V2", "V3"):
        read_mv = signals[f"{lead}_mV"][seen]
        likeness = [np.corrcoef(read_mv, ecg.lead(one)[seen])[0, 1] for one in ("V2", "V3")]
        assert ("V2", "V3")[int(np.argmax(likeness))] == lead
        assert max(likeness) > 0.99

    saved = site.post(f"/api/reports/{state['id']}/pages/1/layout", asked)
    assert saved.headers["content-disposition"] == 'attachment; filename="layout.toml"'
    path, pdf = tmp_path / "layout.toml", tmp_path / "page.pdf"
    path.write_bytes(saved.body)
    pdf.write_bytes(drawn)
    (by_hand,) = ecgvision.convert(pdf, format="custom", layout=path, signals=True)
    np.testing.assert_allclose(
        by_hand.recording.lead("V2")[seen], signals["V2_mV"][seen], atol=1e-3
    )


def test_another_format_can_be_tried(site: Site, report: bytes) -> None:
    state = site.read(report)
    at = f"/api/reports/{state['id']}/corrections"
    after = site.finished(site.post(at, {"page": 1, "format": "ge-mac1200"}).json["id"])
    assert after["pages"][0]["reason"]["code"] == "format-not-found"
    again = site.finished(site.post(at, {"page": 1, "format": "philips"}).json["id"])
    assert again["pages"][0]["status"] == "done"
    beyond = site.finished(site.post(at, {"page": 2, "format": "philips"}).json["id"])
    assert beyond["pages"][0]["reason"]["code"] == "page-missing"


def test_boxes_that_cannot_be_are_refused(site: Site, report: bytes) -> None:
    state = site.read(report)
    (page,) = state["pages"]
    boxes = page["arrangement"]["boxes"]
    boxes[0]["lead"] = "V6"
    asked = {"page": 1, "boxes": {"page_mm": page["picture_mm"], "boxes": boxes}}
    reply = site.post(f"/api/reports/{state['id']}/corrections", asked)
    assert code_of(reply) == (422, "layout-impossible")
    assert "V6" in reply.json["message"]
    both = {**asked, "format": "auto"}
    assert code_of(site.post(f"/api/reports/{state['id']}/corrections", both))[0] == 422


def test_a_format_can_be_made_of_a_page_nobody_knows(site: Site, report: bytes) -> None:
    """The boxes of another machine, dragged to where the page has its leads."""
    about = site.get("/api/about").json
    known = next(one for one in about["formats"] if one["id"] == "philips-tc30")
    number = known["layouts"].index("3x4+1R")
    declared = site.get(f"/api/formats/philips-tc30/layouts/{number}").json
    assert len(declared["boxes"]) == 13
    assert code_of(site.get("/api/formats/philips-tc30/layouts/99")) == (404, "layout-unknown")
    state = site.finished(site.send("/api/reports?format=ge-mac1200", report).json["id"])
    (page,) = state["pages"]
    assert page["status"] == "refused"
    asked = {"page_mm": page["picture_mm"], "boxes": declared["boxes"]}
    sent = site.post(f"/api/reports/{state['id']}/corrections", {"page": 1, "boxes": asked})
    after = site.finished(sent.json["id"])
    assert after["pages"][0]["verdict"] == "good"
