"""URLs: what they name, what cannot be, and what must not be told."""

from __future__ import annotations

import errno
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ecgvision.archive import urlstore
from ecgvision.archive.finding import find, find_listed
from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.private import private_file
from ecgvision.archive.store import LOCAL, SPOOL, placed
from ecgvision.archive.urlstore import UrlStore
from ecgvision.cli import main
from ecgvision.errors import UsageError
from ecgvision.output import OutputError
from tests.stores import SECRET, Share, convert, everything, outputs, put, rows

pytest_plugins = ["tests.store_fixtures"]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses signals"),
    # Connections of the S3 library, which it leaves to the end of the process.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Of the S3 library, about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


# --- what fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "out", "code", "says"),
    [
        ("s3://none/in", "s3://ecg/out", 2, "'s3://none/in' does not exist"),
        (
            "s3://ecg/fails/in",
            "s3://none/out",
            1,
            "cannot write to s3://none/out: there is no such",
        ),
        (f"s3://k:{SECRET}@ecg/in", "out", 2, "s3:// URLs hold no keys"),
        (f"s3://ecg/in?token={SECRET}", "out", 2, "a query cannot be used"),
        ("zip://a.pdf::s3://ecg/a.zip", "out", 2, "chains of URLs"),
        ("nosuch://ecg/in", "out", 2, "no kind of store that fsspec knows"),
        ("s3://", "out", 2, "names nothing"),
        ("http://127.0.0.1:9/", "out", 2, "names no file"),
        ("s3://ecg/a//b.pdf", "out", 2, "has a part that is empty"),
        ("s3://ecg/fails/in", "s3://ecg/fails/../out", 2, "made of dots"),
        (
            "s3://ecg/fails/in",
            "http://127.0.0.1:9/out",
            1,
            "cannot write to http://127.0.0.1:9/out",
        ),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    s3: Any,
    pages: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    out: str,
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    put("s3://ecg/fails/in", {"a.pdf": pages[0]})
    done = convert(source, out)
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_credentials_are_told_in_one_line(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    fresh = functools.partial(fsspec.filesystem, skip_instance_cache=True)
    monkeypatch.setattr(fsspec, "filesystem", fresh)
    done = convert("s3://ecg/fails/in", "s3://ecg/out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "no valid credentials were found" in done.stderr


def test_names_that_are_no_paths_cost_their_file_only(
    s3: Any, pages: list[bytes], tmp_path: Path
) -> None:
    for key in ("a.pdf", "x//b.pdf", "x/../../c.pdf", "folder.pdf/"):
        s3.call_s3("put_object", Bucket="ecg", Key=f"odd/in/{key}", Body=pages[0])
    s3.call_s3("put_object", Bucket="ecg", Key="odd/in/x/b.pdf", Body=pages[1])
    out = tmp_path / "a" / "out"
    done = convert("s3://ecg/odd/in", str(out))
    assert (done.exit_code, done.stdout) == (1, "2 pages written, 2 failed\n")
    assert done.stderr.count("[file-name-unusable]") == 2
    assert sorted(outputs(str(out))) == ["a.json", "a.png", "x/b.json", "x/b.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_memory_is_for_one_process(pages: list[bytes], tmp_path: Path) -> None:
    put("memory://reports", {"a.pdf": pages[0], "b.pdf": pages[1]})
    for place in ("memory://reports", "memory://reports/*.pdf"):
        done = convert(place, str(tmp_path / "out"), workers="2")
        assert (done.exit_code, "needs --workers 0" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_page_that_cannot_be_put_leaves_none_of_its_files(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    memory = fsspec.filesystem("memory")
    real = memory.pipe_file

    def full(self: Any, key: str, data: bytes, **more: Any) -> None:
        if key.endswith("c"):
            raise OSError(errno.ENOSPC, f"disk of {SECRET} is full")
        if key.endswith("d"):
            raise OSError(f"{SECRET} is a name that this store does not take")
        real(key, data, **more)

    monkeypatch.setattr(type(memory), "pipe_file", full)
    with pytest.raises(OutputError) as raised:
        store.write({folder / name: b"1" for name in "abc"})
    assert raised.value.full
    assert SECRET not in str(raised.value)
    assert everything("memory://" + folder.as_posix()) == {}
    with pytest.raises(OutputError) as raised:
        store.write({folder / "d": b"1"})
    assert not raised.value.full  # other files may still be written
    assert SECRET not in str(raised.value)


def test_a_store_that_cannot_rename_takes_no_outputs(
    pages: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Share, "mv", fsspec.AbstractFileSystem.mv)
    (tmp_path / "a.pdf").write_bytes(pages[0])
    done = convert(str(tmp_path / "a.pdf"), f"share://{tmp_path}/out")
    assert done.exit_code == 1
    assert "cannot be written to safely" in done.stderr
    assert not list((tmp_path / "out").glob("a*"))


def test_a_file_is_fetched_up_to_a_limit_and_leaves_nothing(
    held: tuple[UrlStore, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(urlstore, "_MOST_BYTES", 1000)
    store.write({folder / "in/large.pdf": bytes(1001), folder / "in/small.pdf": bytes(1000)})
    with store.fetched(folder / "in/small.pdf") as here:
        assert here.read_bytes() == bytes(1000)
        if sys.platform == "linux":
            assert list(tmp_path.iterdir()) == []  # a kill now leaves nothing
    done = convert(store.told(folder / "in"), str(tmp_path / "out"))
    assert "[file-too-large]" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- names, lists and secrets -------------------------------------------------------------------


def named(paths: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(one.name, one.relative.as_posix(), one.root) for one in find(paths)]


def test_inputs_keep_their_folders(archive: str) -> None:
    assert named([f"{archive}/in/0/ward/0.pdf"]) == [(f"{archive}/in/0/ward/0.pdf", ".", "")]
    assert named([f"{archive}/in/*/ward/[01].pdf"]) == [
        ("0/ward/0.pdf", "0/ward", f"{archive}/in"),
        ("1/ward/1.pdf", "1/ward", f"{archive}/in"),
    ]
    assert named([f"{archive}/in/1"]) == [
        (f"ward/{number}.pdf", "ward", f"{archive}/in/1") for number in (1, 3, 5)
    ]
    with pytest.raises(UsageError, match="does not exist"):
        named([f"{archive}/in/none.pdf"])
    with pytest.raises(UsageError, match="no reports"):
        named([f"{archive}/in/*.png"])


def test_a_folder_that_cannot_be_listed_is_not_lost(
    tmp_path: Path, pages: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "shut"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "a.pdf").write_bytes(pages[0])
    real = Share.ls

    def shut(self: Any, path: str, *given: Any, **more: Any) -> Any:
        if path.endswith("shut"):
            raise PermissionError(path)
        return real(self, path, *given, **more)

    monkeypatch.setattr(Share, "ls", shut)
    done = convert(f"share://{tmp_path}/in", str(tmp_path / "out"))
    assert (done.exit_code, done.stdout) == (1, "1 page written, 1 failed\n")
    assert "[folder-unreadable]" in done.stderr


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lists_may_hold_and_be_urls(kind: str, pages: list[bytes], tmp_path: Path) -> None:
    import pyarrow as pa

    base = f"memory://{tmp_path.name}-{kind}"
    put(base, {"2019/a.pdf": pages[0], "b.pdf": pages[1]})
    entries = ["2019/a.pdf", f"{base}/b.pdf", "memory://elsewhere/c.pdf"]
    if kind == "csv":
        text = "path,format\n" + "".join(f"{entry},philips\n" for entry in entries)
        put(base, {"list.csv": text.encode()})
        (tmp_path / "list.csv").write_text(text)
    else:
        table = pa.table({"path": entries, "format": ["philips"] * 3})
        pq.write_table(table, tmp_path / "list.parquet")
        put(base, {"list.parquet": (tmp_path / "list.parquet").read_bytes()})
    found = list(find_listed(placed(f"{base}/list.{kind}")))
    assert [(one.name, one.relative.as_posix(), one.format) for one in found] == [
        ("2019/a.pdf", "2019", "philips"),
        ("b.pdf", ".", "philips"),
        ("memory://elsewhere/c.pdf", "elsewhere", "philips"),
    ]
    here = list(find_listed(tmp_path / f"list.{kind}"))
    assert [one.at == LOCAL for one in here] == [True, False, False]
    out = str(tmp_path / "out")
    done = CliRunner().invoke(
        main, ["convert", "--list", f"{base}/list.{kind}", "-o", out, "--workers", "0"]
    )
    assert done.stdout == "2 pages written, 1 failed\n"
    assert "[file-missing]" in done.stderr
    assert sorted(outputs(out)) == ["2019/a.json", "2019/a.png", "b.json", "b.png"]


@pytest.mark.parametrize("entry", ["../../out.pdf", "/etc/out.pdf", ""])
def test_lists_in_a_store_stay_in_it(entry: str, tmp_path: Path) -> None:
    put(f"memory://{tmp_path.name}", {"list.csv": f"path,n\n{entry},1\n".encode()})
    with pytest.raises(UsageError, match="entry 1 names no file"):
        list(find_listed(placed(f"memory://{tmp_path.name}/list.csv")))


def test_pseudonyms_hide_names_in_stores(archive: str, pages: list[bytes], tmp_path: Path) -> None:
    put(f"{archive}/named", {"MEIER/ANNA.pdf": pages[0], "MEIER/bad.pdf": b"no report"})
    key = str(tmp_path / "key")
    done = convert(f"{archive}/named", f"{archive}/out", "--pseudonymise", key)
    assert (done.exit_code, done.stdout) == (1, "1 page written, 1 failed\n")
    again = convert(f"{archive}/named", f"{archive}/out", "--pseudonymise", key)
    assert again.stdout == "0 pages written, 1 failed, 1 kept\n"
    seen = everything(f"{archive}/out")
    with_names = [*seen, *map(str, rows(f"{archive}/out")), done.stderr, *map(repr, seen.values())]
    assert not [text for text in with_names if "MEIER" in text or "ANNA" in text]
    assert "MEIER/ANNA.pdf" in (tmp_path / "key.links.csv").read_text()


@pytest.fixture
def web(tmp_path: Path, pages: list[bytes]) -> Iterator[str]:
    """A web server at 127.0.0.1 with a page that wants a token; gives host and port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = f"token={SECRET}" in self.path and "a.pdf" in self.path
            self.send_response(200 if good else 403)
            self.send_header("Content-Length", str(len(pages[0]) if good else 0))
            self.end_headers()
            if good and self.command == "GET":
                self.wfile.write(pages[0])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_secrets_of_urls_are_in_no_output_and_no_message(web: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = convert(f"http://{web}/x/a.pdf?token={SECRET}", str(out), "--debug")
    assert (good.exit_code, good.stdout) == (0, "1 page written, 0 failed\n")
    user = f"http://user:{SECRET}1@{web}/x/b.pdf?token={SECRET}"
    bad = convert(user, str(out), "--debug")
    assert (bad.exit_code, bad.stderr.count("\n")) == (1, 1)
    closed = convert(f"sftp://user:{SECRET}@127.0.0.1:9/x", str(out), "--debug")
    assert closed.exit_code == 2
    assert CliRunner().invoke(main, ["report", str(out)]).exit_code == 0
    shared = ["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"]
    sent = CliRunner().invoke(main, ["convert", user, "-o", str(out), *shared])
    assert (sent.exit_code, "cannot be sent to a cluster" in sent.output) == (2, True)
    messages = [done.output for done in (good, bad, closed, sent)]
    assert not [text for text in messages if SECRET in text]
    assert SECRET not in repr(placed(user))
    assert [row["source"] for row in rows(str(out))] == [f"http://{web}/x/{n}.pdf" for n in "ab"]
    assert not [name for name, data in everything(str(out)).items() if SECRET.encode() in data]
    table = pq.read_table(out / MANIFEST)
    assert SECRET not in str(table.to_pylist()) + str(table.schema.metadata)


def test_urls_that_differ_in_their_secrets_are_not_mixed_up(web: str, tmp_path: Path) -> None:
    twice = [f"http://{web}/a.pdf?token={SECRET}", f"http://{web}/a.pdf?token={SECRET}2"]
    arguments = ["convert", *twice, "-o", str(tmp_path / "out"), "--format", "philips"]
    done = CliRunner().invoke(main, [*arguments, "--workers", "0"])
    assert (done.exit_code, SECRET in done.output) == (2, False)
    assert "differ in what is secret" in done.output
    once = CliRunner().invoke(main, ["convert", twice[0], *arguments[1:2], *arguments[3:]])
    assert once.output == "1 page written, 0 failed\n"


def test_a_path_is_a_url_only_with_a_scheme(tmp_path: Path) -> None:
    assert placed("a:b/c") == (LOCAL, Path("a:b/c"))
    assert placed(f"file://{tmp_path}/x") == (LOCAL, tmp_path / "x")
    assert placed("s3:/x") == (LOCAL, Path("s3:/x"))
    assert SPOOL.startswith(".ecgvision-")


def test_a_run_on_this_machine_loads_nothing_of_it(pages: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pages[0])
    code = (
        "import sys; from ecgvision.cli import main; "
        f"main(['convert', {str(tmp_path / 'a.pdf')!r}, '-o', {str(tmp_path / 'out')!r}], "
        "standalone_mode=False); print('fsspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1 page written, 0 failed", "False"]


def test_a_copy_is_removed_where_files_need_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("ecgvision.archive.private.os.getpid", lambda: "none")
    with private_file() as (file, here):
        file.write(b"ecg")
        file.flush()
        assert here.read_bytes() == b"ecg"
        assert here.parent.stat().st_mode & 0o777 == 0o700
        assert here.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
