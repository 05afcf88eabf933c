"""Makes `python benchmarks/hostile` what `attack.py` says."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where this folder's neighbours are
    from hostile.attack import main

    raise SystemExit(main())
