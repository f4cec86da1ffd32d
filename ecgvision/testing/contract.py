"""The contract every format passes.

A plugin's test is three lines::

    from ecgvision.testing import FormatContract


    class TestAcme(FormatContract):
        format_id = "acme"

The pages are drawn from the format's own declarations and a synthetic ECG, so the contract says
that a format's declarations are whole and that its hooks keep their promises on them. It cannot
say that the declarations are those of the machine: only real pages can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

import pytest

from ecgvision.detect import GOOD_SCORE, with_header
from ecgvision.evidence import upright
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format, Formats, load_formats
from ecgvision.testing.degrade import as_jpeg, as_png, ink_truth, paper_truth, scanned
from ecgvision.testing.draw import DrawnPage, draw_page
from ecgvision.testing.synthetic import synthetic_ecg
from ecgvision.types import LEADS, Layout, Match, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

LEAST_INK_KEPT = 0.99
"""Share of a trace's ink that removing the grid must keep."""

MOST_PAPER_INKED = 0.001
"""Share of the paper that may be ink once the grid is removed."""

_OFFSET_MM = (3.0, -2.0)
_SKEW_DEG = 0.7
_SCAN_DPI = 200
_INK_LEVEL = 128


class FormatContract:
    """Subclass it with `format_id` set, and pytest checks the installed format of that id."""

    format_id: ClassVar[str] = ""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        """The format under test and its drawn pages, shared by the tests of a class."""
        with TemporaryDirectory() as folder:
            yield Bench(cls.format_id, Path(folder))

    # --- what is declared ---------------------------------------------------------------------

    def test_it_is_installed_and_found_by_all_its_names(self, bench: Bench) -> None:
        info = bench.format.info
        for name in (info.id, info.id.upper(), *info.aliases):
            assert bench.formats.find(name).info.id == info.id, f"{name!r} is another format"
        assert info.vendor, "FormatInfo.vendor is empty"
        assert info.model, "FormatInfo.model is empty"
        assert info.source, "FormatInfo.source does not say where the figures come from"

    def test_every_layout_has_the_twelve_leads_once(self, bench: Bench) -> None:
        for layout in bench.format.layouts:
            leads = [box.lead for box in layout.boxes if not box.rhythm_strip]
            assert sorted(leads) == sorted(LEADS), f"layout {layout.name}: it has {leads}"

    def test_the_layouts_have_names_of_their_own(self, bench: Bench) -> None:
        names = [layout.name for layout in bench.format.layouts]
        assert len(set(names)) == len(names), f"a layout name stands twice: {names}"

    def test_colours_go_with_the_layouts(self, bench: Bench) -> None:
        info = bench.format.info
        if any(layout.grid for layout in bench.format.layouts):
            assert info.grid_rgb, "a layout has a grid, but FormatInfo.grid_rgb names no colour"

    # --- what is recognised -------------------------------------------------------------------

    def test_its_own_pages_are_detected(self, bench: Bench) -> None:
        for layout in bench.format.layouts:
            for kind, page in bench.pages(layout):
                match = bench.detect(page)
                where = f"layout {layout.name}, {kind} page"
                assert match is not None, f"{where}: detect_layout found nothing"
                assert match.score >= GOOD_SCORE, (
                    f"{where}: score {match.score:.2f}: {'; '.join(match.evidence)}"
                )
                assert match.layout.name == layout.name, f"{where}: taken for {match.layout.name}"
                _check_places(where, match, bench.drawn(layout).layout)

    def test_a_blank_page_is_refused(self, bench: Bench) -> None:
        match = bench.detect(bench.blank())
        assert match is None or match.score < GOOD_SCORE, f"a blank page scores {match.score:.2f}"

    def test_the_pages_of_other_formats_are_refused(self, bench: Bench) -> None:
        for other in bench.formats.formats:
            if other.info.id == self.format_id:
                continue
            for layout in other.layouts:
                for kind, page in bench.pages(layout, other):
                    match = bench.detect(page)
                    assert match is None or match.score < GOOD_SCORE, (
                        f"a {kind} page of {other.info.id} {layout.name} is taken for "
                        f"{match.layout.name} with score {match.score:.2f}: "
                        f"{'; '.join(match.evidence)}"
                    )

    # --- what is removed ----------------------------------------------------------------------

    def test_the_grid_goes_and_the_ink_stays(self, bench: Bench) -> None:
        for layout in bench.format.layouts:
            drawn = bench.drawn(layout)
            for kind, page in bench.pages(layout):
                if page.size_mm is None or page.origin == "vector":
                    continue
                where = f"layout {layout.name}, {kind} page"
                ink = bench.format.remove_grid(page, drawn.layout)
                skew = _SKEW_DEG if kind == "scanned" else 0.0
                _check_ink(where, ink, drawn, page.px_per_mm, skew)

    def test_the_trace_of_a_vector_page_stays(self, bench: Bench) -> None:
        for layout in bench.format.layouts:
            drawn = bench.drawn(layout)
            page = bench.page(drawn.pdf, "page.pdf")
            ink = bench.format.remove_grid(page, drawn.layout)
            _check_ink(f"layout {layout.name}, vector page", ink, drawn, page.px_per_mm, 0.0)

    # --- how it behaves -----------------------------------------------------------------------

    def test_nothing_is_changed_and_twice_is_the_same(self, bench: Bench) -> None:
        layout = bench.format.layouts[0]
        for kind, page in bench.pages(layout):
            if page.size_mm is None:
                continue
            before = _digest(page.pixels())
            first, second = bench.detect(page), bench.detect(page)
            assert first == second, f"{kind} page: detect_layout gives two answers"
            assert first is not None, f"{kind} page: detect_layout found nothing"
            level = upright(page, first)
            inks = [bench.format.remove_grid(level, first.layout) for _ in range(2)]
            same = _digest(inks[0]) == _digest(inks[1])
            assert same, f"{kind} page: remove_grid gives two answers"
            assert _digest(page.pixels()) == before, f"{kind} page: its pixels were changed"


class Bench:
    """Draws the pages that a contract needs, each once."""

    def __init__(self, format_id: str, folder: Path) -> None:
        assert format_id, "set format_id to the id of the format to check"
        self.formats: Formats = load_formats()
        self.format: Format = self.formats.find(format_id)
        self._drawn: dict[tuple[str, str], DrawnPage] = {}
        self._files: dict[tuple[str, str], dict[str, tuple[str, bytes]]] = {}
        self._folder = folder

    def drawn(self, layout: Layout, owner: Format | None = None) -> DrawnPage:
        """The layout's page, moved a little as exports are."""
        info = (owner or self.format).info
        key = (info.id, layout.name)
        if key not in self._drawn:
            seconds = max(box.stop_s for box in layout.boxes)
            ecg = synthetic_ecg(seed=len(self._drawn), heart_rate_bpm=67.0, seconds=seconds)
            offset = _OFFSET_MM if owner is None else (0.0, 0.0)
            self._drawn[key] = draw_page(layout, info, ecg, offset_mm=offset)
        return self._drawn[key]

    def pages(self, layout: Layout, owner: Format | None = None) -> Iterator[tuple[str, Page]]:
        """The layout's page as vectors, JPEG and scan; one's own also without a resolution."""
        key = ((owner or self.format).info.id, layout.name)
        if key not in self._files:
            self._files[key] = dict(_files(self.drawn(layout, owner), own=owner is None))
        for kind, (name, content) in self._files[key].items():
            yield kind, self.page(content, name)

    def blank(self) -> Page:
        """A page of the first layout's size with nothing on it."""
        return self.page(PdfCanvas(self.format.layouts[0].page_mm).tobytes(), "blank.pdf")

    def page(self, content: bytes, name: str) -> Page:
        path = self._folder / f"{hashlib.sha256(content).hexdigest()[:12]}-{name}"
        if not path.exists():
            path.write_bytes(content)
        return open_report(path).page(1)

    def detect(self, page: Page) -> Match | None:
        """What the format makes of the page, judged by its printed text as well."""
        match = self.format.detect(page)
        return match and with_header(match, self.format.info, page)


def _files(drawn: DrawnPage, *, own: bool) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """(kind, (file name, content)) of every kind of file a page is tried as."""
    yield "vector", ("vector.pdf", drawn.pdf)
    scan = scanned(drawn.pdf, dpi=_SCAN_DPI, rotation_deg=_SKEW_DEG)
    yield "scanned", ("scanned.pdf", scan)
    if own:
        yield "JPEG", ("page.jpg", as_jpeg(drawn.pdf, quality=75))
        yield "clean", ("page.png", as_png(drawn.pdf, dpi=300))
        yield "unscaled", ("unscaled.png", as_png(drawn.pdf, dpi=150, with_dpi=False))


def _check_places(where: str, match: Match, truth: Layout) -> None:
    """Every box must lie where it was drawn: within 0.6 mm along the paper, 1.5 mm across it."""
    found = {(b.lead, b.rhythm_strip, b.start_s): b for b in match.layout.boxes}
    for due in truth.boxes:
        got = found[(due.lead, due.rhythm_strip, due.start_s)]
        dx = abs(got.box.left_mm - due.box.left_mm)
        dy = abs(got.baseline_mm - due.baseline_mm)
        # A scan is turned about its middle and levelled again: the skew's error moves its edges.
        assert dx <= 0.6, f"{where}: lead {due.lead} is {dx:.2f} mm off across the page"
        assert dy <= 1.5, f"{where}: lead {due.lead} is {dy:.2f} mm off down the page"


def _check_ink(
    where: str, ink: Pixels, drawn: DrawnPage, px_per_mm: float, skew_deg: float
) -> None:
    trace = ink_truth(drawn, px_per_mm, skew_deg)
    paper = paper_truth(drawn, px_per_mm, skew_deg)
    assert ink.shape == trace.shape, f"{where}: remove_grid gave {ink.shape}, not {trace.shape}"
    dark = ink < _INK_LEVEL
    kept, inked = float(dark[trace].mean()), float(dark[paper].mean())
    assert kept >= LEAST_INK_KEPT, f"{where}: only {kept:.2%} of the trace's ink is kept"
    assert inked <= MOST_PAPER_INKED, f"{where}: {inked:.3%} of the paper is inked"


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


__all__: Sequence[str] = ("LEAST_INK_KEPT", "MOST_PAPER_INKED", "Bench", "FormatContract")
