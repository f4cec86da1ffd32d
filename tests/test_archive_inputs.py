"""Which files are converted, what they are called, and who has which name of an output."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgvision.archive.finding import Found, find, find_listed
from ecgvision.archive.inputs import Input, Inputs
from ecgvision.errors import UsageError


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*paths: str | Path, out_dir: Path | None = None) -> list[tuple[str, str]]:
    return [(one.source.name, one.relative.as_posix()) for one in find(paths, out_dir)]


def inputs(*paths: str | Path, **how: bool) -> list[Input]:
    return list(_gathered(*paths, **how))


def _gathered(*paths: str | Path, **how: bool) -> Inputs:
    gathered = Inputs(**how)
    for one in find(paths):
        gathered.add(one)
    return gathered


# --- finding ------------------------------------------------------------------------------------


def test_a_file_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    put(tmp_path, "report", "b.pdf")
    path = tmp_path / "report"
    assert list(find([path])) == [Found(path, Path(), path.as_posix())]


def test_a_folder_gives_all_reports_below_it_in_order(tmp_path: Path) -> None:
    put(tmp_path, "b.PDF", "a.jpeg", "notes.txt", "2/z.tiff", "10/sub/y.bmp", "x.pdf/inside.png")
    assert found(tmp_path) == [
        ("a.jpeg", "."),
        ("b.PDF", "."),
        ("y.bmp", "10/sub"),
        ("z.tiff", "2"),
        ("inside.png", "x.pdf"),
    ]


def test_patterns_keep_the_folders_they_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "in/a/x.pdf", "in/b/x.pdf", "in/b/x.txt", "in/top.pdf", "up.png")
    monkeypatch.chdir(tmp_path)
    assert found("in/*/*") == [("x.pdf", "a"), ("x.pdf", "b")]
    assert found("in/**") == [("x.pdf", "a"), ("x.pdf", "b"), ("top.pdf", ".")]
    assert found("in/[a]") == [("x.pdf", "a")]
    assert found("in/[a]/../../up.png") == [("up.png", ".")]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "scan[1].pdf", "scan1.pdf")
    assert found(tmp_path / "scan[1].pdf") == [("scan[1].pdf", ".")]


def test_outputs_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.pdf", "out/a.png")
    monkeypatch.chdir(tmp_path)
    assert found(".", out_dir=Path("out")) == [("a.pdf", ".")]
    assert found("**/*.p*", out_dir=Path("out")) == [("a.pdf", ".")]
    with pytest.raises(UsageError, match="cannot take the output"):
        list(find(["."], tmp_path))


def test_links_do_not_loop_and_broken_ones_are_not_lost(tmp_path: Path) -> None:
    put(tmp_path, "in/a.pdf")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "gone.pdf").symlink_to(tmp_path / "nowhere.pdf")
    (tmp_path / "in" / "self.pdf").symlink_to(tmp_path / "in" / "self.pdf")
    assert [name for name, _ in found(tmp_path / "in")] == ["a.pdf", "gone.pdf", "self.pdf"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a.pdf")
    os.mkfifo(tmp_path / "pipe.pdf")
    assert found(tmp_path) == [("a.pdf", ".")]
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        list(find([tmp_path / "pipe.pdf"]))


def test_a_folder_that_cannot_be_listed_is_a_job_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.pdf", "shut/b.pdf")
    scandir = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert found(tmp_path) == [("a.pdf", "."), ("shut", ".")]


@pytest.mark.parametrize(
    ("path", "message"),
    [("none.pdf", "does not exist"), ("empty", "no reports"), ("*.pdf", "no reports")],
)
def test_paths_that_give_nothing(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "empty/readme.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        list(find([path]))


def test_names_are_relative_to_the_folder_that_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "in/a.pdf", "in/2019/b.pdf", "c.pdf")
    monkeypatch.chdir(tmp_path)
    named = {one.name: one.root for one in find(["in", "c.pdf", tmp_path / "c.pdf", "i*/*/*"])}
    top = str(tmp_path)
    assert named == {
        "a.pdf": f"{top}/in",
        "2019/b.pdf": f"{top}/in",
        "c.pdf": top,
        f"{top}/c.pdf": "",
        "in/2019/b.pdf": top,
    }


# --- lists --------------------------------------------------------------------------------------


def listed(path: Path) -> list[tuple[str, str, str]]:
    return [(one.name, one.relative.as_posix(), one.format) for one in find_listed(path)]


def test_a_csv_names_files_from_its_own_folder_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    path = tmp_path / "lists" / "all.csv"
    path.parent.mkdir()
    lines = ["format,path,note", "muse,2019/a b.pdf,x", ",./b.pdf,", f",{tmp_path}/up.pdf,"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    up = (tmp_path / "up.pdf").as_posix()
    assert listed(path) == [
        ("2019/a b.pdf", "2019", "muse"),
        ("b.pdf", ".", ""),
        (up, tmp_path.as_posix().lstrip("/"), ""),
    ]
    assert next(find_listed(path)).source == path.parent / "2019" / "a b.pdf"


def test_a_parquet_does_the_same(tmp_path: Path) -> None:
    table = pa.table({"path": ["x.pdf", "../up.pdf"], "format": [None, "ge"], "age": [1, 2]})
    pq.write_table(table, tmp_path / "all.parquet")
    parent = tmp_path.parent.as_posix()
    assert listed(tmp_path / "all.parquet") == [
        ("x.pdf", ".", ""),
        (f"{parent}/up.pdf", parent.lstrip("/"), "ge"),
    ]


def test_a_list_may_name_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_bytes(b"path\n\xff\xfe.pdf\n")
    (one,) = find_listed(tmp_path / "all.csv")
    assert one.source.name == "\udcff\udcfe.pdf"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"file\nx.pdf\n", "needs a column named path; it has file"),
        ("a.csv", b"", "needs a column named path; it has none"),
        ("a.csv", b"path\n", "has no entries"),
        ("a.csv", b"path,format\nx.pdf,\n,muse\n", "entry 2 names no file"),
        ("a.csv", b"path\n.\n", "entry 1 names no file"),
        ("a.csv", b"path\n/\n", "entry 1 names no file"),
        ("a.txt", b"path\nx.pdf\n", "must end in .csv or .parquet"),
        ("a.parquet", b"path\nx.pdf\n", "cannot read the list"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(find_listed(tmp_path / name))


# --- who has which name -------------------------------------------------------------------------


def test_the_same_file_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.pdf", "b.pdf")
    monkeypatch.chdir(tmp_path)
    names = [one.source.name for one in inputs("b.pdf", ".", tmp_path / "a.pdf")]
    assert names == ["b.pdf", "a.pdf"]


def owners(gathered: Inputs) -> dict[str, str]:
    return {one.name: gathered.owner(one).name for one in gathered}


def test_the_first_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "in/x.pdf", "in/x.png", "in/2/x.png", "in/x.qc.pdf", "in/a b.pdf")
    monkeypatch.chdir(tmp_path)
    own = {name: name for name in ("x.pdf", "2/x.png", "x.qc.pdf", "a b.pdf")}
    assert owners(_gathered("in")) == {**own, "x.png": "x.pdf"}
    with_qc = owners(_gathered("in", qc=True))
    assert with_qc == {**own, "x.png": "x.pdf", "x.qc.pdf": "x.pdf"}


def test_a_name_that_was_made_for_wfdb_is_taken(tmp_path: Path) -> None:
    put(tmp_path, "a b.pdf", "a_b-c8687a08.pdf")
    assert set(owners(_gathered(tmp_path)).values()) == {"a b.pdf", "a_b-c8687a08.pdf"}
    assert set(owners(_gathered(tmp_path, wfdb=True)).values()) == {"a b.pdf"}


def test_names_of_further_pages_that_others_have(tmp_path: Path) -> None:
    put(tmp_path, "x.pdf", "x-p2.pdf", "x-p07.pdf", "x-p12.png", "x-p3.qc.pdf", "y-p2.pdf")
    taken = {
        one.name: set(gathered.taken(one)) for gathered in [_gathered(tmp_path)] for one in gathered
    }
    assert taken.pop("x.pdf") == {2, 12}
    assert set().union(*taken.values()) == set()
    gathered = _gathered(tmp_path, qc=True)
    assert next(gathered.taken(one) for one in gathered if one.stem == "x") == {2, 3, 12}


def test_two_files_never_have_one_name_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "one/x.pdf", "two/x.pdf", "2019/y.pdf", "in/2019/y.pdf")
    monkeypatch.chdir(tmp_path)
    names = [one.name for one in inputs("one", "two", "2019/y.pdf", "in")]
    assert names == ["x.pdf", f"{tmp_path}/two/x.pdf", "2019/y.pdf", f"{tmp_path}/in/2019/y.pdf"]
    turned = [one.name for one in inputs("in", "2019/y.pdf")]
    assert turned == ["2019/y.pdf", f"{tmp_path}/2019/y.pdf"]


def test_inputs_where_outputs_go_are_known_through_links(tmp_path: Path) -> None:
    put(tmp_path, "out/x.png", "in/y.pdf")
    (tmp_path / "again").symlink_to(tmp_path / "out", target_is_directory=True)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "z.png")
    gathered = _gathered(tmp_path / "again", tmp_path / "in")
    assert gathered.inputs_in(tmp_path / "out") == {"x.png", "z.png"}
    assert gathered.inputs_in(tmp_path / "elsewhere") == frozenset()


def test_names_are_valid_text_and_pseudonyms_hide_all_of_them(tmp_path: Path) -> None:
    odd = os.fsdecode(b"Meier \xff.pdf")
    try:
        put(tmp_path, f"Klinik/{odd}")
    except OSError:
        pytest.skip("the file system forbids such names")
    (one,) = inputs(tmp_path)
    assert one.name == "Klinik/Meier \\udcff.pdf"
    one.name.encode()

    def reversed_name(path: PurePosixPath) -> PurePosixPath:
        assert not path.is_absolute()
        return PurePosixPath(*(f"h{len(part)}" for part in (*path.parent.parts, path.stem)))

    gathered = Inputs(naming=reversed_name)
    for file in find([tmp_path]):
        gathered.add(file)
    (hidden,) = gathered
    assert (hidden.name, hidden.stem, hidden.folder) == ("h6/h7.pdf", "h7", Path("h6"))
    assert (hidden.shown, hidden.given) == (Path("h7.pdf"), one.name)
    assert str(tmp_path) not in hidden.root
    assert gathered.roots == []
    assert gathered.might_have("h6/h7.pdf")


def test_what_no_input_is_called_need_not_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "in/2019/a.b.pdf", "given.dat")
    monkeypatch.chdir(tmp_path)
    gathered = _gathered("in", tmp_path / "given.dat")
    assert all(gathered.might_have(one.name) for one in gathered)
    assert not gathered.might_have("2019/c.pdf")
    assert not gathered.might_have("2018/a.b.pdf")
