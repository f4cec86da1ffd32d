"""Eight clients send reports to a server on this machine: answers, waiting, memory.

    python benchmarks/serve.py [--clients 8] [--seconds 60] [--workers 2]

Each client sends a drawn page to /api/predict, waits for the answer, and sends the next. Told are
the pages per second, the time of an answer, what was lost, and the memory of the server with its
workers: at the end of the first quarter, and the most and the least of the time after it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg


@dataclass
class Tally:
    """What the clients have seen so far."""

    seconds: list[float] = field(default_factory=list)
    turned_away: int = 0
    lost: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def client(port: int, page: bytes, until: float, tally: Tally) -> None:
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            headers = {"Content-Type": "application/pdf"}
            connection.request("POST", "/api/predict", page, headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
        except OSError as error:
            with tally.lock:
                tally.lost.append(type(error).__name__)
            continue
        with tally.lock:
            if answer.status == 429:
                tally.turned_away += 1
            elif answer.status == 200 and json.loads(body)["pages"][0]["status"] == "done":
                tally.seconds.append(time.monotonic() - began)
            else:
                tally.lost.append(f"{answer.status} {body[:200]!r}")


def memory_mb(root: int) -> float:
    """Resident memory of a process and all below it, shared pages by their share."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    total_kb = 0
    for pid in family:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kb += int(line.split()[1])
        except OSError:
            continue
    return total_kb / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="none")
    asked = parser.parse_args()
    one = next(one for one in load_formats().formats if one.info.id == "philips-tc30")
    page = draw_page(one.layouts[0], one.info, synthetic_ecg(seed=1)).pdf
    command = [sys.executable, "-m", "ecgvision", "serve", "--port", "0", "--model", asked.model]
    with subprocess.Popen(
        [*command, "--workers", str(asked.workers)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
        try:
            told = measure(port, page, server.pid, asked.clients, asked.seconds)
        finally:
            server.terminate()
            server.wait(60)
    print(json.dumps(told, indent=2))


def measure(
    port: int, page: bytes, pid: int, clients: int, seconds: float
) -> dict[str, float | int | list[str]]:
    warm = Tally()
    for _ in range(3):
        client(port, page, time.monotonic() + 0.001, warm)
    tally, began = Tally(), time.monotonic()
    arguments = (port, page, began + seconds, tally)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    memory: list[tuple[float, float]] = []
    while any(thread.is_alive() for thread in threads):
        memory.append((time.monotonic() - began, memory_mb(pid)))
        time.sleep(2)
    took_s = time.monotonic() - began
    later = [mb for at, mb in memory if at > seconds / 4]
    early = [mb for at, mb in memory if at <= seconds / 4]
    ordered = sorted(tally.seconds)
    return {
        "clients": clients,
        "answers": len(ordered),
        "answers_per_s": round(len(ordered) / took_s, 2),
        "median_s": round(statistics.median(ordered), 2),
        "p95_s": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
        "turned_away": tally.turned_away,
        "lost": tally.lost,
        "memory_early_mb": round(early[-1]),
        "memory_least_mb": round(min(later)),
        "memory_most_mb": round(max(later)),
    }


if __name__ == "__main__":
    main()
