"""`python -m ecgvision` is the command `ecgvision`."""

from __future__ import annotations

from ecgvision.cli import main

if __name__ == "__main__":
    main(prog_name="ecgvision")
