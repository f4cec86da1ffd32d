"""Converts one file in a process of its own and prints what came of it as one line of JSON.

The file's path comes on standard input, as names may hold what arguments cannot.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from itertools import islice
from pathlib import Path


def peak_bytes() -> int:
    """The most memory this process ever held."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would tell the parent's peak where that was higher
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def capped(most_bytes: int) -> None:
    """Let a file that eats memory fail here, before the machine suffers."""
    if sys.platform.startswith("linux"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


def main(path: str, most_pages: int) -> None:
    capped(6 << 30)
    import ecgvision.media.image
    import ecgvision.media.pdf
    import ecgvision.signals.read  # noqa: F401
    from ecgvision.conversion import PageOptions, convert_each
    from ecgvision.errors import PageError
    from ecgvision.plugins import load_formats

    formats = load_formats().formats
    before, start = peak_bytes(), time.process_time()
    results = []
    options = PageOptions(read_signals=True)
    for result in islice(convert_each(path, formats, options), most_pages):
        if isinstance(result, PageError):
            results.append({"code": result.code, "message": str(result)})
        else:
            assert result.image.pixels.size
            assert result.recording is not None
            results.append({"code": "good", "message": ""})
    told = {
        # Of the processor: what else the machine does must not count.
        "seconds": time.process_time() - start,
        "grown_bytes": peak_bytes() - before,
        "results": results,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(os.fsdecode(sys.stdin.buffer.read()), int(sys.argv[1]))
