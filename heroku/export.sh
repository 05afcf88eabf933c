#!/bin/sh
# Writes a bento as a folder that `git push heroku main` accepts, without Docker: export.sh TAG DIR
# DIR is new or empty, a git repository with nothing in it, or an older export, which becomes this
# one; whatever else lies in that stays. Nothing is fetched when it starts: the model lies in it.
set -eu

fail() { echo "export.sh: $*" >&2; exit 1; }

misused() { echo "usage: export.sh TAG DIR" >&2; exit 2; }

[ $# -eq 2 ] || misused
for argument; do
    case $argument in '' | -*) misused ;; esac
done
tag=$1
folder=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ ! -x "$here/../.venv/bin/bentoml" ] || PATH=$here/../.venv/bin:$PATH
export BENTOML_DO_NOT_TRACK="${BENTOML_DO_NOT_TRACK:-True}"

command -v bentoml >/dev/null || fail "there is no bentoml: make serve makes .venv, or activate yours"
[ -d "$(dirname -- "$folder")" ] || fail "there is no folder $(dirname -- "$folder") to put it into"
if [ -d "$folder" ]; then
    [ -f "$folder/bento/bento.yaml" ] || [ -z "$(find "$folder/" -mindepth 1 -maxdepth 1 ! -name .git)" ] ||
        fail "$folder holds other files: name a new folder, an empty one or an older export"
elif [ -e "$folder" ]; then
    fail "$folder is no folder: name a new one"
fi

# Beside DIR, so that it gets there by being renamed.
scratch=$(mktemp -d "$(dirname -- "$folder")/.export-XXXXXX") ||
    fail "nothing can be written into $(dirname -- "$folder")"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
new=$scratch/new
mkdir "$new" "$scratch/old"

# Beside the bento itself, BentoML's export holds its model. A relative path it takes for one from the
# root, under Python 3.11 at least.
python3 - "$tag" "$new/bento" <<'EOF' >"$new/.python-version" || exit 1
import contextlib, os, sys
import bentoml
tag, folder = sys.argv[1:]
try:
    bento = bentoml.bentos.get(tag)
except (bentoml.exceptions.BentoMLException, ValueError):
    sys.exit(f"export.sh: there is no bento {tag}: run save_to_bento.py first")
try:
    with contextlib.redirect_stdout(sys.stderr):
        bentoml.bentos.export_bento(tag, os.path.abspath(folder), "folder")
except (bentoml.exceptions.BentoMLException, OSError) as error:
    sys.exit(f"export.sh: {tag} cannot be exported: {error}")
# Two numbers: the buildpack takes the newest third, and security fixes come by themselves.
print(".".join(bento.info.image.python_version.split(".")[:2]))
EOF
for script in heroku/serve-gunicorn aws/serve-lambda; do
    [ -f "$new/bento/src/$script" ] ||
        fail "$tag was packed before there was $script: run save_to_bento.py again"
done

torch=$(grep '^torch==' "$new/bento/env/python/requirements.txt" || true)
# The PyTorch weights are half of the model, and only PyTorch reads them.
[ -n "$torch" ] || rm -f "$new"/bento/models/*/*/weights.pt
{
    echo "# What the bento and its server install, pinned."
    # PyPI's torch brings gigabytes for GPUs.
    [ -z "$torch" ] || echo "--extra-index-url https://download.pytorch.org/whl/cpu"
    grep -v '^#' "$new/bento/env/python/requirements.txt"
    grep -v '^#' "$new/bento/src/heroku/requirements.txt"
} >"$new/requirements.txt"
cp "$here/Procfile" "$new/Procfile"

if [ -d "$folder" ]; then
    trap '' HUP INT TERM  # until one export has taken the other's place
    for name in bento Procfile .python-version requirements.txt; do
        [ ! -e "$folder/$name" ] || mv "$folder/$name" "$scratch/old/$name"
        mv "$new/$name" "$folder/$name"
    done
else
    mv "$new" "$folder"
fi
echo "$folder"
