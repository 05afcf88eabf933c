"""Whether a server does what its own description says: schemathesis on `/docs.json`.

    python benchmarks/conformance.py ant_bee_classifier:latest --examples 1000

Every route is asked with what its description allows and with what it does not, as often as
`--examples` says, and every answer is held to the description: its status, type, headers and body.
`conformance.toml` says what is checked, and what is not and why; `conformance_hooks.py` what a
picture is. Ends with one JSON line; the exit code is 1 if anything was found.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from servers import HERE, add_target, target

SHOWN: Final = ("schemathesis_version", "seed", "running_time", "operations", "test_cases")
"""What the JSON line has of schemathesis's own report, beside what was found."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server beside its description.")
    add_target(parser)
    parser.add_argument("--examples", default="1000", help="cases of a route made at random")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args(argv)
    with target(options) as (url, _, _), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "conformance.toml"]
        command += ["run", f"{url}/docs.json", "--seed", options.seed]
        command += ["--max-examples", options.examples]
        command += ["--report", "json", "--report-json-path", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}  # the hooks
        done = subprocess.run(command, cwd=HERE, env=environment, stdout=sys.stderr, check=False)  # noqa: S603
        if not path.exists():
            raise SystemExit("error: schemathesis failed; it says above why")
        report = json.loads(path.read_text("utf-8"))
    found = [*report["failures"], *report["errors"]]
    print("\n" + json.dumps({name: report[name] for name in SHOWN} | {"found": found}))
    return int(done.returncode != 0)


if __name__ == "__main__":
    raise SystemExit(main())
