"""Runs `uv pip install` as pip would have been: `python scripts/uv_install.py UV ARGUMENT...`.

uv installs in a fraction of pip's time, but knows nothing of pip's settings, which say where
packages come from: https://docs.astral.sh/uv/pip/compatibility. They are handed to it here; one
that it has no word for ends this with exit code 1, and pip is to install.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

SECTIONS: Final = ("global", "install", ":env:")
"""What `pip install` reads, the last first."""
LISTS: Final = ("constraint", "find-links", "trusted-host")
FORMATS: Final = ("no-binary", "only-binary")
FLAGS: Final = {"no-index": "--no-index", "no-cache-dir": "--no-cache", "pre": "--prerelease=allow"}
VARIABLES: Final = {
    "client-cert": ("SSL_CLIENT_CERT",),
    "extra-index-url": ("UV_EXTRA_INDEX_URL",),
    "index-url": ("UV_INDEX_URL",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "retries": ("UV_HTTP_RETRIES",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
"""Addresses of indexes have passwords in them, and others here can read a command's arguments."""
WITHOUT_EFFECT: Final = {
    *("break-system-packages", "cache-dir", "compile", "config-file", "debug", "log"),
    *("disable-pip-version-check", "no-color", "no-compile", "no-input", "progress-bar"),
    *("no-python-version-warning", "no-warn-script-location", "quiet", "require-virtualenv"),
    *("root-user-action", "verbose"),
}
"""Settings that change nothing of what is installed into a virtual environment."""
TRUE: Final = {"1", "on", "t", "true", "y", "yes"}


def main(argv: Sequence[str]) -> NoReturn:
    """Become uv, or say why not and exit with 1."""
    uv, *arguments = argv
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if listed.returncode:
        sys.exit(1)  # it has said why
    try:
        options, variables = translate(read_settings(listed.stdout), os.environ)
    except ValueError as error:
        sys.exit(str(error))
    # An option takes the place of the variable of its name, where pip adds the two.
    arguments = ["--index" if one == "--extra-index-url" else one for one in arguments]
    command = [uv, "pip", "install", "--python", sys.executable, *options, *arguments]
    os.execve(uv, command, {**os.environ, **variables})  # noqa: S606 - no shell is the point


def read_settings(listed: str) -> dict[str, str]:
    """Read what `pip config list` prints: the settings of `pip install`, by name."""
    lines = [line.partition("=") for line in listed.splitlines()]
    return {
        name.removeprefix(f"{section}."): str(ast.literal_eval(value))
        for section in SECTIONS
        for name, _, value in lines
        if name.startswith(f"{section}.")
    }


def translate(
    settings: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Say what pip's settings are to uv.

    Returns:
        uv's options, and the variables that it needs.

    Raises:
        ValueError: there is no such thing; the text names the setting.
    """
    # For pip all indexes are as good as each other, and the newest version is taken.
    options, variables = ["--index-strategy=unsafe-best-match"], {}
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    if certificates := settings.get("cert") or bundle:
        kind = "DIR" if Path(certificates).is_dir() else "FILE"
        variables[f"SSL_CERT_{kind}"] = certificates
    for name, value in settings.items():
        if name in LISTS:
            options += [f"--{name}={one}" for one in value.split()]
        elif name in FORMATS:
            options += [f"--{name}={one}" for one in value.replace(",", " ").split()]
        elif name in FLAGS:
            options += [FLAGS[name]] if value.lower() in TRUE else []
        elif name in VARIABLES:
            if name == "proxy" and "://" not in value:
                value = f"http://{value}"  # noqa: PLW2901 - as pip reads it
            variables |= dict.fromkeys(VARIABLES[name], " ".join(value.split()))
        elif name != "cert" and name not in WITHOUT_EFFECT:
            raise ValueError(f"pip is told {name}={value}, which uv has no word for")
    return options, variables


if __name__ == "__main__":
    main(sys.argv[1:])
