"""Nothing of a patient gets out: all bytes of all outputs are searched, all pixels compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.media.canvas import PdfCanvas
from ecgvision.testing import as_png
from ecgvision.types import Box
from tests.planted import (
    OTHER_PATIENT,
    PATIENT,
    PLACES,
    SECRET,
    SECRETS,
    drawn,
    found_in,
    pdf_with,
    planted_files,
)

ALL_SIGNALS = [f"--signals={kind}" for kind in ("npz", "csv", "wfdb", "dicom")]
# The one thing that two files of the same page may differ in.
_HASHES = re.compile(rb'"sha256": "[0-9a-f]{64}"')


@dataclass(frozen=True)
class Run:
    """What a run left: all files below its output folder, and what it printed."""

    exit_code: int
    printed: str
    files: dict[str, bytes] = field(repr=False)

    def leaks(self) -> dict[str, set[str]]:
        """The planted words by where they were found."""
        places = {
            name: found_in(data) | found_in(name.encode()) for name, data in self.files.items()
        }
        places["printed"] = found_in(self.printed.encode())
        return {place: words for place, words in places.items() if words}


def convert(
    folder: Path, inputs: dict[str, bytes], *options: str, named: Sequence[str] = ()
) -> Run:
    """All inputs in one run with pictures, signals of all kinds and pictures to check them by."""
    for name, data in inputs.items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(data)
    command = ["convert", *(named or ["in"]), "-o", "out", "--qc", *ALL_SIGNALS, *options]
    with chdir(folder):
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    out = folder / "out"
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    return Run(done.exit_code, done.output, files)


@pytest.fixture(scope="module")
def plain_page() -> bytes:
    return drawn(patient=("Name:",))


@pytest.mark.parametrize("place", PLACES)
def test_the_search_finds_what_is_planted(place: str, plain_page: bytes) -> None:
    assert not found_in(plain_page)
    assert len(found_in(pdf_with([place], plain_page))) >= 3


@pytest.mark.parametrize("name", list(planted_files()))
def test_every_planted_file_names_the_patient(name: str) -> None:
    assert found_in(planted_files()[name]) == set(SECRETS)


@pytest.mark.parametrize(
    "data",
    [
        SECRET.encode(),
        SECRET.lower().encode("utf-16-le"),
        b"\xfe\xff" + SECRET.encode("utf-16-be"),
        SECRET.encode().hex().encode(),
    ],
    ids=["plain", "utf-16-le", "utf-16-be", "hex"],
)
def test_the_search_reads_other_spellings(data: bytes) -> None:
    assert found_in(b"before " + data + b" after") == set(SECRETS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return convert(tmp_path_factory.mktemp("planted"), planted_files())


def test_all_planted_files_were_converted(run: Run) -> None:
    assert run.exit_code == 0, run.printed
    for stem in (Path(name).stem for name in planted_files()):
        for ending in ("png", "json", "qc.png", "npz", "csv", "dcm"):
            assert f"{stem}.{ending}" in run.files


def test_no_output_names_the_patient(run: Run) -> None:
    assert run.leaks() == {}


def test_refusals_do_not_quote_the_page(tmp_path: Path) -> None:
    """A page of no format, one that is cut off, one whose scales contradict each other."""
    page = drawn()
    inputs = {
        "none.pdf": pdf_with(list(PLACES), blank_page()),
        "half.pdf": page[: len(page) // 2],
        "half.png": planted_files()["page.png"][:20_000],
        "text.pdf": SECRET.encode() * 9,
    }
    done = convert(tmp_path, inputs, "--debug")
    assert done.exit_code == 1
    for name in inputs:
        assert name in done.printed
    assert done.leaks() == {}


def blank_page() -> bytes:
    canvas = PdfCanvas((210, 297))
    for line, text in enumerate(PATIENT):
        canvas.text(text, 20, 20 + 8 * line, 4)
    return canvas.tobytes()


def as_it_is(page: bytes) -> bytes:
    return page


def as_scan(page: bytes) -> bytes:
    canvas = PdfCanvas((279.4, 215.9))
    canvas.image(as_png(page, 200), Box(0.0, 0.0, 279.4, 215.9))
    return canvas.tobytes()


@pytest.mark.parametrize(
    ("ending", "of"),
    [("pdf", as_it_is), ("png", as_png), ("pdf", as_scan)],
    ids=["vector", "png", "scan"],
)
def test_the_header_has_no_part_in_any_output(
    tmp_path: Path, ending: str, of: Callable[[bytes], bytes]
) -> None:
    """Two patients with one and the same ECG give the same outputs, bit by bit."""
    runs = []
    for number, patient in enumerate((PATIENT, OTHER_PATIENT)):
        folder = tmp_path / str(number)
        runs.append(convert(folder, {f"x.{ending}": of(drawn("ge-muse", "3x4+1R", patient))}))
    one, other = (
        {name: _HASHES.sub(b"", data) for name, data in run.files.items() if "manifest" not in name}
        for run in runs
    )
    assert set(one) == set(other)
    assert {"x.png", "x.qc.png", "x.json", "x.npz"} <= set(one)
    assert [name for name in one if one[name] != other[name]] == []


# --- names of files ---------------------------------------------------------------------------


def test_a_file_name_is_in_the_outputs_unless_pseudonymised(tmp_path: Path) -> None:
    """The name goes into outputs by design; with a key it is nowhere but in the table."""
    inputs = {"QUENTIN/ZYXWVUT-98761234.pdf": drawn(), "98761234/bad ZYXWVUT.pdf": b"%PDF-1.7 no"}
    plain = convert(tmp_path / "plain", inputs)
    assert plain.exit_code == 1
    assert plain.leaks()
    hidden = convert(tmp_path / "hidden", inputs, "--pseudonymise", "../secret.key")
    assert hidden.exit_code == 1
    assert len(hidden.files) == len(plain.files)
    assert hidden.leaks() == {}
    links = (tmp_path / "secret.key.links.csv").read_text()
    assert found_in(links.encode()) == {"ZYXWVUT", "QUENTIN", "98761234"}
    (summary,) = (json.loads(data) for name, data in hidden.files.items() if name.endswith("json"))
    pseudonym = summary["source"]["name"]
    assert pseudonym in links
    assert not found_in(pseudonym.encode())


def test_pseudonyms_hide_files_named_one_by_one(tmp_path: Path) -> None:
    given = "in/QUENTIN/ZYXWVUT.pdf"
    done = convert(
        tmp_path,
        {"QUENTIN/ZYXWVUT.pdf": drawn()},
        "--pseudonymise",
        "secret.key",
        "--debug",
        named=[given, str(tmp_path / given)],
    )
    assert done.exit_code == 0, done.printed
    assert done.leaks() == {}
