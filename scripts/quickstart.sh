#!/bin/sh
# What `make serve` does once .venv is there: pictures, training, packing, then the server.
# Whatever exists already is used as it is; delete data/, saved_models/ or a bento to redo it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

bin=.venv/bin
tag_file=saved_models/bento

# BentoML would report each of these steps to its makers.
export BENTOML_DO_NOT_TRACK=True
# Nothing was compiled when it was installed: each of these steps would do it again.
unset PYTHONDONTWRITEBYTECODE

say() { echo "$*" >&2; }

# How long it took since the last time, in a line.
began=$(date +%s)
took() {
    now=$(date +%s)
    say "$1: $((now - began)) s"
    began=$now
}

online() {
    "$bin/python" - <<'EOF'
import signal, sys, urllib.error, urllib.request
signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback
try:
    urllib.request.urlopen("https://download.pytorch.org/models/", timeout=5).close()
except urllib.error.HTTPError:
    pass
except OSError:
    sys.exit(1)
EOF
}

get_pictures() {
    if [ -d data/train ]; then
        say "pictures: data/ is there${DATA_URL:+, whatever DATA_URL says: delete it to get others}"
    elif [ -n "${DATA_URL:-}" ] || is_online; then
        sh get_data.sh
    else
        say "pictures: no network, so a small drawn sample set stands in for the photographs"
        sh get_data.sh --sample
    fi
}

# Asked at most once, and only when something has to come from there.
is_online() {
    [ -n "${answer:-}" ] || { if online; then answer=yes; else answer=no; fi; }
    [ "$answer" = yes ]
}

starting_weights() {
    if [ -n "${WEIGHTS:-}" ]; then
        echo "$WEIGHTS"
    elif is_online; then
        echo imagenet
    else
        say "training: no network for the ImageNet weights, so it starts from none (--weights none)"
        echo none
    fi
}

train() {
    last=$(ls -d saved_models/[0-9]*-*/last.pt 2>/dev/null | tail -n 1)
    if [ -n "$last" ]; then
        whatever=${EPOCHS:+, whatever EPOCHS says}${WEIGHTS:+, whatever WEIGHTS says}
        say "training: going on with $last as it began$whatever; delete saved_models/ to begin anew"
        "$bin/python" train.py --checkpoint "$last" --data data --bento no
    else
        "$bin/python" train.py --weights "$(starting_weights)" --bento no ${EPOCHS:+--epochs "$EPOCHS"}
    fi
}

# Packs the checkpoint that training names, and waits for its report. Two progress bars at once would
# write over each other, and that it was interrupted is said by training or by make.
pack() {
    read -r best || exit 1
    case $best in "exit "*) exit "${best#exit }" ;; esac
    TQDM_DISABLE=1 "$bin/python" save_to_bento.py "$best" 2>&1 >"$tag_file.new" | {
        trap '' INT
        while IFS= read -r line; do [ "$line" = interrupted ] || printf '%s\n' "$line" >&2; done
    }
    if read -r failure; then exit "${failure#exit }"; fi
    [ -s "$tag_file.new" ] # the tag is the last that packing does
}

port_is_free() {
    "$bin/python" - "$PORT" <<'EOF'
import socket, sys
try:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", int(sys.argv[1])))
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"error: cannot serve on port {sys.argv[1]} ({error}): make serve PORT=3001, say")
EOF
}

bento_is_there() {
    [ -s "$tag_file" ] && "$bin/python" - "$(cat "$tag_file")" 2>/dev/null <<'EOF'
import sys, bentoml
bentoml.models.get(bentoml.bentos.get(sys.argv[1]).info.args["model"])
EOF
}

# Some shells go on where a program, interrupted, has ended by itself.
trap 'exit 130' INT

# Before minutes of training, not after.
port_is_free

if bento_is_there; then
    say "bento: $(cat "$tag_file") is there"
    [ -z "${EPOCHS:-}${WEIGHTS:-}${DATA_URL:-}" ] ||
        say "EPOCHS, WEIGHTS and DATA_URL change nothing now: delete saved_models/ and data/ first"
else
    get_pictures
    took pictures
    # The best checkpoint's path comes before the run's report, which packing need not wait for.
    { train || echo "exit $?"; } | pack
    mv "$tag_file.new" "$tag_file"
    took "training and packing"
fi

say "try it: curl -X POST http://127.0.0.1:$PORT/predict -H 'Content-Type: image/*' --data-binary @PICTURE"
exec "$bin/bentoml" serve "$(cat "$tag_file")" --port "$PORT"
