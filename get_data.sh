#!/bin/sh
# Fills a folder with train/<label>/ and val/<label>/. The only place that knows which data set.
set -eu

official=https://download.pytorch.org/tutorial/hymenoptera_data.zip
sha256=fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209
usage='usage: sh get_data.sh [--sample] [DIR]

Fills DIR (default: data), a missing or empty folder, with train/<label>/ and val/<label>/.

  --sample    draw a small set of pictures instead: no network, the same every time
  -h, --help  show this

DATA_URL=https://...  or file:///...  or a path to a zip: take the pictures from there.'

fail() {
    echo "error: $1" >&2
    exit 1
}

wrong_usage() {
    printf 'error: %s\n%s\n' "$1" "$usage" >&2
    exit 2
}

sample=no options=yes dir=
for argument; do
    if [ $options = yes ]; then
        case $argument in
            --sample) sample=yes; continue ;;
            -h | --help) echo "$usage"; exit ;;
            --) options=no; continue ;;
            -*) wrong_usage "there is no option $argument" ;;
        esac
    fi
    [ -n "$argument" ] || wrong_usage "DIR has no name"
    [ -z "$dir" ] || wrong_usage "one DIR at a time"
    dir=$argument
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python: install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: install Python 3.11 or newer, or name one in PYTHON"

# -P: whatever modules lie in the folder that this is called from stay out of it.
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
if [ $sample = yes ]; then
    "$python" -P -c 'import PIL' 2>/dev/null ||
        fail "drawing pictures needs Pillow: $python -m pip install pillow"
    exec "$python" -P -m antbee.pictures.sample --walker ant --flyer bee -- "${dir:-data}"
fi

# The archive has its own placeholder for a photograph that was missing: no picture of an ant.
url=${DATA_URL:-$official}
set -- --leave-out imageNotFound.gif --rename ants=ant --rename bees=bee
[ "$url" != "$official" ] || set -- "$@" --sha256 "$sha256"
exec "$python" -P -m antbee.pictures.get "$@" -- "$url" "${dir:-data}"
