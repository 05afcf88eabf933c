#!/bin/sh
# Makes .venv, or adds to it: install.sh train|dev|bench
# train is what training, packing and serving need; dev adds tests and checks, bench the peers.
# install.sh ray|trainers|tools makes .venv-ray and so on instead: what antbee.batch on Ray is tested
# with, what training is compared with, and what other people's systems are tested with.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

torch_cpu=https://download.pytorch.org/whl/cpu

# Apache-2.0: its wheel holds Lambda's own emulator (Apache-2.0, too), which is all that is taken.
sam_cli='aws-sam-cli>=1.150'

say() { echo "$*" >&2; }

# Most of what make serve needs is never imported, and compiled when it is. Tests start hundreds of
# processes, in which Python may be forbidden to write what it compiles.
venv=.venv compile=
case ${1:-} in
    train) extras=train ;;
    dev) extras=train,dev compile=yes ;;
    bench) extras=train,dev,bench compile=yes ;;
    ray | trainers) extras=$1 venv=.venv-$1 compile=yes ;;
    tools) venv=.venv-tools ;;
    *) say "usage: install.sh train|dev|bench|ray|trainers|tools"; exit 2 ;;
esac

# pip that is interrupted ends as one that failed, and nothing is to take its place.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# PyPI's torch for Linux brings gigabytes of CUDA, of no use without an NVIDIA GPU. PyTorch's own
# index has builds without it, where it can be reached.
wants_cpu_builds() {
    [ "$(uname -s)" = Linux ] || return 1
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then return 1; fi
    "$python" - "$torch_cpu/torch/" <<'PYTHON'
import signal, sys, urllib.request
signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback
try:
    urllib.request.urlopen(sys.argv[1], timeout=5).close()
except OSError:
    sys.exit(1)
PYTHON
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || { say "error: there is no $python: install Python 3.11 or newer"; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "error: $("$python" --version) is too old: make PYTHON=python3.11 (or newer)"
    exit 1
}

pip() { "$venv/bin/python" -m pip "$@" --disable-pip-version-check; }

# With uv (Apache-2.0 or MIT; it takes a quarter of pip's time), told what pip is told, or with pip
# where that fails.
install() {
    # A progress bar for a person, silence in a log.
    [ -t 2 ] || set -- --quiet "$@"
    uv=$(command -v uv) || {
        uv=$venv/bin/uv
        [ -x "$uv" ] || pip install --quiet --retries 1 uv >/dev/null 2>&1 || uv=
    }
    if [ -n "$uv" ]; then
        "$venv/bin/python" scripts/uv_install.py "$uv" ${compile:+--compile-bytecode} "$@" && return
        say "uv cannot install this here: trying pip, which takes longer"
    fi
    [ -n "$compile" ] || set -- --no-compile "$@"
    # Python 3.13 and older bring a pip that knows no --group.
    [ "$venv" != .venv-tools ] || pip install --quiet 'pip>=25.1'
    pip install "$@" || { say "error: not all packages can be had: pip says why above"; exit 1; }
}

install_tools() {
    install --group tools
    # For Linux on x86-64, as the function's image: that is where it is run, whatever this machine is.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    pip download --quiet --no-deps --only-binary :all: --dest "$scratch" "$sam_cli"
    "$venv/bin/python" - "$scratch" "$venv/bin/aws-lambda-rie" <<'PYTHON'
import sys
from pathlib import Path
from zipfile import ZipFile
folder, target = map(Path, sys.argv[1:])
new = target.with_suffix(".new")
with ZipFile(*folder.glob("*.whl")) as wheel:
    new.write_bytes(wheel.read("samcli/local/rapid/aws-lambda-rie-x86_64"))
new.chmod(0o755)
new.rename(target)
PYTHON
}

began=$(date +%s)
# The list of pip's files is written last: without it, a virtual environment was not made to its end.
if ! "$venv/bin/python" -c 'import importlib.metadata as m; m.files("pip") or exit(1)' 2>/dev/null; then
    say "making $venv (a few minutes the first time)"
    "$python" -m venv "$venv" || { say "error: no virtual environment: on Debian, apt install python3-venv"; exit 1; }
fi

if [ "$venv" = .venv-tools ]; then install_tools; exit 0; fi
set -- --constraint requirements.txt --editable ".[$extras]"
if [ "$extras" != ray ] && wants_cpu_builds; then
    say "no NVIDIA GPU here: taking torch's CPU builds"
    set -- --extra-index-url "$torch_cpu" "$@"
fi
install "$@"
say "environment: $(($(date +%s) - began)) s"
