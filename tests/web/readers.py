"""What workers do in place of reading: they die, they dawdle, they wait."""

from __future__ import annotations

import os
import time

from ecgvision.web.work import Failure, UploadTask, read_upload

CRASH = b"%PDF-crash"
HANG = b"%PDF-hang"
GREEDY = b"%PDF-greedy"
_LONGEST_S = 120


def troubled(task: UploadTask) -> Failure | None:
    """As the real one, but for files that begin with one of the words above."""
    head = task.report.read_bytes()[:12]
    if head.startswith(CRASH):
        os.abort()
    if head.startswith(GREEDY):
        raise MemoryError
    if head.startswith(HANG):
        time.sleep(_LONGEST_S)
    return read_upload(task)
