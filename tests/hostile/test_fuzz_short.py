"""The fuzz targets hold on their seeds, and for 20 s each where atheris is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.seeds import write_seeds
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
SECONDS = 20


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_seeds_are_read(target: str, tmp_path: Path) -> None:
    assert write_seeds(target, tmp_path) >= 4
    for seed in sorted(tmp_path.iterdir()):
        TARGETS[target](seed.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_minute_of_fuzzing_in_all(target: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "fuzz.run",
            target,
            str(tmp_path / "corpus"),
            f"-max_total_time={SECONDS}",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/found-",
        ],
        capture_output=True,
        cwd=ROOT,
        timeout=SECONDS * 8,
        check=False,
    )
    told = run.stderr.decode(errors="replace")
    # An exception and where it comes from are told on the other stream.
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-4000:] + told[-1000:]
    assert "Done " in told
    assert not list(tmp_path.glob("found-*"))
