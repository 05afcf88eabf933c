"""A server's memory, open files and threads, a line a minute, while something else asks it.

    python benchmarks/soak.py PID --minutes 60

load.py with `--pause` asks. Exit code 1: from minute 10 to the end memory grew by more than 5 %,
or there are more open files or threads.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Final

from servers import family, memory

MAX_GROWTH: Final = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Watch, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server's memory, open files and threads.")
    parser.add_argument("pid", type=int)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args(argv)
    rows = []
    for minute in range(options.minutes + 1):
        time.sleep(60 * (minute > 0))
        processes = family(options.pid)
        files = sum(one.num_fds() for one in processes)
        threads = sum(one.num_threads() for one in processes)
        rows.append((memory(options.pid), files, threads))
        print(
            f"minute {minute}: {rows[-1][0]:.1f} MB, {files} files, {threads} threads", flush=True
        )
    (before, *fixed), (after, *fixed_after) = rows[min(10, options.minutes)], rows[-1]
    growth = after / before - 1
    print(json.dumps({"minutes": options.minutes, "growth": growth, "from": before, "to": after}))
    return int(growth > MAX_GROWTH or any(a > b for a, b in zip(fixed_after, fixed, strict=True)))


if __name__ == "__main__":
    raise SystemExit(main())
