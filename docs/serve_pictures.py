"""Takes the pictures of docs/serve.md: a drawn report on the page, in the system's Chromium.

python docs/serve_pictures.py ADDRESS docs/pictures

ADDRESS is that of a running `ecgvision serve`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pictures import draw
from playwright.sync_api import Page, sync_playwright

_SIZE = {"width": 1280, "height": 900}


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    address, out = arguments[0], Path(arguments[1])
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = draw(Path(folder) / "ward-7.pdf", "philips-tc30", "3x4+1R", scan=False)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=_SIZE, device_scale_factor=1)
        page.set_default_timeout(120_000)
        page.goto(f"{address}?lang=en")
        page.set_input_files("#files", str(report))
        page.wait_for_selector(".card img[src]")
        page.get_by_role("button", name="Signal on the page").click()
        _shoot(page, out / "serve.png", ".frame img")
        page.get_by_role("button", name="Correct this page").click()
        _shoot(page, out / "serve-boxes.png", ".stage img", only=".card")
        browser.close()
    return 0


def _shoot(page: Page, path: Path, image: str, only: str | None = None) -> None:
    """The whole page, or a part of it, once its picture is there."""
    page.locator(f"{image}[src]").evaluate("picture => picture.decode()")
    if only is None:
        page.screenshot(path=path, full_page=True)
    else:
        page.locator(only).screenshot(path=path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
