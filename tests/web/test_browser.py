"""The page in a browser: what a person sees, drags, takes away, and cannot do."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecgvision.layout_file import load_layout_file
from ecgvision.web.languages import words
from ecgvision.web.settings import NOTICE, Settings
from tests.web.conftest import Site, running

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_PATIENCE_MS = 180_000
WIDE, NARROW = 1280, 390

pytestmark = pytest.mark.skipif(
    _CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
sync_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def sheet(tmp_path: Path, report: bytes) -> Path:
    path = tmp_path / "ward 7.pdf"
    path.write_bytes(report)
    return path


class Screen:
    """The page in a window, with what went wrong in it and what it asked for."""

    def __init__(self, browser: Any, site: Site, width: int, query: str = "") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(_PATIENCE_MS)
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{site.url}/{query}")
        self.page.wait_for_selector("html[data-ready], .refusal")

    def _console(self, message: Any) -> None:
        # A refusal of the server is told as an error of the network: it is asked for.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    def send(self, *paths: Path) -> None:
        self.page.set_input_files("#files", [str(path) for path in paths])

    def read(self, path: Path) -> None:
        self.send(path)
        self.page.wait_for_selector(".card img[src]")

    def decoded(self, image: str) -> None:
        """Wait until the picture is there; it is one."""
        width = "async picture => (await picture.decode(), picture.naturalWidth)"
        assert self.page.locator(image).evaluate(width) > 300

    def serious(self) -> list[str]:
        found = sync_playwright.Axe().run(self.page).response["violations"]
        bad = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {node['html'][:200]}" for one in bad for node in one["nodes"]]

    def overflows(self) -> bool:
        script = "document.documentElement.scrollWidth > window.innerWidth"
        return bool(self.page.evaluate(script))


@pytest.fixture
def screen(browser: Any, site: Site) -> Iterator[Any]:
    """Opens the page; at the end nothing went wrong, and no other host was asked."""
    opened: list[Screen] = []

    def at(width: int = WIDE, query: str = "?lang=en") -> Screen:
        opened.append(Screen(browser, site, width, query))
        return opened[-1]

    yield at
    for one in opened:
        own = (site.url, f"blob:{site.url}")
        assert one.wrong == []
        assert [url for url in one.asked if not url.startswith(own)] == []
        one.page.close()


@pytest.mark.parametrize(("width", "language"), [(WIDE, "en"), (NARROW, "th")])
def test_a_report_is_shown(screen: Any, sheet: Path, width: int, language: str) -> None:
    told = words(language)
    shown = screen(width, f"?lang={language}")
    assert not shown.overflows()
    shown.read(sheet)
    page = shown.page
    assert page.locator("html").get_attribute("lang") == language
    assert page.locator(".notice").inner_text() == told["notice"]
    facts = page.locator(".facts").inner_text()
    for words_due in ("Philips PageWriter TC30", "25 mm/s", "10 mm/mV", told["from.text"]):
        assert words_due in facts
    assert told["verdict.good"] in facts
    for title in ("Infarction", "Conduction"):
        assert title in facts
    assert re.search(r"\d+\.\d ?%", facts)
    assert told["notice"] in facts
    assert "201 shares" in facts
    assert told["risk.middle"] not in page.locator(".probability").first.inner_text()
    page.check("#risk")
    assert page.locator(".probability .badge").count() == 2
    assert "30" in page.locator(".answer").first.inner_text()
    for tab in page.locator(".tabs button").all():
        tab.click()
        shown.decoded(".frame img[src]")
    assert told["heat.note"] in page.locator(".pictures").inner_text()
    assert not shown.overflows()
    assert shown.serious() == []


def test_languages_change_in_place(screen: Any, sheet: Path) -> None:
    shown = screen()
    shown.read(sheet)
    shown.page.select_option("#language", "th")
    thai = words("th")
    shown.page.get_by_text(thai["page.recognised"], exact=True).wait_for()
    assert shown.page.locator("#intake-title").inner_text() == thai["intake.title"]
    assert words("en")["download.title"] not in shown.page.locator("main").inner_text()


def test_a_wrong_file_and_an_empty_page_say_why(screen: Any, tmp_path: Path) -> None:
    from PIL import Image

    wrong, blank = tmp_path / "letter.pdf", tmp_path / "cover.png"
    wrong.write_bytes(b"Dear colleague")
    Image.new("L", (700, 500), 255).save(blank)
    shown = screen()
    shown.send(wrong, blank)
    told = words("en")
    first, second = (shown.page.locator(".report").nth(k) for k in (0, 1))
    first.locator(".state-failed").wait_for()
    assert told["reason.file-type-unknown"] in first.inner_text()
    second.locator(".card").wait_for()
    assert told["reason.format-not-found"] in second.inner_text()
    assert "%" not in second.locator(".facts").inner_text()
    assert shown.serious() == []


def test_boxes_are_dragged_and_read_again(screen: Any, sheet: Path, tmp_path: Path) -> None:
    shown = screen()
    shown.read(sheet)
    page = shown.page
    page.get_by_role("button", name="Correct this page").click()
    shown.decoded(".stage img[src]")
    box = page.locator('.lead-box[data-lead="V2"]')
    before = box.bounding_box()
    page.mouse.move(before["x"] + 20, before["y"] + 20)
    page.mouse.down()
    page.mouse.move(before["x"] + 26, before["y"] + 22, steps=4)
    page.mouse.up()
    after = page.locator('.lead-box[data-lead="V2"]').bounding_box()
    assert after["x"] - before["x"] == pytest.approx(6, abs=1)
    left_mm = float(page.get_by_label("Left", exact=True).input_value())
    page.keyboard.press("ArrowRight")
    assert float(page.get_by_label("Left", exact=True).input_value()) == pytest.approx(
        left_mm + 0.5, abs=0.06
    )
    assert shown.serious() == []
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as layout file").click()
    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    lead = next(one for one in load_layout_file(path).layouts[0].twelve if one.lead == "V2")
    assert lead.box.left_mm == pytest.approx(left_mm + 0.5, abs=0.06)
    page.get_by_role("button", name="Read again with these boxes").click()
    page.get_by_text("Corrected by hand").wait_for()
    page.get_by_role("button", name="Close").click()
    assert page.locator(".verdict-good, .verdict-doubtful, .verdict-refused").count() == 1


def test_downloads_come_with_the_notice(screen: Any, sheet: Path) -> None:
    shown = screen(NARROW)
    shown.read(sheet)
    page = shown.page
    for name in ("Signals (CSV)", "Signals (WFDB)", "Normalised image", "Download all as ZIP"):
        with page.expect_download() as coming:
            page.get_by_role("button", name=name).click()
        content = Path(coming.value.path()).read_bytes()
        assert "research-only" in coming.value.suggested_filename
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.read("NOTICE.txt").decode().strip() == NOTICE
    with page.expect_download() as coming:
        page.get_by_role("button", name="Summary (PDF)").click()
    assert Path(coming.value.path()).read_bytes().startswith(b"%PDF-")
    assert coming.value.suggested_filename == "ward 7-p1-summary-research-only.pdf"


def test_a_report_goes_when_it_is_removed(screen: Any, site: Site, sheet: Path) -> None:
    before = set(site.folders())
    shown = screen()
    shown.read(sheet)
    assert set(site.folders()) > before
    with shown.page.expect_response(lambda one: one.request.method == "DELETE"):
        shown.page.get_by_role("button", name="Remove all").click()
    assert set(site.folders()) == before
    assert shown.page.locator(".report").count() == 0


def test_the_token_stands_behind_the_address(browser: Any, tmp_path: Path) -> None:
    with running(Settings(token="secret-of-this-test"), tmp_path) as site:
        bare = Screen(browser, site, WIDE)
        assert words("en")["reason.token-missing"] in bare.page.locator(".refusal").inner_text()
        known = Screen(browser, site, WIDE, "#token=secret-of-this-test")
        assert known.page.locator(".refusal").count() == 0
        assert words("en")["model.none"] in known.page.locator("#model").inner_text()
        bare.page.close()
        known.page.close()
