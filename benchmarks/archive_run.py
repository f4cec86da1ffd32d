"""A run over an archive, and the same run killed three times: does it end the same?

Draws an archive of pages, converts it on two workers undisturbed, then again into another folder,
where the whole process group is killed at three moments drawn by chance and the same command is
started again each time. Then everything is compared: the manifests, and every byte of the outputs.
What is drawn, and what is checked, is told in README.md. The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from archive_pages import DATA, SEED, DueFile, archive, counts, due_files
from archive_process import Asked, Spell, spell

MANIFEST, LOCK = "manifest.parquet", ".lock"
# What two runs over the same files may say differently: when and how long.
MAY_DIFFER = {"seconds", "finished_at"}
MARK = "<!-- figures -->"


# --- killed and started again ------------------------------------------------------------------


def killed_often(asked: Asked, out: Path, log: Path, files: int, kills: int) -> list[Spell]:
    """The run with `kills` kills, each after a share of the files that are left then."""
    rng = np.random.default_rng([SEED, files])
    spells: list[Spell] = []
    done = 0
    for number in range(kills):
        # On average they fall evenly between start and end.
        share = rng.uniform(0, 2 / (kills + 1 - number))
        kill_at = done + max(1, int(min(share, 0.9) * (files - done)))
        spells.append(spell(asked, out, log, kill_at, rng.uniform(0, 1)))
        done, seconds = spells[-1].files_done, spells[-1].seconds
        print(f"  killed after {seconds:.0f} s with {done} of {files} files done", flush=True)
    return [*spells, spell(asked, out, log)]


# --- what came of it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """`wrong` are the first few things that are not as they should be; `count` is of all."""

    name: str
    looked_at: int
    count: int
    wrong: tuple[str, ...]


def check(name: str, looked_at: int, wrong: Iterable[Any]) -> Check:
    listed = [str(one) for one in wrong]
    return Check(name, looked_at, len(listed), tuple(listed[:5]))


Rows = dict[tuple[str, int], dict[str, Any]]


def manifest(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / MANIFEST).to_pylist()
    return rows


def keyed(rows: Sequence[dict[str, Any]]) -> Rows:
    return {(row["source"], row["page"]): row for row in rows}


def checks(files: Sequence[DueFile], plain: Path, killed: Path) -> list[Check]:
    """Everything that must hold of both runs."""
    first, second = manifest(plain), manifest(killed)
    found = [*once("undisturbed", files, first, plain), *once("killed", files, second, killed)]
    one, other = keyed(first), keyed(second)
    differing = [
        f"{key}: {name}"
        for key in one.keys() | other.keys()
        for name in first[0].keys() - MAY_DIFFER
        if one.get(key, {}).get(name) != other.get(key, {}).get(name)
    ]
    found.append(check("rows are the same but for times", len(one), differing))
    ours, theirs = digests(plain), digests(killed)
    unlike = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    found.append(check("output files are the same to the byte", len(ours), unlike))
    return found


def once(
    name: str, files: Sequence[DueFile], rows: Sequence[dict[str, Any]], out: Path
) -> list[Check]:
    """What must hold of one run: each page once, nothing lost, nothing left over."""
    times = Counter((row["source"], row["page"]) for row in rows)
    due = {(one.name, k + 1) for one in files if one.layouts for k in range(len(one.layouts))}
    hostile = {one.name for one in files if not one.layouts}
    hostile_rows = Counter(source for source, _ in times if source in hostile)
    told = {(source, page) for source, page in times if source not in hostile}
    amiss: list[Any] = [key for key, count in times.items() if count != 1]
    amiss += [*(due ^ told), *(source for source in hostile if hostile_rows[source] != 1)]
    written = {one for row in rows for one in row["outputs"]}
    there = set(digests(out)) | {MANIFEST, LOCK}
    believed = [row["source"] for row in rows if row["source"] in hostile and row["outputs"]]
    unexplained = [
        row["source"] for row in rows if (row["status"] == "done") == bool(row["reason"])
    ]
    return [
        check(f"{name}: every page has one row", len(due) + len(hostile), amiss),
        check(f"{name}: outputs are those of the rows", len(written), there ^ _all(written)),
        check(f"{name}: a hostile file gives no output", len(hostile), believed),
        check(f"{name}: a reason where a page is not done", len(rows), unexplained),
    ]


def _all(written: set[str]) -> set[str]:
    return written | {MANIFEST, LOCK}


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file but manifest and lock; empty folders that no page needs count, too."""
    found = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                found[f"{name}/"] = ""
        elif name not in (MANIFEST, LOCK):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# --- report -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KindFigures:
    """Pages of one kind: how they ended, and seconds a page in its worker."""

    pages: int
    done: int
    other: dict[str, int]
    as_drawn: int
    median_s: float
    p95_s: float


def by_kind(files: Sequence[DueFile], rows: Rows) -> dict[str, KindFigures]:
    """`as_drawn` counts pages whose format and layout are those they were drawn in."""
    found: dict[str, KindFigures] = {}
    for kind in ("vector", "png", "scan", "hostile"):
        of_kind = [one for one in files if one.kind == kind]
        drawn = {
            (one.name, k + 1): (one.formats[k], layout)
            for one in of_kind
            for k, layout in enumerate(one.layouts)
        }
        names = {one.name for one in of_kind}
        chosen = [row for row in rows.values() if row["source"] in names]
        if not chosen:
            continue
        seconds = [row["seconds"] for row in chosen]
        found[kind] = KindFigures(
            len(chosen),
            sum(row["status"] == "done" for row in chosen),
            dict(Counter(row["reason"] for row in chosen if row["reason"])),
            sum(
                (row["format"], row["layout"]) == drawn.get((row["source"], row["page"]))
                for row in chosen
            ),
            statistics.median(seconds),
            float(np.quantile(seconds, 0.95)),
        )
    return found


def markdown(told: dict[str, Any]) -> str:
    """Three tables: how pages ended, how the runs went, and what was checked."""
    signals = f"with signals as {told['signals']}" if told["signals"] else "without signals"
    lines = [
        f"{told['pages']:,} pages drawn, {told['files']:,} files in all, converted {signals}.",
        "",
        "| kind | pages | done | as drawn | s a page, median | 95 % under | not done |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for kind, one in told["kinds"].items():
        other = ", ".join(f"{code} {count}" for code, count in sorted(one["other"].items()))
        lines.append(
            f"| {kind} | {one['pages']} | {one['done']} | {one['as_drawn']} | "
            f"{one['median_s']:.2f} | {one['p95_s']:.2f} | {other} |"
        )
    lines += ["", "| run | seconds | ended | files done then | most memory of a process |"]
    lines.append("|---|---:|---|---:|---:|")
    for name, one in _spells(told):
        ended = f"exit code {one['code']}" if one["code"] >= 0 else f"signal {-one['code']}"
        lines.append(
            f"| {name} | {one['seconds']:.0f} | {ended} | {one['files_done'] or 'all'} | "
            f"{one['peak_mb']:.0f} MB |"
        )
    lines += ["", "| check | looked at | wrong |", "|---|---:|---:|"]
    for one in told["checks"]:
        lines.append(f"| {one['name']} | {one['looked_at']:,} | {one['count']} |")
    return "\n".join(lines) + "\n"


def write_figures(page: Path, text: str) -> None:
    """Put the tables into a page of the documentation, in place of all that follows the mark."""
    before, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK}")
    page.write_text(f"{before}{mark}\n\n{text}", encoding="utf-8")


def _spells(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "undisturbed", told["undisturbed"]
    for number, one in enumerate(told["killed"], 1):
        yield f"killed, start {number}", one


def run_all(given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Draw, run, kill, compare; gives all figures."""
    work = given.work / f"pages-{given.pages}"
    started = time.monotonic()
    due = archive(given.cache or work, given.pages, given.processes)
    files = due_files(due)
    say(f"{dict(counts(files))} in {len(files)} files, in {time.monotonic() - started:.0f} s")
    asked = Asked(due.parent / "reports", given.workers, given.signals, given.timeout)
    plain, killed = work / "plain", work / "killed"
    for out in (plain, killed):
        shutil.rmtree(out, ignore_errors=True)
    undisturbed = spell(asked, plain, work / "plain.log")
    if undisturbed.code not in (0, 1):
        raise RuntimeError(f"exit code {undisturbed.code}; see {work / 'plain.log'}")
    say(f"undisturbed: {undisturbed.seconds:.0f} s")
    spells = killed_often(asked, killed, work / "killed.log", len(files), given.kills)
    rows = keyed(manifest(plain))
    found = checks(files, plain, killed)
    ended = [one.code for one in spells]
    due_codes = [-signal.SIGKILL] * given.kills + [undisturbed.code]
    wrong = [f"{ended}, not {due_codes}"] if ended != due_codes else []
    found.insert(0, check("killed as often as asked, then the same exit code", len(ended), wrong))
    return {
        "pages": given.pages,
        "signals": given.signals,
        "files": len(files),
        "kinds": {kind: asdict(one) for kind, one in by_kind(files, rows).items()},
        "undisturbed": asdict(undisturbed),
        "killed": [asdict(one) for one in spells],
        "checks": [asdict(one) for one in found],
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pages", type=int, default=2000, help="pages to draw (default 2000)")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for everything")
    parser.add_argument("--cache", type=Path, help="folder of the drawn pages (default in --work)")
    parser.add_argument("--processes", type=int, default=2, help="to draw with (default 2)")
    parser.add_argument("--workers", type=int, default=2, help="of the run (default 2)")
    parser.add_argument("--kills", type=int, default=3, help="how often to kill it (default 3)")
    parser.add_argument("--signals", default="", metavar="KIND", help="read signals, too: npz ...")
    parser.add_argument("--timeout", type=float, default=600.0, help="s for a page (default 600)")
    parser.add_argument("--out", type=Path, help=f"page whose part after {MARK} to replace")
    parser.add_argument("--told", type=Path, help="run.json of an earlier run: only tell of it")
    return parser


def main() -> int:
    given = arguments().parse_args()
    if given.told:
        return report(json.loads(given.told.read_text(encoding="utf-8")), given.out)
    if not (DATA / "ptbxl" / "signals.npz").is_file():
        print(f"No PTB-XL signals in {DATA}: set ECGVISION_DATA to their folder.", file=sys.stderr)
        return 2
    (given.work / f"pages-{given.pages}").mkdir(parents=True, exist_ok=True)
    told = run_all(given, lambda text: print(text, flush=True))
    content = json.dumps(told, indent=1) + "\n"
    (given.work / f"pages-{given.pages}" / "run.json").write_text(content, encoding="utf-8")
    return report(told, given.out)


def report(told: dict[str, Any], out: Path | None) -> int:
    """Print the tables, and write them where they are wanted; gives the exit code."""
    text = markdown(told)
    print(text)
    for one in told["checks"]:
        for wrong in one["wrong"]:
            print(f"{one['name']}: {wrong}")
    if out is not None:
        write_figures(out, text)
    return int(any(one["count"] for one in told["checks"]))


if __name__ == "__main__":
    sys.exit(main())
