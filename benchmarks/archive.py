"""What running over an archive costs: by workers, by page, in memory, and in the manifest.

Everything is timed in one run and told as ratios, each beside its target: two workers against one,
the whole command against a plain loop over the pages, memory after many pages against memory after
100, and the manifest's cost per page in a large archive against that in a small one. Pages a second
and core come last. The machine must have nothing else to do. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
from archive_pages import DATA, KINDS, Kind, archive
from archive_process import Asked, JournalCount, end_group, group, peaks_mb
from archive_run import manifest

from ecgvision.archive.journal import JOURNAL, Journal
from ecgvision.archive.manifest import compact, knowledge
from ecgvision.archive.pages import page_files
from ecgvision.archive.rows import PageRow, now
from ecgvision.conversion import PageOptions, convert_each
from ecgvision.errors import PageError
from ecgvision.output import page_names, write_files
from ecgvision.plugins import load_formats
from ecgvision.recognition import AUTO, choose_formats
from ecgvision.testing import draw_page, synthetic_ecg

WORKERS_TARGET = 1.8
OVERHEAD_TARGET_PERCENT = 5.0
MEMORY_TARGET_PERCENT = 10.0
# "Constant": what a page costs in the largest archive, against the smallest.
MANIFEST_TARGET = 1.25
EARLY_PAGES = 100
ROW_STEPS = (1_000, 10_000, 100_000)
_STARTED_AT_ONCE = 64
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Figure:
    """One line of the table; `met` is None where there is no target."""

    name: str
    found: str
    target: str = ""
    met: bool | None = None


Say = Callable[[str], None]


# --- the command and the plain loop -------------------------------------------------------------


def timed(command: Sequence[str], out: Path, log: Path) -> float:
    """Seconds of a whole process that converts into `out`, which is emptied before."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    with log.open("ab") as told:
        code = subprocess.run(
            command, stdout=told, stderr=told, check=False, env=os.environ | _ONE_THREAD
        ).returncode
    if code not in (0, 1):
        raise RuntimeError(f"exit code {code}; see {log}")
    return time.perf_counter() - started


def bare(reports: Path, out: Path) -> None:
    """A plain loop over all pages in this process: convert, write, nothing kept but the files."""
    cv2.setNumThreads(1)
    formats = choose_formats(AUTO, None)
    for path in sorted(reports.rglob("*.p[dn][fg]")):
        folder = out / path.parent.relative_to(reports)
        folder.mkdir(parents=True, exist_ok=True)
        for page in convert_each(path, formats, PageOptions()):
            if not isinstance(page, PageError):
                names = page_names(path.stem, page.page_number, folder)
                write_files(page_files(names, page, ()))


def bare_command(reports: Path, out: Path) -> list[str]:
    return [sys.executable, __file__, "--bare", str(reports), str(out)]


def outputs(out: Path) -> set[str]:
    """The names of all pictures below a folder."""
    return {path.relative_to(out).as_posix() for path in out.rglob("*.png")}


def workers_and_overhead(reports: Path, work: Path, repeats: int, say: Say) -> list[Figure]:
    """Two workers, one worker and the plain loop in turn; the fastest time of each counts."""
    ways: dict[str, Callable[[Path], list[str]]] = {
        "the plain loop": lambda out: bare_command(reports, out),
        "one worker": Asked(reports, 1).command,
        "two workers": Asked(reports, 2).command,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    written: dict[str, set[str]] = {}
    for turn in range(repeats):
        for name, command in ways.items():
            out = work / name.replace(" ", "-")
            seconds[name].append(timed(command(out), out, work / "archive.log"))
            written[name] = outputs(out)
            say(f"  turn {turn + 1}, {name}: {seconds[name][-1]:.1f} s")
    if len({frozenset(names) for names in written.values()}) != 1:
        raise RuntimeError("the three ways did not write the same files")
    best = {name: min(times) for name, times in seconds.items()}
    gain = best["one worker"] / best["two workers"]
    overhead = 100 * (best["one worker"] / best["the plain loop"] - 1)
    return [
        Figure(
            "two workers against one",
            f"{gain:.2f} times as fast",
            f"at least {WORKERS_TARGET:g}",
            gain >= WORKERS_TARGET,
        ),
        Figure(
            "one worker against a plain loop",
            f"{overhead:+.1f} % of its time",
            f"under {OVERHEAD_TARGET_PERCENT:g} %",
            overhead < OVERHEAD_TARGET_PERCENT,
        ),
    ]


# --- memory -------------------------------------------------------------------------------------


def small_archive(folder: Path, pages: int) -> Path:
    """So many files of one small page each: links to a few that are drawn."""
    if folder.exists():
        shutil.rmtree(folder)
    chosen = load_formats().find("ge")
    drawn = []
    for seed in range(8):
        path = folder / "drawn" / f"{seed}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        ecg = synthetic_ecg(seed=seed, seconds=10)
        path.write_bytes(draw_page(chosen.layouts[0], chosen.info, ecg).pdf)
        drawn.append(path)
    for number in range(pages):
        path = folder / "reports" / f"{number // 500:03d}" / f"{number:06d}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(drawn[number % len(drawn)], path)
    return folder / "reports"


def memory(work: Path, pages: int, say: Say) -> list[Figure]:
    """The most memory of any worker after 100 pages and at the end of two workers' run."""
    reports, out = small_archive(work / "small", pages), work / "small-out"
    shutil.rmtree(out, ignore_errors=True)
    asked = Asked(reports, 2, more=("--format", "ge", "--px-per-mm", "2"))
    journal, first = JournalCount(out / JOURNAL), min(EARLY_PAGES, pages // 2)
    early: dict[str, float] = {}
    late: dict[str, float] = {}
    log, command = work / "archive.log", asked.command(out)
    with log.open("ab") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)
        try:
            while process.poll() is None:
                late |= _peaks(process.pid)
                if not early and journal.count() >= first:
                    early = dict(late)
                time.sleep(0.1)
        finally:
            end_group(process)
    rows = manifest(out) if process.returncode == 0 else []
    if len(rows) != pages or any(row["status"] != "done" for row in rows):
        raise RuntimeError(f"not all of {pages} small pages were converted; see {log}")
    say(f"  memory in MB, early {early}, late {late}")
    growth = 100 * (late["worker"] / early["worker"] - 1)
    growth_of_main = late["command"] - early["command"]
    return [
        Figure(
            f"memory of a worker, after {first} and {pages:,} pages",
            f"{early['worker']:.0f} and {late['worker']:.0f} MB, {growth:+.1f} %",
            f"within {MEMORY_TARGET_PERCENT:g} %",
            growth <= MEMORY_TARGET_PERCENT,
        ),
        Figure("memory of the command itself, between them", f"{growth_of_main:+.0f} MB"),
    ]


def _peaks(group_id: int) -> dict[str, float]:
    """The peak of the command itself, and the greatest of its workers', in MB."""
    peaks = peaks_mb(group_id)
    workers = [peaks[one] for one in group(group_id) if one in peaks and _is_worker(one)]
    found = {"command": peaks[group_id]} if group_id in peaks else {}
    return found | ({"worker": max(workers)} if workers else {})


def _is_worker(process: int) -> bool:
    """Whether its parent is the process that starts workers."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        parent = told.rpartition(")")[2].split()[1]
        return b"forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False


# --- manifest -----------------------------------------------------------------------------------


def simulated(count: int) -> Iterator[PageRow]:
    """Rows as a run writes them, of one page each."""
    for number in range(count):
        stem = f"{number // 1000:04d}/report-{number:07d}"
        yield PageRow(
            f"{stem}.pdf",
            source_sha256=f"{number:064x}",
            source_bytes=60_000 + number % 997,
            source_mtime_ns=1_700_000_000_000_000_000 + number,
            page=1,
            pages=1,
            status="done",
            origin="vector",
            format="philips-tc30",
            layout="3x4+1R",
            score=1.0,
            speed_mm_per_s=25.0,
            gain_mm_per_mv=10.0,
            speed_from="text",
            gain_from="text",
            outputs=[f"{stem}.json", f"{stem}.png"],
            seconds=0.3,
            options="0123456789ab",
            year=2023,
            finished_at=now(),
            root="/archive",
        )


def manifest_costs(folder: Path, count: int) -> dict[str, float]:
    """Microseconds a page of appending, compacting, reading for a resume, and merging one more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clock = [time.perf_counter()]
    with Journal(folder / JOURNAL) as journal:
        for number, row in enumerate(simulated(count)):
            if number % _STARTED_AT_ONCE == 0:
                journal.append({"kind": "start", "sources": [row.source] * _STARTED_AT_ONCE})
            journal.append({"kind": "file", "source": row.source, "rows": [row.as_record()]})
        journal.sync()
    clock.append(time.perf_counter())
    found = [len(knowledge(folder, lambda _: True).known)]
    clock.append(time.perf_counter())
    compact(folder)
    clock.append(time.perf_counter())
    found.append(len(knowledge(folder, lambda _: True).known))
    clock.append(time.perf_counter())
    last = next(simulated(1))
    with Journal(folder / JOURNAL) as journal:
        record = replace(last, source="one-more.pdf", outputs=["one-more.json"]).as_record()
        journal.append({"kind": "file", "source": "one-more.pdf", "rows": [record]})
    compact(folder)
    clock.append(time.perf_counter())
    if found != [count, count] or len(manifest(folder)) != count + 1:
        raise RuntimeError(f"{count} rows were written, {found} found")
    names = ("append", "resume from the journal", "compact", "resume from the manifest", "merge")
    return {
        name: 1e6 * (b - a) / count for name, (a, b) in zip(names, pairwise(clock), strict=True)
    }


def manifest_figures(work: Path, most: int, say: Say) -> list[Figure]:
    """The cost per page by the number of pages, each step twice, the faster time counted."""
    manifest_costs(work / "rows", 100)  # loads libraries
    steps = sorted({*(step for step in ROW_STEPS if step < most), most})
    costs: dict[int, dict[str, float]] = {}
    for step in steps:
        both = [manifest_costs(work / "rows", step) for _ in range(2)]
        costs[step] = {name: min(one[name] for one in both) for name in both[0]}
        told = ", ".join(f"{name} {cost:.0f}" for name, cost in costs[step].items())
        say(f"  {step:,} rows, microseconds a page: {told}")
    shutil.rmtree(work / "rows")
    totals = [sum(costs[step].values()) for step in steps]
    ratio = totals[-1] / totals[0]
    return [
        Figure(
            f"manifest's cost a page, {steps[0]:,} and {steps[-1]:,} pages",
            f"{totals[0]:.0f} and {totals[-1]:.0f} µs, {ratio:.2f} times",
            f"at most {MANIFEST_TARGET:g} times",
            ratio <= MANIFEST_TARGET,
        ),
        *(
            Figure(f"  of it: {name}", " / ".join(f"{costs[s][name]:.0f}" for s in steps) + " µs")
            for name in costs[steps[0]]
        ),
    ]


# --- speed --------------------------------------------------------------------------------------


def speeds(work: Path, pages: int, processes: int, say: Say) -> list[Figure]:
    """Pages a second of one worker, by kind, with and without signals."""
    found = []
    kinds: tuple[Kind, ...] = KINDS
    for kind in kinds:
        due = archive(work / f"{kind}-{pages}", pages, processes, [kind], hostile_share=0)
        for signals in ("", "npz"):
            out = work / "speed"
            command = Asked(due.parent / "reports", 1, signals).command(out)
            seconds = timed(command, out, work / "archive.log")
            rows = manifest(out)
            done = sum(row["status"] == "done" for row in rows)
            told = f"{kind}, {'with' if signals else 'without'} signals"
            say(f"  {told}: {seconds:.1f} s, {done} of {len(rows)} done")
            found.append(
                Figure(
                    f"pages a second and core, {told}",
                    f"{len(rows) / sum(row['seconds'] for row in rows):.2f}",
                )
            )
    return found


# --- report -------------------------------------------------------------------------------------


def markdown(figures: Sequence[Figure]) -> str:
    words = {True: "yes", False: "**no**", None: ""}
    lines = ["| | found | target | met |", "|---|---:|---:|---|"]
    lines += [f"| {one.name} | {one.found} | {one.target} | {words[one.met]} |" for one in figures]
    return "\n".join(lines) + "\n"


def measured(given: argparse.Namespace, say: Say) -> list[Figure]:
    """All that was asked for."""
    work: Path = given.work
    figures: list[Figure] = []
    if "manifest" in given.parts:
        say("the manifest ...")
        figures += manifest_figures(work, given.rows, say)
    if "workers" in given.parts:
        say("workers and overhead ...")
        due = archive(work / f"mixed-{given.pages}", given.pages, 2, hostile_share=0)
        figures += workers_and_overhead(due.parent / "reports", work, given.repeats, say)
    if "memory" in given.parts:
        say("memory ...")
        figures += memory(work, given.memory_pages, say)
    if "speed" in given.parts:
        say("pages a second ...")
        figures += speeds(work, given.speed_pages, 2, say)
    return figures


PARTS = ("manifest", "workers", "memory", "speed")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("parts", nargs="*", help=f"what to measure (default all): {PARTS}")
    parser.add_argument("--pages", type=int, default=200, help="for the workers (default 200)")
    parser.add_argument("--repeats", type=int, default=3, help="of each way (default 3)")
    parser.add_argument("--memory-pages", type=int, default=10_000, help="(default 10,000)")
    parser.add_argument("--rows", type=int, default=100_000, help="simulated (default 100,000)")
    parser.add_argument("--speed-pages", type=int, default=60, help="a kind (default 60)")
    parser.add_argument("--work", type=Path, default=Path("runs/archive"), help="scratch folder")
    parser.add_argument("--bare", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    parser = arguments()
    given = parser.parse_args()
    if given.bare:
        bare(*given.bare)
        return 0
    given.parts = given.parts or list(PARTS)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part is named {', '.join(sorted(unknown))}; there are {PARTS}")
    if not (DATA / "ptbxl" / "signals.npz").is_file():
        print(f"No PTB-XL signals in {DATA}: set ECGVISION_DATA to their folder.", file=sys.stderr)
        return 2
    given.work.mkdir(parents=True, exist_ok=True)
    figures = measured(given, lambda text: print(text, flush=True))
    print(markdown(figures))
    told = json.dumps([asdict(one) for one in figures], indent=1) + "\n"
    (given.work / "archive.json").write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
