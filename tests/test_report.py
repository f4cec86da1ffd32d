"""`ecgvision report`: the numbers of manifests whose truth is known, read back from the page."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw, ImageFont

import ecgvision
from ecgvision.archive.journal import JOURNAL, Journal
from ecgvision.archive.manifest import compact
from ecgvision.archive.rows import PageRow, escaped, schema
from ecgvision.cli.common import Commands
from ecgvision.cli.reporting import report as report_command
from ecgvision.plugins import Format
from ecgvision.report import thumbnails, write_report
from ecgvision.report.figures import count
from ecgvision.report.manifest import open_manifest
from ecgvision.report.reasons import QUALITY, REASONS
from ecgvision.report.throughput import Clock
from ecgvision.testing import Ecg, draw_page

START = datetime(2026, 3, 2, 20, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> &amp; {{ 7 * 7 }}"


def row(source: str = "a.pdf", page: int = 1, status: str = "done", **rest: Any) -> dict[str, Any]:
    """A row of a manifest: a page that came out, unless told."""
    plain = PageRow(
        source,
        source_sha256="0" * 64,
        source_bytes=1000,
        source_mtime_ns=1,
        page=page,
        pages=1,
        status="done",
        origin="vector",
        format="philips-tc30",
        layout="3x4+1R",
        score=0.9,
        speed_mm_per_s=25.0,
        gain_mm_per_mv=10.0,
        speed_from="text",
        gain_from="pulse",
        quality="good",
        outputs=["a.png"],
        seconds=0.5,
        options="0123abcd",
        year=2020,
        finished_at=START.isoformat(),
        versions={"ecgvision": "1.2", "python": "3.12"},
        root="/nowhere",
    ).as_record()
    unknown = dict.fromkeys(("speed_mm_per_s", "gain_mm_per_mv", "score"))
    blank = dict.fromkeys(("format", "layout", "speed_from", "gain_from", "quality", "origin"), "")
    told = {"status": status} | rest
    return plain | (unknown | blank if status == "failed" else {}) | told


def write_manifest(out: Path, rows: Iterable[Mapping[str, Any]], times: int = 1) -> Path:
    """The manifest in the folder `out`: the rows, written `times` times, in row groups."""
    out.mkdir(exist_ok=True, parents=True)
    table = pa.Table.from_pylist(list(rows), schema())
    with pq.ParquetWriter(out / "manifest.parquet", table.schema) as writer:
        for _ in range(times):
            writer.write_table(table, row_group_size=5000)
    return out


class Html(HTMLParser):
    """What a reader finds: tables by section, texts by section, every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.text: dict[str, str] = {}
        self._section, self._cell = "head", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.append((tag, known))
        if tag == "section":
            self._section = known["id"]
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        self.text[self._section] = f"{self.text.get(self._section, '')} {words}".strip()
        if self._cell:
            rows = self.rows[self._section]
            rows[-1][-1] = f"{rows[-1][-1]} {words}".strip()

    def numbers(self, section: str, label: str) -> list[str]:
        """The cells of the one row whose first cell begins with the label."""
        found = [cells[1:] for cells in self.rows[section] if cells[0].startswith(label)]
        assert len(found) == 1, (label, self.rows[section])
        return found[0]


def made(out: Path, **options: Any) -> Html:
    path = write_report(out, **options).path
    return Html(path.read_text("utf-8"))


def called(*args: str | Path) -> Result:
    @click.group(cls=Commands)
    def main() -> None:
        pass

    main.add_command(report_command)
    return CliRunner().invoke(main, ["report", *map(str, args)])


# --- numbers -------------------------------------------------------------------------------------


def known_rows() -> list[dict[str, Any]]:
    """Ten pages of eight files: 6 done, 2 refused, 2 failed."""
    muse = {"format": "ge-muse", "layout": "3x4", "year": 2021, "origin": "scan"}
    no_format = {"format": "", "layout": "", "quality": "", "reason": "format-not-found"}
    return [
        row("a.pdf", 1, seconds=1.0),
        row("a.pdf", 2, seconds=2.0),
        row("a.pdf", 3, "refused", **no_format, seconds=3.0),
        row("b.pdf", seconds=4.0, findings=["jump", "jump", "clipped"], quality="doubtful"),
        row("c.pdf", seconds=5.0, findings=["jump"], quality="doubtful"),
        row("d.pdf", seconds=6.0, warnings=["lead-clipped"], gain_mm_per_mv=5.02, **muse),
        row("e.pdf", seconds=7.0, speed_from="grid", speed_mm_per_s=49.9, **muse),
        row("f.pdf", 1, "refused", reason="quality-refused", quality="refused", **muse),
        row("g.pdf", 0, "failed", reason="pdf-damaged", seconds=8.0, year=None),
        row("h.pdf", 0, "failed", reason="pdf-damaged", seconds=99.0, year=2024, attempts=2),
    ]


@pytest.fixture
def known(tmp_path: Path) -> Html:
    return made(write_manifest(tmp_path / "out", known_rows()), thumbnails=False)


def test_counts_pages_and_files(known: Html, tmp_path: Path) -> None:
    text = known.text["summary"]
    assert "done 6 pages · 60.0 % 4 files" in text
    assert "refused 2 pages · 20.0 % 2 files" in text
    assert "failed 2 pages · 20.0 % 2 files" in text
    assert "pages 10 files 8 size of the files 8 kB median page 4.5 s" in text
    summary = write_report(tmp_path / "out")
    assert (summary.pages.total, summary.files.total) == (10, 8)
    assert (summary.files.done, summary.files.refused, summary.files.failed) == (4, 2, 2)


def test_says_why_and_what_to_do(known: Html) -> None:
    assert known.numbers("reasons", "Damaged PDF pdf-damaged") == ["2", "20.0 %", "0", "2"]
    assert known.numbers("reasons", "No format fits") == ["1", "10.0 %", "1", "0"]
    assert known.numbers("reasons", "Signals refused") == ["1", "10.0 %", "1", "0"]
    text = known.text["reasons"]
    assert REASONS["pdf-damaged"].meaning in text
    assert f"What to do: {REASONS['pdf-damaged'].remedy}" in text
    assert "All 2 pages" in text
    assert "g.pdf" in text
    assert "a.pdf , page 3" in text
    assert "b.pdf" not in text


def test_quality_verdicts_and_findings(known: Html) -> None:
    assert known.numbers("quality", "good") == ["4", "40.0 %"]
    assert known.numbers("quality", "doubtful") == ["2", "20.0 %"]
    assert known.numbers("quality", "refused") == ["1", "10.0 %"]
    assert known.numbers("quality", "signals not read") == ["3", "30.0 %"]
    assert known.numbers("quality", "Step in a lead jump")[0] == "2"  # pages, not findings
    assert known.numbers("quality", "Clipped lead clipped")[0] == "1"
    assert known.numbers("quality", "Lead leaves its box")[0] == "1"


def test_formats_years_and_scales(known: Html) -> None:
    assert known.numbers("formats", "philips-tc30, 3x4+1R") == ["4", "40.0 %", "0", "0"]
    assert known.numbers("formats", "ge-muse, 3x4") == ["3", "30.0 %", "1", "0"]
    assert known.numbers("formats", "none found") == ["3", "30.0 %", "1", "2"]
    assert known.numbers("formats", "PDF with a scanned page") == ["3", "30.0 %", "1", "0"]
    assert known.numbers("years", "2020") == ["5", "4", "1", "0"]
    assert known.numbers("years", "2021") == ["3", "2", "1", "0"]
    assert known.numbers("years", "2022") == ["0", "0", "0", "0"]  # no gap in the axis
    assert known.numbers("years", "2024") == ["1", "0", "0", "1"]
    assert "1 pages have none" in known.text["years"]
    assert known.numbers("scales", "speed from printed text, gain from calibr")[0] == "7"
    assert known.numbers("scales", "speed from grid, gain from calibration pulse")[0] == "1"
    assert known.numbers("scales", "25 mm/s")[0] == "7"
    assert known.numbers("scales", "50 mm/s")[0] == "1"
    assert known.numbers("scales", "5 mm/mV")[0] == "1"


def test_slowest_first(known: Html) -> None:
    slowest = [cells[:2] for cells in known.rows["slowest"][1:]]
    assert slowest[:3] == [["h.pdf", "1 min 39 s"], ["g.pdf", "8.0 s"], ["e.pdf , page 1", "7.0 s"]]
    assert len(slowest) == 10
    assert "the slowest 1 min 39 s" in known.text["throughput"]
    assert "1 pages needed a second attempt" in known.text["throughput"]


def test_slowest_of_many_in_any_order(tmp_path: Path) -> None:
    seconds = np.random.default_rng(1).permutation(500) / 10
    rows = [row(f"{k}.pdf", seconds=float(s)) for k, s in enumerate(seconds)]
    figures = count(rows)
    assert [one.seconds for one in figures.slowest] == [(499 - k) / 10 for k in range(10)]
    assert figures.durations.median_s == pytest.approx(24.95)
    assert figures.durations.p95_s == pytest.approx(47.405)


def test_an_empty_manifest_gives_a_report(tmp_path: Path) -> None:
    html = made(write_manifest(tmp_path / "out", []))
    assert "The manifest has no pages" in html.text["summary"]
    assert "No page was refused or failed" in html.text["reasons"]


def test_blank_and_missing_values_are_counted(tmp_path: Path) -> None:
    empty = dict.fromkeys(schema().names) | {"source": "a.pdf", "status": "failed"}
    html = made(write_manifest(tmp_path / "out", [empty, row(year=1, seconds=float("nan"))]))
    assert html.numbers("reasons", "Reason without an explanation no code")[0] == "1"
    assert "1 pages do not tell when they were finished" in html.text["head"]


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "out", known_rows())
    first = write_report(out).path.read_bytes()
    assert write_report(out).path.read_bytes() == first


def test_examples_are_few_and_of_different_files() -> None:
    pages = [
        row(f"{k // 50}.pdf", k % 50 + 1, "refused", reason="format-not-found") for k in range(1000)
    ]
    (reason,) = count(pages).reasons
    sources = [one.source for one in reason.examples]
    assert len(sources) == len(set(sources)) == 6


def test_reads_what_a_run_writes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    rows = known_rows()
    with Journal(out / JOURNAL) as journal:
        journal.append({"kind": "run", "roots": [str(tmp_path)]})
        for source in sorted({one["source"] for one in rows}):
            of_it = [one | {"outputs": []} for one in rows if one["source"] == source]
            journal.append({"kind": "file", "source": source, "rows": of_it})
    compact(out)
    summary = write_report(out)
    assert (summary.pages.done, summary.pages.refused, summary.pages.failed) == (6, 2, 2)
    assert summary.files.total == 8
    assert "A run is going on" not in summary.path.read_text("utf-8")


# --- throughput ----------------------------------------------------------------------------------


def test_pages_per_second_with_a_pause() -> None:
    clock = Clock()
    for k in range(1200):  # 2 a second for 10 minutes, and after an hour 4 a second for 5 minutes
        clock.add((START + timedelta(seconds=(k + 1) / 2)).isoformat(), 0.5)
        late = START + timedelta(hours=1, seconds=(k + 1) / 4)
        clock.add(late.isoformat().replace("+00:00", "Z"), 0.25)
    run = clock.throughput()
    slow, fast = run.stretches
    assert run.pages == 2400
    assert run.seconds == pytest.approx(900)
    assert [spell.pages_per_s for spell in slow] == pytest.approx([2.0] * len(slow), rel=0.1)
    assert [spell.pages_per_s for spell in fast] == pytest.approx([4.0] * len(fast), rel=0.1)
    assert sum(spell.pages for spell in slow) == sum(spell.pages for spell in fast) == 1200
    assert slow[0].start_s == START.timestamp()


def test_throughput_of_months_takes_little_room() -> None:
    clock = Clock()
    for k in range(20_000):
        clock.add((START + timedelta(minutes=7 * k)).isoformat(), 400.0)
    run = clock.throughput()
    spells = [spell for stretch in run.stretches for spell in stretch]
    assert len(clock._bins) <= 4096
    assert len(spells) <= 130
    assert run.pages == 20_000
    assert run.pages_per_s == pytest.approx(1 / 420, rel=0.01)


def test_one_page_and_wrong_times() -> None:
    clock = Clock()
    clock.add(START.isoformat(), 2.0)
    clock.add("yesterday", 1.0)
    clock.add(None, 1.0)
    run = clock.throughput()
    assert (run.pages, clock.untimed) == (1, 2)
    assert run.pages_per_s == pytest.approx(0.5)
    assert Clock().throughput().pages_per_s == 0


# --- the page ------------------------------------------------------------------------------------


def all_hostile() -> list[dict[str, Any]]:
    names = ("reason", "message", "origin", "format", "layout", "speed_from", "gain_from")
    told = {name: f"{name} {HOSTILE}" for name in (*names, "quality", "options", "versions")}
    lists = {"findings": [f"finding {HOSTILE}"], "warnings": [f"warning {HOSTILE}"]}
    versions = json.dumps({f"ecgvision {HOSTILE}": "1"})
    return [
        row(f"{HOSTILE}/a.pdf", 1, "refused", **told, **lists, seconds=5.0),
        row(f"{HOSTILE}/b.pdf", versions=versions),
    ]


def test_needs_no_network_and_no_script(tmp_path: Path) -> None:
    path = write_report(write_manifest(tmp_path / HOSTILE.replace("/", "-"), all_hostile())).path
    text = path.read_text("utf-8")
    html = Html(text)
    tags = {tag for tag, _ in html.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "image"}
    names = {name for _, attrs in html.tags for name in attrs}
    assert not {name for name in names if name.startswith("on")}
    for _, attrs in html.tags:
        assert attrs.get("src", "data:").startswith("data:")
        assert attrs.get("href", "#").startswith("#")
        assert not {"srcset", "xlink:href", "action", "background", "poster"} & set(attrs)
    assert not re.search(r"https?://|url\(|@import", text)


def test_hostile_strings_are_shown_as_they_are(tmp_path: Path) -> None:
    html = made(write_manifest(tmp_path / "out", all_hostile()))
    told = " ".join(HOSTILE.split())
    everything = " ".join(html.text.values())
    for name in ("reason", "message", "finding", "warning", "format", "ecgvision"):
        assert f"{name} {told}" in everything
    assert "49" not in everything.replace(told, "")
    assert not [tag for tag, _ in html.tags if tag == "img"]


def test_charts_are_described(known: Html) -> None:
    charts = [attrs for tag, attrs in known.tags if tag == "svg" and attrs.get("role") == "img"]
    ids = {attrs["id"] for _, attrs in known.tags if "id" in attrs}
    assert len(charts) == 2
    for chart in charts:
        assert set(chart["aria-labelledby"].split()) <= ids
    bars = [attrs for tag, attrs in known.tags if tag == "svg" and attrs.get("class") == "bar"]
    assert bars
    assert all(attrs["aria-hidden"] == "true" for attrs in bars)
    links = {attrs["href"][1:] for tag, attrs in known.tags if tag == "a"}
    assert links <= ids


def test_thousands_of_layouts_are_summed_up(tmp_path: Path) -> None:
    rows = [row(f"{k}.pdf", layout=f"layout {k}") for k in range(300)]
    html = made(write_manifest(tmp_path / "out", rows))
    assert html.numbers("formats", "260 others")[0] == "260"


def test_different_options_and_versions_are_remarked(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "out", [row(), row("b.pdf", options="x", versions="not json")])
    (out / JOURNAL).write_text("{}\n")
    head = made(out).text["head"]
    assert "2 different sets of options" in head
    assert "2 different versions" in head
    assert "A run is going on or was stopped" in head


# --- memory --------------------------------------------------------------------------------------


MEASURED = """
import resource, sys
from pathlib import Path
from ecgvision.report.figures import count
from ecgvision.report.manifest import open_manifest

for folder in sys.argv[1:]:
    figures = count(open_manifest(Path(folder)).rows())
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(figures.pages.total, figures.pages.refused, figures.files.total, peak_kb)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the peak memory in kB")
def test_100000_rows_take_little_more_than_a_few(tmp_path: Path) -> None:
    rows = [
        row(f"ward/{k}.pdf", 1, "refused" if k % 9 == 0 else "done", reason="format-not-found")
        for k in range(10_000)
    ]
    few = write_manifest(tmp_path / "few", rows)
    many = write_manifest(tmp_path / "many", rows, times=10)
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, few, many],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    (*small, first_kb), (*large, then_kb) = (map(int, line.split()) for line in told.splitlines())
    assert small == [10_000, 1112, 10_000]
    assert large == [100_000, 11_120, 10_000]
    assert then_kb - first_kb < 40_000  # all rows at once would be some 150 MB


# --- pictures ------------------------------------------------------------------------------------


def refused(root: Path, path: Path, **rest: Any) -> dict[str, Any]:
    """The row of a file that lies under `root`."""
    stat = path.stat()
    known = {"source_bytes": stat.st_size, "source_mtime_ns": stat.st_mtime_ns}
    told = {"reason": "format-not-found"} | known | rest
    name = escaped(path.relative_to(root).as_posix())
    return row(name, 1, "refused", root=str(root), **told)


def pictures(html: Html) -> list[np.ndarray]:
    found = []
    for tag, attrs in html.tags:
        if tag == "img":
            png = base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,"))
            found.append(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))
    return found


@pytest.fixture
def archive(tmp_path: Path, formats: dict[str, Format], ecg: Ecg) -> Path:
    """A folder with a report page in a sub-folder."""
    chosen = formats["philips-tc30"]
    folder = tmp_path / "in" / "ward"
    folder.mkdir(parents=True)
    (folder / "a.pdf").write_bytes(draw_page(chosen.layouts[0], chosen.info, ecg).pdf)
    return tmp_path / "in"


def test_pictures_of_pages_that_did_not_come_out(archive: Path, tmp_path: Path) -> None:
    rows = [refused(archive, archive / "ward" / "a.pdf"), row("ward/other.pdf")]
    html = made(write_manifest(tmp_path / "out", rows))
    (picture,) = pictures(html)
    assert picture.shape == (40, 24, 3)
    # Four rows of leads are seen as four dark bands.
    dark = picture.astype(float).mean(axis=2).mean(axis=1)
    assert dark.max() - dark.min() > 20
    archive.rename(tmp_path / "moved")
    assert not pictures(made(tmp_path / "out"))
    assert len(pictures(made(tmp_path / "out", sources=tmp_path / "moved"))) == 1


def test_no_picture_where_there_can_be_none(archive: Path, tmp_path: Path) -> None:
    page, garbage = archive / "ward" / "a.pdf", archive / "b.pdf"
    garbage.write_bytes(b"%PDF-1.7 nothing")
    gone = refused(archive, page) | {"source": "ward/gone.pdf"}
    cases = {
        "source changed since": refused(archive, page, source_mtime_ns=1),
        "source not found": gone,
        "not opened again, as it stopped a worker": refused(archive, page, reason="timed-out"),
        "cannot be drawn": refused(archive, garbage, reason="pdf-damaged"),
    }
    for why, one in cases.items():
        html = made(write_manifest(tmp_path / "out", [one]))
        assert f"no picture: {why}" in html.text["reasons"]
        assert not pictures(html)
    out = write_manifest(tmp_path / "out", [refused(archive, page)])
    html = made(out, thumbnails=False)
    assert not pictures(html)
    assert "Pictures of the pages were not asked for" in html.text["reasons"]


def test_names_that_are_no_text_are_found(archive: Path, tmp_path: Path) -> None:
    odd = archive / os.fsdecode(b"b\xff\n.pdf")
    try:
        (archive / "ward" / "a.pdf").rename(odd)
    except OSError as error:
        pytest.skip(f"this file system takes no such names: {error}")
    html = made(write_manifest(tmp_path / "out", [refused(archive, odd)]))
    assert len(pictures(html)) == 1
    assert "b\\udcff" in html.text["reasons"]
    nul = row("a\0.pdf", 1, "refused", reason="format-not-found")
    html = made(write_manifest(tmp_path / "out", [nul, nul | {"source": ""}]))
    assert "no picture: source not found" in html.text["reasons"]


def crash(source: Path, number: int) -> None:
    os._exit(3)


def test_a_page_that_kills_its_process_costs_its_picture_only(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_manifest(tmp_path / "out", [refused(archive, archive / "ward" / "a.pdf")])
    monkeypatch.setattr(thumbnails, "draw", crash)
    html = made(out)
    assert "no picture: cannot be drawn" in html.text["reasons"]


def lettered(name: str, cap_mm: float, px_per_mm: float = 10) -> np.ndarray:
    """An A4 page, landscape, with the name in capitals of that height."""
    page = Image.new("RGB", (round(297 * px_per_mm), round(210 * px_per_mm)), "white")
    font = ImageFont.load_default(size=cap_mm * px_per_mm * 1.38)
    ImageDraw.Draw(page).text((20 * px_per_mm, 40 * px_per_mm), name, font=font, fill="black")
    return np.asarray(page)


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("cap_mm", [3, 5])
def test_print_cannot_be_read_on_pictures(cap_mm: float, turns: int) -> None:
    """Names of the same letters look the same: how much ink there is can be seen, not which."""
    names = ("MARTENSEN", "NESTERMAN", "STERNAMEN")
    views = [thumbnails.cells(np.rot90(lettered(name, cap_mm), turns)) for name in names]
    ink = [255.0 - view for view in views]
    for one in ink:
        assert one.shape == (40, 24, 3)
        assert one.max() > 100  # the name leaves a mark,
        assert (one.max(axis=2) > 20).sum() < 2 * len(names[0])  # two cells a letter at most
    for other in ink[1:]:
        assert np.corrcoef(ink[0].ravel(), other.ravel())[0, 1] > 0.98


# --- errors and files ----------------------------------------------------------------------------


def torn(out: Path) -> None:
    data = (out / "manifest.parquet").read_bytes()
    (out / "manifest.parquet").write_bytes(data[: len(data) // 2])


def broken_inside(out: Path) -> None:
    """Head and foot are whole, the data between them is not."""
    data = bytearray((out / "manifest.parquet").read_bytes())
    data[4 : len(data) // 3] = b"\xff" * (len(data) // 3 - 4)
    (out / "manifest.parquet").write_bytes(data)


def foreign(out: Path) -> None:
    pq.write_table(pa.table({"source": ["a.pdf"]}), out / "manifest.parquet")


def other_status(out: Path) -> None:
    write_manifest(out, [row(status="withdrawn")])


def other_types(out: Path) -> None:
    table = pa.Table.from_pylist([row() | {"seconds": "long", "source_bytes": "large"}])
    pq.write_table(table, out / "manifest.parquet")


def empty_file(out: Path) -> None:
    (out / "manifest.parquet").write_bytes(b"")


@pytest.mark.parametrize(
    "spoil", [torn, broken_inside, foreign, other_status, other_types, empty_file]
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    out = write_manifest(tmp_path / "out", [row(f"{k}.pdf") for k in range(2000)])
    spoil(out)
    result = called(out)
    assert result.exit_code == 1
    assert "[manifest-unreadable]" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (out / "report.html").exists()


def test_no_manifest_or_a_run_that_has_not_ended(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = called(tmp_path / "out")
    assert result.exit_code == 1
    assert "[manifest-missing]" in result.stderr
    with Journal(tmp_path / "out" / JOURNAL) as journal:
        for k in range(3):
            journal.append({"kind": "file", "source": f"{k}.pdf", "rows": []})
    result = called(tmp_path / "out")
    assert result.exit_code == 1
    assert "with 3 files done" in result.stderr
    assert "[run-unfinished]" in result.stderr
    assert "goes on where it stopped" in result.stderr


def test_folders_that_do_not_exist(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "out", [row()])
    assert called(tmp_path / "none").exit_code == 2
    assert called(out, "--sources", tmp_path / "none").exit_code == 2
    assert called(out, "-o", tmp_path).exit_code == 2
    result = called(out, "-o", out / "manifest.parquet", "--force")
    assert result.exit_code == 2
    assert open_manifest(out).row_count == 1


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "out", known_rows())
    result = called(out)
    assert result.exit_code == 0
    assert "10 pages of 8 files: 6 done, 2 refused, 2 failed" in result.stdout
    assert called(out).exit_code == 0
    other = tmp_path / "mine.html"
    other.write_text("mine")
    result = called(out, "-o", other)
    assert result.exit_code == 1
    assert "[output-exists]" in result.stderr
    assert other.read_text() == "mine"
    assert called(out, "-o", other, "--force").exit_code == 0
    assert "Archive report" in other.read_text()
    assert sorted(path.name for path in out.iterdir()) == ["manifest.parquet", "report.html"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "out", [row()])
    (tmp_path / "file").write_text("")
    result = called(out, "-o", tmp_path / "file" / "report.html")
    assert result.exit_code == 1
    assert "[output-unwritable]" in result.stderr


# --- words ---------------------------------------------------------------------------------------


def test_every_reason_code_is_explained() -> None:
    """The codes of all page errors in the package's own source."""
    error = re.compile(
        r"(?:(?:Page|Unreadable|NoMatch|Writer)Error|_refused)\("
        r'\s*(?:document,\s*)?"([a-z0-9-]+)"'
    )
    codes = {
        code
        for path in Path(ecgvision.__file__).parent.rglob("*.py")
        # What `predict` says stands in no manifest.
        if path.parent.name not in ("report", "predicting")
        for code in error.findall(path.read_text("utf-8"))
        if not code.startswith(("redaction-", "manifest-"))  # these stand in no manifest
    }
    assert len(codes) > 20
    assert codes - set(REASONS) == set()
    for words in REASONS.values():
        assert words.meaning.endswith(".")
        assert words.remedy.endswith(".")


def test_every_finding_and_warning_has_a_title() -> None:
    noted = re.compile(r'(?:Finding|Notice)\(\s*"([a-z0-9-]+)"')
    codes = {
        code
        for path in Path(ecgvision.__file__).parent.rglob("*.py")
        if path.parent.name != "predicting"
        for code in noted.findall(path.read_text("utf-8"))
    }
    assert len(codes) > 20
    assert codes - set(QUALITY) == set()
