"""Pseudonyms: the same with one key, others with another, and led back by the table alone."""

from __future__ import annotations

import csv
import os
import re
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from ecgvision.archive.pseudonyms import Pseudonyms
from ecgvision.errors import UsageError

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes of files are a matter of POSIX")
LETTERS = re.compile(r"[a-z2-7]{20}")


@pytest.fixture
def keyfile(tmp_path: Path) -> Path:
    return tmp_path / "secret.key"


def name(pseudonyms: Pseudonyms, path: str) -> str:
    return pseudonyms.name(PurePosixPath(path)).as_posix()


def links(keyfile: Path) -> list[tuple[str, ...]]:
    table = keyfile.with_name(keyfile.name + ".links.csv")
    with table.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


# --- names ------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_names(keyfile: Path) -> None:
    first, again = Pseudonyms.load(keyfile), Pseudonyms.load(keyfile)
    path = "2019/ward 3/MEIER, ANNA.pdf"
    assert name(first, path) == name(again, path)
    parts = name(first, path).split("/")
    assert len(set(parts)) == len(parts) == 3
    assert all(LETTERS.fullmatch(part) for part in parts)


def test_another_key_gives_other_names(tmp_path: Path) -> None:
    one, other = (Pseudonyms.load(tmp_path / key) for key in ("a.key", "b.key"))
    assert name(one, "x.pdf") != name(other, "x.pdf")


def test_folders_keep_their_files_together_and_equal_names_do_not_show(keyfile: Path) -> None:
    pseudonyms = Pseudonyms.load(keyfile)
    one, two, other = (name(pseudonyms, path) for path in ("a/x.pdf", "a/y.pdf", "b/x.pdf"))
    assert one.split("/")[0] == two.split("/")[0] != other.split("/")[0]
    assert one.split("/")[1] != other.split("/")[1]
    # The ending counts, so that a PDF and a picture of one name do not get in each other's way.
    assert name(pseudonyms, "x.pdf") != name(pseudonyms, "x.png")


@pytest.mark.parametrize(
    "path",
    ["a\nb.pdf", "M\u00fcller.pdf", "x" * 250, os.fsdecode(b"caf\xe9.pdf"), "../up/x.pdf", "-p2"],
)
def test_odd_names_become_plain_ones(path: str, keyfile: Path) -> None:
    pseudonyms = Pseudonyms.load(keyfile)
    assert all(LETTERS.fullmatch(part) for part in name(pseudonyms, path).split("/"))
    assert len(name(pseudonyms, path).split("/")) == len(PurePosixPath(path).parts)
    with closing(pseudonyms):
        pseudonyms.link(path, name(pseudonyms, path))
    assert len(links(keyfile)) == 2


def test_nothing_is_nothing(keyfile: Path) -> None:
    assert Pseudonyms.load(keyfile).name(PurePosixPath()) == PurePosixPath()


def test_many_names_are_all_different(keyfile: Path) -> None:
    pseudonyms = Pseudonyms.load(keyfile)
    assert len({name(pseudonyms, f"{number}.pdf") for number in range(20_000)}) == 20_000


# --- the key ----------------------------------------------------------------------------------


@POSIX
def test_the_key_file_is_made_for_its_owner_only(keyfile: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Pseudonyms.load(keyfile)) as pseudonyms:
            pseudonyms.link("x.pdf", name(pseudonyms, "x.pdf"))
    finally:
        os.umask(before)
    assert re.fullmatch(rb"[0-9a-f]{64}\n", keyfile.read_bytes())
    for path in (keyfile, pseudonyms.table):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_bytes_and_digits_are_both_a_key(tmp_path: Path) -> None:
    key = bytes(range(40, 72))
    names = set()
    for number, content in enumerate((key, key.hex().encode(), key.hex().upper().encode() + b"\n")):
        path = tmp_path / f"{number}.key"
        path.write_bytes(content)
        path.chmod(0o600)
        names.add(name(Pseudonyms.load(path), "x.pdf"))
    assert len(names) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        os.urandom(31),
        os.urandom(31).hex().encode(),
        bytes(32),
        b"0" * 64,
        b"ab" * 32,
    ],
    ids=["empty", "word", "31 bytes", "62 digits", "zeros", "zero digits", "few letters"],
)
def test_a_weak_key_is_refused(content: bytes, keyfile: Path) -> None:
    keyfile.write_bytes(content)
    keyfile.chmod(0o600)
    with pytest.raises(UsageError, match="at least 32 random bytes") as refused:
        Pseudonyms.load(keyfile)
    assert keyfile.read_bytes() == content
    if len(content) > 5:
        assert content.decode("latin-1") not in str(refused.value)


@POSIX
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602])
def test_a_key_that_others_may_read_is_refused(mode: int, keyfile: Path) -> None:
    Pseudonyms.load(keyfile)
    keyfile.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        Pseudonyms.load(keyfile)


@POSIX
def test_a_table_that_others_may_read_is_refused(keyfile: Path) -> None:
    with closing(Pseudonyms.load(keyfile)) as pseudonyms:
        pseudonyms.link("x.pdf", "aaaa")
    pseudonyms.table.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Pseudonyms.load(keyfile).link("y.pdf", "bbbb")


@pytest.mark.parametrize("what", ["a folder", "nowhere", "an archive"])
def test_what_is_no_key_file_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if what == "a folder":
        path.mkdir()
    elif what == "nowhere":
        path = tmp_path / "missing" / "key"
    else:
        path.write_bytes(os.urandom(5000))
        path.chmod(0o600)
    with pytest.raises(UsageError):
        Pseudonyms.load(path)


# --- the table --------------------------------------------------------------------------------


def test_each_link_is_written_once(keyfile: Path) -> None:
    for _ in range(2):
        with closing(Pseudonyms.load(keyfile)) as pseudonyms:
            for path in ("a/x.pdf", "b.pdf", "a/x.pdf"):
                pseudonyms.link(path, name(pseudonyms, path))
    assert links(keyfile) == [
        ("source", "pseudonym"),
        ("a/x.pdf", name(pseudonyms, "a/x.pdf")),
        ("b.pdf", name(pseudonyms, "b.pdf")),
    ]


def test_no_link_makes_no_table(keyfile: Path) -> None:
    with closing(Pseudonyms.load(keyfile)) as pseudonyms:
        name(pseudonyms, "x.pdf")
    assert sorted(path.name for path in keyfile.parent.iterdir()) == ["secret.key"]


def test_two_sources_of_one_pseudonym_are_refused(keyfile: Path) -> None:
    with closing(Pseudonyms.load(keyfile)) as pseudonyms:
        pseudonyms.link("QUENTIN.pdf", "aaaa")
        with pytest.raises(UsageError, match="aaaa") as refused:
            pseudonyms.link("other.pdf", "aaaa")
        assert "QUENTIN" not in str(refused.value)
    again = Pseudonyms.load(keyfile)
    with pytest.raises(UsageError, match="aaaa"):
        again.link("other.pdf", "aaaa")
    again.link("QUENTIN.pdf", "aaaa")
    again.close()
    assert len(links(keyfile)) == 2


def test_a_line_that_was_cut_off_is_written_anew(keyfile: Path) -> None:
    with closing(Pseudonyms.load(keyfile)) as pseudonyms:
        pseudonyms.link("a.pdf", "aaaa")
        pseudonyms.link("b.pdf", "bbbb")
    whole = pseudonyms.table.read_bytes()
    for cut in range(1, len(b"b.pdf,bbbb\n") + 1):
        pseudonyms.table.write_bytes(whole[:-cut])
        with closing(Pseudonyms.load(keyfile)) as again:
            again.link("b.pdf", "bbbb")
        assert pseudonyms.table.read_bytes() == whole


def test_names_with_commas_and_line_ends_come_back(keyfile: Path) -> None:
    with closing(Pseudonyms.load(keyfile)) as pseudonyms:
        pseudonyms.link('MEIER, "ANNA".pdf', "aaaa")
        pseudonyms.link("two\nlines.pdf", "bbbb")
        pseudonyms.link("\u00e9\u4e2d.pdf", "cccc")
    with closing(Pseudonyms.load(keyfile)) as again:
        again.link("two\nlines.pdf", "bbbb")
    rows = links(keyfile)[1:]
    assert rows == [
        ('MEIER, "ANNA".pdf', "aaaa"),
        ("two\\nlines.pdf", "bbbb"),
        ("\u00e9\u4e2d.pdf", "cccc"),
    ]


def test_links_are_on_disk_before_the_end(keyfile: Path) -> None:
    pseudonyms = Pseudonyms.load(keyfile)
    for number in range(1000):
        pseudonyms.link(f"{number}.pdf", f"p{number}")
    assert len(links(keyfile)) > 700
    pseudonyms.close()
    assert len(links(keyfile)) == 1001


@POSIX
def test_two_processes_share_one_table(keyfile: Path) -> None:
    Pseudonyms.load(keyfile)
    code = (
        "import sys; from pathlib import Path\n"
        "from ecgvision.archive.pseudonyms import Pseudonyms\n"
        "p = Pseudonyms.load(Path(sys.argv[1]))\n"
        "for n in range(600): p.link(f'{sys.argv[2]}{n}', f'{sys.argv[2]}-{n}')\n"
        "p.close()"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(keyfile), mark]) for mark in ("a", "b")
    ]
    assert [one.wait(timeout=120) for one in running] == [0, 0]
    rows = links(keyfile)
    assert sum(row == ("source", "pseudonym") for row in rows) == 1
    assert len(rows) == len(set(rows)) == 1201
    assert all(len(row) == 2 for row in rows)


def test_a_table_that_cannot_be_written_is_told(keyfile: Path) -> None:
    pseudonyms = Pseudonyms.load(keyfile)
    pseudonyms.table.mkdir()
    with pytest.raises(UsageError, match=r"links\.csv"):
        pseudonyms.link("x.pdf", "aaaa")
