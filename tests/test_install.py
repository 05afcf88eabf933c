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
    "-m pip download "*) exit 1 ;;
    "-m pip install "*) echo "pip $*" >>"$LOG"; eval "$PIP" ;;
    *) exec "$REAL" "$@" ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
echo "index $UV_INDEX_URL" >>"$LOG"
echo "certificates $SSL_CERT_FILE" >>"$LOG"
eval "$UV"
"""
# As Ctrl-C: all that runs gets it, and pip ends as if it had failed.
INTERRUPTED = "trap '' INT; kill -INT 0; exit 1"


@dataclass
class Installed:
    """What came of an installation: its exit code, what was started for it, and what it said."""

    code: int
    started: list[str]
    said: str


def install(
    tmp_path: Path,
    what: str = "train",
    *,
    uv: str | None = "",
    pip: str = "",
    shell: str = "/bin/sh",
    **told: str,
) -> Installed:
    """Run the script; `uv` is what a uv on the PATH does, None for none anywhere."""
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
    stubs = {"LOG": str(log), "REAL": sys.executable, "PIP": pip, "UV": uv or ""}
    done = subprocess.run(
        [shell, "scripts/install.sh", what],
        cwd=clone,
        env={"PATH": path, **NO_NETWORK, **stubs, **settings},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # a signal to its group is for nobody else
    )
    return Installed(done.returncode, log.read_text().splitlines(), done.stderr)


def test_uv_is_told_what_pip_is_told(tmp_path: Path) -> None:
    """The index, the certificates and the options of the command itself reach uv.

    What has a password in it is no argument of a command, which others could read.
    """
    done = install(tmp_path, PIP_INDEX_URL="https://mirror.test/simple", PIP_CERT="/etc/ca.pem")

    assert done.code == 0
    asked, index, certificates = done.started
    assert asked.startswith("uv pip install --python ")
    assert "mirror" not in asked
    assert index == "index https://mirror.test/simple"
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
    done = install(tmp_path, uv="exit 2")

    assert done.code == 0
    assert "trying pip" in done.said
    assert done.started[-1].startswith("pip -m pip install --no-compile --quiet --constraint")


def test_pip_that_knows_no_groups_is_replaced(tmp_path: Path) -> None:
    """The pip that a Python brings along is older than what `make tools` asks of it."""
    done = install(tmp_path, "tools", uv="exit 2")

    newer, asked = done.started[-2:]
    assert newer.startswith("pip -m pip install --quiet pip>=25.1")
    assert " --group tools " in asked


def test_pip_installs_where_uv_has_no_word_for_a_setting(tmp_path: Path) -> None:
    """Rather than leave out what pip is told, uv is left out."""
    done = install(tmp_path, PIP_PREFER_BINARY="1")

    assert done.code == 0
    assert "prefer-binary" in done.said
    assert [line.split()[0] for line in done.started] == ["pip"]


def test_uv_does_not_install_what_pip_could_not(tmp_path: Path) -> None:
    """Settings that pip cannot read may name an index: without them nothing is installed."""
    (tmp_path / "pip.conf").write_text("no section\n")
    done = install(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"), pip="exit 2")

    assert done.code == 1
    assert "Configuration file could not be loaded" in done.said
    assert done.said.endswith("error: not all packages can be had: pip says why above\n")
    assert [line.split()[0] for line in done.started] == ["pip"]


def test_uv_is_fetched_where_there_is_none(tmp_path: Path) -> None:
    """One that cannot be had leaves pip."""
    done = install(tmp_path, uv=None)

    assert done.code == 0
    fetched, installed = done.started
    assert " uv " in fetched
    assert "--editable .[train]" in installed


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
@pytest.mark.parametrize("uv", [INTERRUPTED, None], ids=["installing", "fetching uv"])
def test_ctrl_c_ends_it(tmp_path: Path, shell: str, uv: str | None) -> None:
    """Whatever the program that runs makes of it, no other takes its place."""
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}, which is sh on macOS")
    done = install(tmp_path, uv=uv, pip=INTERRUPTED, shell=shell)

    assert done.code == 130
    assert "trying pip" not in done.said
    assert sum(line.startswith(("pip", "uv")) for line in done.started) == 1


@pytest.mark.parametrize("what", ["train", "ray"])
def test_half_an_environment_is_made_again(tmp_path: Path, what: str) -> None:
    """Python without pip is what an interruption leaves, or Debian where a package is missing."""
    folder = tmp_path / "clone" / (".venv" if what == "train" else f".venv-{what}") / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text("#!/bin/sh\nexit 1\n")
    (folder / "python").chmod(0o755)
    done = install(tmp_path, what)

    assert done.code == 0, done.said
    assert f"making {folder.parent.name} " in done.said
    assert done.started[0].endswith(f"--editable .[{what}]")


def test_folders_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    """The shell's CDPATH may lead to another folder that is called `scripts`."""
    (tmp_path / "other/scripts").mkdir(parents=True)
    done = install(tmp_path, CDPATH=str(tmp_path / "other"))

    assert done.code == 0, done.said
    assert (tmp_path / "clone/.venv").is_dir()
    assert not (tmp_path / "other/.venv").exists()


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
        "--prerelease=allow",
        "--only-binary=numpy",
        "--only-binary=torch",
    ]
    assert variables == {
        "SSL_CERT_FILE": "/etc/bundle.pem",
        "UV_EXTRA_INDEX_URL": "https://one.test/simple file:///two/simple",
        "UV_HTTP_TIMEOUT": "15",
        "HTTP_PROXY": "http://proxy.test:3128",
        "HTTPS_PROXY": "http://proxy.test:3128",
    }
