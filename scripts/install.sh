#!/bin/sh
# Makes .venv, or adds to it: install.sh train|dev|bench
# train is what training, packing and serving need; dev adds tests and checks, bench the peers.
# install.sh tools makes .venv-tools instead: what other people's systems are tested with.
set -eu
cd "$(dirname "$0")/.."

torch_cpu=https://download.pytorch.org/whl/cpu

# Apache-2.0: its wheel holds Lambda's own emulator (Apache-2.0, too), which is all that is taken.
sam_cli='aws-sam-cli>=1.150'

say() { echo "$*" >&2; }

# Most of what make serve needs is never imported, and compiled when it is. Tests start hundreds of
# processes, in which Python may be forbidden to write what it compiles.
venv=.venv uv_compile= pip_compile=--no-compile
case ${1:-} in
    train) extras=train ;;
    dev) extras=train,dev uv_compile=--compile-bytecode pip_compile= ;;
    bench) extras=train,dev,bench uv_compile=--compile-bytecode pip_compile= ;;
    tools) venv=.venv-tools ;;
    *) say "usage: install.sh train|dev|bench|tools"; exit 2 ;;
esac

# PyPI's torch for Linux brings gigabytes of CUDA, of no use without an NVIDIA GPU. PyTorch's own
# index has builds without it, where it can be reached.
wants_cpu_builds() {
    [ "$(uname -s)" = Linux ] || return 1
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then return 1; fi
    "$python" - "$torch_cpu/torch/" <<'PYTHON'
import sys, urllib.request
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
        code=0
        "$venv/bin/python" scripts/uv_install.py "$uv" $uv_compile "$@" || code=$?
        # Interrupted or ended, which is no fault of uv's.
        case $code in 0) return ;; 129 | 130 | 143) exit $code ;; esac
        say "uv cannot install this here: trying pip, which takes longer"
    fi
    pip install $pip_compile "$@"
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
if [ ! -x "$venv/bin/python" ]; then
    say "making $venv (a few minutes the first time)"
    "$python" -m venv "$venv" || { say "error: no virtual environment: on Debian, apt install python3-venv"; exit 1; }
fi

if [ "$venv" = .venv-tools ]; then install_tools; exit 0; fi
set -- --constraint requirements.txt --editable ".[$extras]"
if wants_cpu_builds; then
    say "no NVIDIA GPU here: taking torch's CPU builds"
    set -- --extra-index-url "$torch_cpu" "$@"
fi
install "$@"
say "environment: $(($(date +%s) - began)) s"
