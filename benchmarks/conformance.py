"""Whether a server does what its own description says: schemathesis on `/docs.json`.

    python benchmarks/conformance.py ant_bee_classifier:latest --examples 1000

Every route is asked with what its description allows and with what it does not, as often as
`--examples` says, and every answer is held to the description: its status, type, headers and body.
`conformance.toml` says what is checked, and what is not and why; `conformance_hooks.py` what a
picture is. Ends with one JSON line; the exit code is 1 if anything was found.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from servers import HERE, OURS, running

SHOWN: Final = ("schemathesis_version", "seed", "running_time", "operations", "test_cases")
"""What the JSON line has of schemathesis's own report, beside the failures."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print, and return the exit code."""
    options = parse(argv)
    with serving(options) as url, tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        code = ask(url, options, report)
        if not report.exists():
            raise SystemExit("error: schemathesis failed; it says above why")
        result = summarise(json.loads(report.read_text("utf-8")))
    print("\n" + json.dumps(result))
    return int(code != 0)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A server beside its description.")
    add = parser.add_argument
    add("bento", nargs="?", help="a tag, or . for the working folder")
    add("--url", help="ask this running server instead of starting one")
    add("--server", choices=[one.key for one in OURS], default=OURS[0].key)
    add("--examples", type=int, default=1000, help="cases of a route that are made at random")
    add("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if (options.bento is None) == (options.url is None):
        parser.error("give a bento or --url, and not both")
    return options


@contextlib.contextmanager
def serving(options: argparse.Namespace) -> Iterator[str]:
    """Start a server, or take the one that runs; give its address."""
    if options.url is not None:
        yield options.url
        return
    server = next(one for one in OURS if one.key == options.server)
    with running(server, options.bento, Path()) as up:
        yield up.url.removesuffix("/predict")


def ask(url: str, options: argparse.Namespace, report: Path) -> int:
    """Run schemathesis, with its output on stderr; return its exit code."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "conformance.toml", "run"]
    command += [f"{url}/docs.json", "--max-examples", str(options.examples)]
    command += ["--seed", str(options.seed), "--report", "json", "--report-json-path", str(report)]
    run = subprocess.run(  # noqa: S603 - the command above
        command,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=sys.stderr,
        check=False,
    )
    return run.returncode


def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """Keep the counts, and what was found."""
    found = [*report["failures"], *report["errors"]]
    return {name: report[name] for name in SHOWN} | {"found": found}


if __name__ == "__main__":
    raise SystemExit(main())
