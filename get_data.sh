#!/bin/sh
# Fills a folder with train/<label>/ and val/<label>/. The only place that knows which data set.
set -eu

official=https://download.pytorch.org/tutorial/hymenoptera_data.zip
sha256=fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209

usage() {
    cat <<'EOF'
usage: sh get_data.sh [--sample] [DIR]

Fills DIR (default: data), a missing or empty folder, with train/<label>/ and val/<label>/.

  --sample    draw a small set of pictures instead: no network, the same every time
  -h, --help  show this

DATA_URL=https://...  or file:///...  or a path to a zip: take the pictures from there.
EOF
}

wrong_usage() {
    echo "error: $1" >&2
    usage >&2
    exit 2
}

fail() {
    echo "error: $1" >&2
    exit 1
}

take_dir() {
    [ -n "$1" ] || wrong_usage "DIR has no name"
    [ -z "$dir" ] || wrong_usage "one DIR at a time"
    dir=$1
}

sample=no
dir=
while [ $# -gt 0 ]; do
    case $1 in
        --sample) sample=yes ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) wrong_usage "there is no option $1" ;;
        *) take_dir "$1" ;;
    esac
    shift
done
for rest; do take_dir "$rest"; done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python: install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: install Python 3.11 or newer, or name one in PYTHON"

# -P: whatever modules lie in the folder that this is called from stay out of it.
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
set -- "$python" -P -m

if [ $sample = yes ]; then
    "$python" -P -c 'import PIL' 2>/dev/null ||
        fail "drawing pictures needs Pillow: $python -m pip install pillow"
    exec "$@" antbee.pictures.sample --walker ant --flyer bee -- "${dir:-data}"
fi

url=${DATA_URL:-$official}
set -- "$@" antbee.pictures.download
# The archive's own placeholder for a photograph that was missing: no picture of an ant.
set -- "$@" --leave-out imageNotFound.gif
[ "$url" != "$official" ] || set -- "$@" --sha256 "$sha256"
exec "$@" --rename ants=ant --rename bees=bee -- "$url" "${dir:-data}"
