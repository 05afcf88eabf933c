"""What a server answers to those who wish it ill: broken pictures, bombs, broken requests.

    python benchmarks/hostile ant_bee_classifier:latest --data data
    python benchmarks/hostile --url http://127.0.0.1:3000 --pid PID

Sends 10,000 mutated files, 50 files cut at every percent, and every file and request of `files` and
`requests`: the same for the same pictures and seed. The server is started for it, or runs already;
then only with `--pid` can its processes be looked at.

Prints how it answered, with the memory of all its processes, then one JSON line. The exit code is
1 if anything was answered 5xx or not as documented, or not at all, and if any of the server's
processes ended or got a child.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where this folder's neighbours are
    from hostile.attack import main

    raise SystemExit(main())
