"""Waits until its standard input ends, then removes the folder that it is given.

Run as a script, without the package: it has to be small, as it only waits.
"""

import shutil
import sys
import time


def main() -> None:
    sys.stdin.buffer.read()
    # Workers that end with their parent may still write for a moment.
    for _ in range(20):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
