"""Runs `get_data.sh` as a user does: a process of its own, from a folder of the user's."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "get_data.sh"


def start_script(
    home: Path, *arguments: str, script: Path = SCRIPT, **settings: object
) -> subprocess.Popen[str]:
    """Start the script.

    Args:
        home: the folder it is called from.
        arguments: of the command line.
        script: the repository's, or a copy.
        settings: of the environment, where nothing else changes what the script does.
    """
    return subprocess.Popen(
        ["/bin/sh", script, *arguments],
        cwd=home,
        env=_environment() | {name: str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(
    home: Path, *arguments: str, script: Path = SCRIPT, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run the script to its end, as `start_script` starts it."""
    with start_script(home, *arguments, script=script, **settings) as process:
        stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _environment() -> dict[str, str]:
    left_out = {"DATA_URL", "PYTHONPATH", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHON": sys.executable}
