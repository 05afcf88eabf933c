"""`scripts/install.sh`: packages come from where pip is told, whoever installs them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.test_quickstart import NO_NETWORK
from uv_install import read_settings, translate

LISTED = r"""
:env:.extra-index-url='https://one.test/simple\nfile:///two/simple'
download.index-url='https://unused.test/simple'
global.constraint='/etc/constraints.txt'
global.extra-index-url='https://old.test/simple'
global.timeout='60'
install.timeout='15'
"""
# What stands in for Python: it makes a .venv whose pip only writes down what it is asked.
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install "*) echo "pip $*" >>"$LOG"; exit $PIP ;;
    *) exec "$REAL" "$@" ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
echo "certificates $SSL_CERT_FILE" >>"$LOG"
exit $UV
"""


@dataclass
class Installed:
    """What came of an installation: its exit code, what was started for it, and what it said."""

    code: int
    started: list[str]
    said: str


def install(tmp_path: Path, what: str = "train", *, uv: int | None = 0, **told: str) -> Installed:
    """Run the script; `uv` is the exit code of a uv on the PATH, None for none anywhere."""
    clone, tools, log = (tmp_path / name for name in ("clone", "tools", "log"))
    shutil.copytree(REPOSITORY / "scripts", clone / "scripts")
    tools.mkdir()
    for name, text in [("python3", PYTHON), *([] if uv is None else [("uv", UV)])]:
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    if uv is None:
        assert not shutil.which("uv", path=path)
    settings = {"PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path), **told}
    stubs = {"LOG": str(log), "REAL": sys.executable, "PIP": "0", "UV": str(uv)}
    done = subprocess.run(
        ["/bin/sh", clone / "scripts/install.sh", what],
        env={"PATH": path, **NO_NETWORK, **stubs, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    return Installed(done.returncode, log.read_text().splitlines(), done.stderr)


def test_uv_is_told_what_pip_is_told(tmp_path: Path) -> None:
    """The index, the certificates and the options of the command itself reach uv."""
    done = install(tmp_path, PIP_INDEX_URL="https://mirror.test/simple", PIP_CERT="/etc/ca.pem")

    assert done.code == 0
    asked, certificates = done.started
    assert asked.startswith("uv pip install --python ")
    assert "--index-url=https://mirror.test/simple" in asked
    assert asked.endswith("--constraint requirements.txt --editable .[train]")
    assert certificates == "certificates /etc/ca.pem"


def test_only_what_tests_run_is_compiled(tmp_path: Path) -> None:
    """Training imports few of the modules that are installed; tests import them again and again."""
    for what in ("train", "dev"):
        (tmp_path / what).mkdir()
        asked, *_ = install(tmp_path / what, what).started
        assert ("--compile-bytecode" in asked) == (what == "dev")


def test_pip_installs_where_uv_fails(tmp_path: Path) -> None:
    """A uv that cannot do it is no reason to do without."""
    done = install(tmp_path, uv=2)

    assert done.code == 0
    assert "trying pip" in done.said
    assert done.started[-1].startswith("pip -m pip install --no-compile --quiet --constraint")


def test_pip_installs_where_uv_has_no_word_for_a_setting(tmp_path: Path) -> None:
    """Rather than leave out what pip is told, uv is left out."""
    done = install(tmp_path, PIP_PREFER_BINARY="1")

    assert done.code == 0
    assert "prefer-binary" in done.said
    assert [line.split()[0] for line in done.started] == ["pip"]


def test_uv_is_fetched_where_there_is_none(tmp_path: Path) -> None:
    """One that cannot be had leaves pip."""
    done = install(tmp_path, uv=None)

    assert done.code == 0
    fetched, installed = done.started
    assert " uv " in fetched
    assert "--editable .[train]" in installed


@pytest.mark.parametrize("code", [130, 143])
def test_an_interrupted_uv_is_not_followed_by_pip(tmp_path: Path, code: int) -> None:
    """Ctrl-C ends it."""
    done = install(tmp_path, uv=code)

    assert done.code == code
    assert not any(line.startswith("pip") for line in done.started)


def test_the_nearest_setting_counts() -> None:
    """Variables, then those of `pip install`, then those of every command."""
    assert read_settings(LISTED) == {
        "constraint": "/etc/constraints.txt",
        "extra-index-url": "https://one.test/simple\nfile:///two/simple",
        "timeout": "15",
    }


def test_settings_become_options_and_variables() -> None:
    """Lists are one option each, switches that are off are none, addresses of proxies are whole."""
    options, variables = translate(
        {
            **read_settings(LISTED),
            "no-index": "false",
            "pre": "yes",
            "only-binary": "numpy,torch",
            "progress-bar": "off",
            "proxy": "proxy.test:3128",
        },
        {"REQUESTS_CA_BUNDLE": "/etc/bundle.pem"},
    )

    assert options == [
        "--index-strategy=unsafe-best-match",
        "--constraint=/etc/constraints.txt",
        "--extra-index-url=https://one.test/simple",
        "--extra-index-url=file:///two/simple",
        "--prerelease=allow",
        "--only-binary=numpy",
        "--only-binary=torch",
    ]
    assert variables == {
        "SSL_CERT_FILE": "/etc/bundle.pem",
        "UV_HTTP_TIMEOUT": "15",
        "HTTP_PROXY": "http://proxy.test:3128",
        "HTTPS_PROXY": "http://proxy.test:3128",
    }
