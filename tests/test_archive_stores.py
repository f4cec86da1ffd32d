"""Inputs and outputs behind URLs: an S3 server, memory, and a store that renames."""

from __future__ import annotations

import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ecgvision.archive import lease, urlstore
from ecgvision.archive.finding import find, find_listed
from ecgvision.archive.journal import JOURNAL, journal_line, read_journal
from ecgvision.archive.lease import HOLD_S, Lease, leased
from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.segments import SegmentJournal, end_segments
from ecgvision.archive.store import LOCAL, LOCK, SPOOL, InUseError, placed
from ecgvision.archive.urlstore import UrlStore
from ecgvision.cli import main
from ecgvision.errors import UsageError
from ecgvision.media.mupdf import pymupdf
from ecgvision.output import OutputError
from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses signals"),
    # Connections of the S3 library, which it leaves to the end of the process.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Of the S3 library, about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SECRET = "GEHEIM77"
# What differs from run to run, and from store to store.
CHANGING = {"seconds", "finished_at", "source_mtime_ns", "source_etag", "root", "year"}
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class Share(LocalFileSystem):  # type: ignore[misc]
    """A file system that is no object store, but can rename, as SFTP."""

    protocol = "share"


fsspec.register_implementation("share", Share, clobber=True)


# --- what is converted --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    chosen = load_formats().find("philips")
    ecgs = [synthetic_ecg(seed=seed) for seed in range(2)]
    return [draw_page(chosen.layouts[0], chosen.info, ecg).pdf for ecg in ecgs]


@pytest.fixture(scope="session")
def files(pages: list[bytes]) -> dict[str, bytes]:
    """Files in sub-folders, one of three pages, one that is bad."""
    with pymupdf.open() as pdf:
        for content in (*pages, pages[0]):
            with pymupdf.open(stream=content, filetype="pdf") as one:
                pdf.insert_pdf(one)
        many = bytes(pdf.tobytes())
    found = {f"{n % 2}/ward/{n}.pdf": pages[n % 2] for n in range(6)}
    return {**found, "many.pdf": many, "bad.pdf": b"no report"}


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What a run on this machine gives: outputs and rows."""
    folder = tmp_path_factory.mktemp("whole")
    for name, content in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert convert(str(folder / "in"), str(folder / "out")).exit_code == 1
    return outputs(str(folder / "out")), rows(str(folder / "out"))


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server at 127.0.0.1, which all that is started here finds by the environment."""
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    started = [sys.executable, "-c", SERVER]
    log = subprocess.DEVNULL
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(started, stdin=-1, stdout=-1, stderr=log, text=True) as server,
    ):
        assert server.stdout is not None
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{int(server.stdout.readline())}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        fs = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        fs.mkdir("ecg")
        yield fs
        server.terminate()


@pytest.fixture(params=["s3", "memory", "share"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, files: dict[str, bytes]) -> str:
    """The URL of a fresh folder with the folder `in`, in each kind of store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    place = {"s3": "ecg", "memory": "", "share": str(tmp_path)}[request.param]
    url = f"{request.param}://{place}/{tmp_path.name}".replace(
        ":///", "://", request.param != "share"
    )
    put(f"{url}/in", files)
    return url


def put(url: str, contents: dict[str, bytes]) -> None:
    store, folder = placed(url)
    store.write({folder / name: content for name, content in contents.items()})


def convert(source: str, out: str, *more: str, workers: str = "0") -> Result:
    command = ["convert", source, "--format", "philips", "-o", out, "--workers", workers, *more]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def everything(url: str) -> dict[str, bytes]:
    store, folder = placed(url)
    if isinstance(store, UrlStore):
        paths = [path for path, _ in store.tree(folder)]
    else:
        paths = [path for path in folder.rglob("*") if path.is_file()]
    return {p.relative_to(folder).as_posix(): store.read(p, 10**9) for p in paths}


def outputs(url: str) -> dict[str, bytes]:
    """All files but manifest and lock; nothing half done may be among them."""
    found = everything(url)
    assert not [name for name in found if ".ecgvision-" in name]
    return {name: data for name, data in found.items() if name not in (MANIFEST, LOCK)}


def rows(url: str) -> list[dict[str, Any]]:
    """The manifest without what differs, in order."""
    store, folder = placed(url)
    with store.fetched(folder / MANIFEST) as here:
        told = pq.read_table(here).to_pylist()
    kept = [{key: row[key] for key in row if key not in CHANGING} for row in told]
    return sorted(kept, key=lambda row: (row["source"], row["page"]))


# --- a whole run --------------------------------------------------------------------------------


def test_a_run_behind_a_url_is_as_one_on_this_machine(
    archive: str, whole: tuple[dict[str, bytes], list[dict[str, Any]]]
) -> None:
    done = convert(f"{archive}/in", f"{archive}/out")
    assert (done.exit_code, done.stdout) == (1, "9 pages written, 1 failed\n")
    assert outputs(f"{archive}/out") == whole[0]
    assert rows(f"{archive}/out") == whole[1]
    assert len(whole[0]) == 2 * 9
    again = convert(f"{archive}/in", f"{archive}/out")
    assert (again.exit_code, again.stdout) == (1, "0 pages written, 1 failed, 9 kept\n")
    assert outputs(f"{archive}/out") == whole[0]
    assert not [name for name in everything(f"{archive}/out") if name.startswith(JOURNAL)]


def test_a_source_that_changes_is_converted_again(archive: str, pages: list[bytes]) -> None:
    put(f"{archive}/two", {"a.pdf": pages[0], "b.pdf": pages[0]})
    assert convert(f"{archive}/two", f"{archive}/out").stdout == "2 pages written, 0 failed\n"
    before = outputs(f"{archive}/out")
    time.sleep(1.1)  # some stores tell whole seconds
    put(f"{archive}/two", {"a.pdf": pages[1], "b.pdf": pages[0]})
    assert (
        convert(f"{archive}/two", f"{archive}/out").stdout == "1 page written, 0 failed, 1 kept\n"
    )
    after = outputs(f"{archive}/out")
    assert before["a.png"] != after["a.png"]
    assert before["b.json"] == after["b.json"]
    store, folder = placed(f"{archive}/out")
    store.remove(folder / "b.png")
    assert (
        convert(f"{archive}/two", f"{archive}/out").stdout == "1 page written, 0 failed, 1 kept\n"
    )
    assert outputs(f"{archive}/out") == after


def test_outputs_that_are_there_are_not_replaced(archive: str, pages: list[bytes]) -> None:
    put(f"{archive}/one", {"a.pdf": pages[0]})
    put(f"{archive}/out", {"a.png": b"of somebody"})
    done = convert(f"{archive}/one", f"{archive}/out")
    assert done.exit_code == 1
    assert f"expected no file {archive}/out/a.png" in done.stderr
    assert everything(f"{archive}/out")["a.png"] == b"of somebody"
    assert convert(f"{archive}/one", f"{archive}/out", "--force").exit_code == 0
    within = convert(archive, archive)
    assert (within.exit_code, "cannot take the output" in within.stderr) == (2, True)


def test_a_report_is_made_from_a_url_and_needs_no_network(
    s3: Any, files: dict[str, bytes], tmp_path: Path
) -> None:
    with pymupdf.open() as pdf:
        pdf.new_page()
        blank = bytes(pdf.tobytes())
    given = {"bad.pdf": files["bad.pdf"], "1/ward.pdf": files["0/ward/0.pdf"], "blank.pdf": blank}
    put("s3://ecg/summed/in", given)
    assert convert("s3://ecg/summed/in", "s3://ecg/summed/out").exit_code == 1
    made = CliRunner().invoke(main, ["report", "s3://ecg/summed/out"])
    assert made.output.startswith("s3://ecg/summed/out/report.html: 3 pages of 3 files: 1 done")
    page = s3.cat("ecg/summed/out/report.html").decode()
    assert "file-type-unknown" in page
    assert page.count("data:image/png") == 1  # the blank page, drawn from its store
    assert not [
        mark for mark in ("http://", "https://", "<script", "<link", SECRET) if mark in page
    ]
    here = ["report", "s3://ecg/summed/out", "-o", str(tmp_path / "r.html"), "--no-thumbnails"]
    assert CliRunner().invoke(main, here).exit_code == 0
    assert (tmp_path / "r.html").read_bytes()[:15] == page.encode()[:15]
    nothing = CliRunner().invoke(main, ["report", "s3://ecg/nothing"])
    assert (nothing.exit_code, "is not a folder" in nothing.output) == (2, True)


# --- killed and crowded -------------------------------------------------------------------------


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if true():
            return
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def killed(source: str, out: str, after: int) -> None:
    """Start a run of two workers, and kill it when there are so many pages."""
    command = [sys.executable, "-m", "ecgvision", "convert", source, "--format", "philips"]
    process = subprocess.Popen(
        [*command, "-o", out, "--workers", "2"], stdout=-3, stderr=-3, start_new_session=True
    )
    wait_until(lambda: sum(name.endswith(".json") for name in everything(out)) >= after, process)
    process.kill()
    process.wait(60)


def as_if_later(s3: Any, lock: str) -> None:
    """The lock as it is once its time is over."""
    told = json.loads(s3.cat(lock))
    s3.pipe(lock, json.dumps({**told, "renewed_at_s": told["renewed_at_s"] - HOLD_S}).encode())


@pytest.mark.slow
def test_a_killed_run_goes_on_when_its_lock_is_over(
    s3: Any,
    files: dict[str, bytes],
    whole: tuple[dict[str, bytes], list[dict[str, Any]]],
) -> None:
    put("s3://ecg/killed/in", files)
    source, out = "s3://ecg/killed/in", "s3://ecg/killed/out"
    killed(source, out, after=3)
    time.sleep(1)  # its workers end with it
    left = everything(out)
    assert MANIFEST not in left
    assert [name for name in left if name.startswith(JOURNAL)]
    refused = convert(source, out)
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "another run writes to s3://ecg/killed/out" in refused.stderr
    assert everything(out) == left
    as_if_later(s3, "ecg/killed/out/.lock")
    done = convert(source, out)
    assert done.exit_code == 1
    assert "[output-exists]" not in done.stderr
    assert outputs(out) == whole[0]
    assert rows(out) == whole[1]
    assert not {JOURNAL, LOCK} & set(everything(out))


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_does_it_as_well(
    s3: Any,
    files: dict[str, bytes],
    whole: tuple[dict[str, bytes], list[dict[str, Any]]],
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    put("s3://ecg/dask/in", files)
    source, out = "s3://ecg/dask/in", "s3://ecg/dask/out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        pids = [nanny.pid for nanny in cluster.workers.values()]

        def kill() -> None:
            while not any(name.endswith(".json") for name in everything(out)):
                time.sleep(0.05)
            os.kill(pids[0], signal.SIGKILL)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        engine = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
        command = ["convert", source, "--format", "philips", "-o", out, *engine]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        thread.join(60)
    assert (done.exit_code, done.stdout) == (1, "9 pages written, 1 failed\n")
    assert outputs(out) == whole[0]
    assert rows(out) == whole[1]


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[UrlStore, Path]:
    """A folder in memory, and no pauses."""
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)
    store, folder = placed(f"memory://{tmp_path.name}/out")
    assert isinstance(store, UrlStore)
    return store, folder


def test_a_lock_keeps_others_out_until_its_time_is_over(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    lock = folder / LOCK

    def write(age_s: float) -> None:
        told = {"token": "theirs", "renewed_at_s": time.time() - age_s}
        store.put(lock, json.dumps(told).encode())

    with leased(store, folder) as first:
        with pytest.raises(InUseError, match="120 s after"), leased(store, folder):
            pass
        first.check()
        write(0)  # as by another one, which took it after a long sleep of this one
        with pytest.raises(InUseError), leased(store, folder):
            pass
    assert store.has(lock)  # it is not ours to remove
    write(HOLD_S - 10)
    with pytest.raises(InUseError), leased(store, folder):
        pass
    write(HOLD_S + 1)
    with leased(store, folder):
        pass
    assert not store.has(lock)
    store.put(lock, b"{half")  # of nobody knows whom, just now
    with pytest.raises(InUseError), leased(store, folder):
        pass


def test_a_run_that_has_lost_its_lock_writes_no_more(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    with leased(store, folder) as ours, SegmentJournal(store, folder / JOURNAL, ours) as journal:
        journal.append({"n": 1})
        journal.sync()
        before = everything("memory://" + folder.as_posix())
        store.put(folder / LOCK, b'{"token": "theirs", "renewed_at_s": 4e9}')
        for _ in range(500):
            if ours._taken_away:
                break
            time.sleep(0.01)
        with pytest.raises(OSError, match="another run has taken its lock"):
            journal.append({"n": 2})
    after = everything("memory://" + folder.as_posix())
    assert {**before, LOCK: b""} == {**after, LOCK: b""}
    assert b"theirs" in after[LOCK]


# --- the journal --------------------------------------------------------------------------------


class Free(Lease):
    """A lock that is never asked for."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass


def told(store: UrlStore, path: Path) -> list[dict[str, Any]]:
    with store.journal_text(path) as here:
        return list(read_journal(here))


def test_a_journal_of_segments_is_read_in_order(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    path = folder / JOURNAL
    assert told(store, path) == []
    records = [{"n": number} for number in range(150)]
    with SegmentJournal(store, path, Free()) as journal:
        for record in records[:100]:
            journal.append(record)
        assert told(store, path) == records[:64]  # a kill now costs the others
    with SegmentJournal(store, path, Free()) as journal:
        for record in records[100:]:
            journal.append(record)
    assert told(store, path) == records
    names = sorted(everything("memory://" + path.as_posix()))
    assert names == [f"{number:08d}" for number in (1, 2, 3)]
    store.put(path / "00000002", journal_line({"n": "x"}) + b"00000000 {torn")
    assert [record["n"] for record in told(store, path)] == [*range(64), "x", *range(100, 150)]


def test_a_second_journal_of_the_same_run_is_noticed(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    first = SegmentJournal(store, folder / JOURNAL, Free())
    second = SegmentJournal(store, folder / JOURNAL, Free())
    first.append({"n": 1})
    first.sync()
    second.append({"n": 2})
    with pytest.raises(OSError, match="another run writes"):
        second.sync()
    assert told(store, folder / JOURNAL) == [{"n": 1}]


def test_what_is_in_the_manifest_does_not_come_back_when_the_end_is_cut_short(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    path = folder / JOURNAL
    for number in range(3):
        with SegmentJournal(store, path, Free()) as journal:
            journal.append({"n": number})

    def cut(_: UrlStore, paths: Sequence[Path]) -> None:
        store.remove(paths[-1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UrlStore, "remove_all", cut)
        with pytest.raises(KeyboardInterrupt):
            end_segments(store, path)
    assert len(everything("memory://" + path.as_posix())) == 3
    assert told(store, path) == []
    with SegmentJournal(store, path, Free()) as journal:
        journal.append({"n": "new"})
    assert told(store, path) == [{"n": "new"}]
    end_segments(store, path)
    assert everything("memory://" + path.as_posix()) == {}


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
            raise OSError(f"disk of {SECRET} is full")
        real(key, data, **more)

    monkeypatch.setattr(type(memory), "pipe_file", full)
    with pytest.raises(OutputError) as raised:
        store.write({folder / name: b"1" for name in "abc"})
    assert raised.value.full
    assert SECRET not in str(raised.value)
    assert everything("memory://" + folder.as_posix()) == {}


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


def test_a_path_is_a_url_only_with_a_scheme(tmp_path: Path) -> None:
    assert placed("a:b/c") == (LOCAL, Path("a:b/c"))
    assert placed(f"file://{tmp_path}/x") == (LOCAL, tmp_path / "x")
    assert placed("s3:/x") == (LOCAL, Path("s3:/x"))
    assert SPOOL.startswith(".ecgvision-")
