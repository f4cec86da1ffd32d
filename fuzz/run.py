"""Runs one fuzz target: `python -m fuzz.run media CORPUS -max_total_time=300`.

CORPUS is a folder: the seeds are written there, and inputs that reach new lines are kept there. All
that follows is libFuzzer's; a file among it is run by itself, once. Needs atheris.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

# A hang, a leak and a crash are findings as well. Larger inputs are only slower.
_LIMITS = ("-timeout=30", "-rss_limit_mb=4096", "-max_len=70000", "-len_control=0")


def main(arguments: list[str]) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with atheris.instrument_imports(include=["ecgvision"]):
        from fuzz.targets import TARGETS
    from fuzz.seeds import write_seeds

    if len(arguments) < 2 or arguments[0] not in TARGETS:
        sys.exit(f"usage: python -m fuzz.run {'|'.join(TARGETS)} CORPUS [libFuzzer's options]")
    corpus, others = Path(arguments[1]), arguments[2:]
    # libFuzzer runs the single inputs it is given, and only those.
    alone = any(Path(one).is_file() for one in others)
    if not alone:
        write_seeds(arguments[0], corpus)
        others = [*others, str(corpus)]
    atheris.Setup([sys.argv[0], *_LIMITS, *others], TARGETS[arguments[0]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
