"""Import it before all else: it sets the process to what that of a command is set to."""

from __future__ import annotations

from ecgvision.cli.start import prepare_process

prepare_process()
