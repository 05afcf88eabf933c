#!/bin/sh
# Serves an export on PORT (default 5000) as a dyno would: dyno.sh DIR
# A bare virtual environment of its requirements, the Procfile's command in a copy, the variables that
# Heroku's buildpack for Python sets, nothing else of this machine's, and 512 MB of memory without
# swap, if systemd or a control group gives them here; a line says whether. Stops with SIGTERM.
set -eu

fail() { echo "dyno.sh: $*" >&2; exit 1; }

[ $# -eq 1 ] || { echo "usage: dyno.sh DIR" >&2; exit 2; }
folder=$1
for file in Procfile .python-version requirements.txt; do
    [ -f "$folder/$file" ] || fail "$folder is no export: sh heroku/export.sh TAG DIR makes one"
done
python=python$(cat "$folder/.python-version")
command -v "$python" >/dev/null || python=python3

scratch=$(mktemp -d)
group=
child=
finish() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" || true
    fi
    rm -rf "$scratch"
    [ -z "$group" ] || rmdir "$group"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$python" -m venv "$scratch/env" || fail "$python makes no virtual environment: it says why above"
"$scratch/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r "$folder/requirements.txt" >&2 &
child=$!
wait "$child" || fail "pip cannot install the requirements: it says why above"
cp -R "$folder/." "$scratch/app"
cd "$scratch/app"

make_group() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        group=/sys/fs/cgroup/dyno-$$
        mkdir "$group" && echo 512M >"$group/memory.max" && echo 0 >"$group/memory.swap.max"
    else
        group=/sys/fs/cgroup/memory/dyno-$$
        mkdir "$group" && echo 512M >"$group/memory.limit_in_bytes" || return 1
        [ ! -f "$group/memory.memsw.limit_in_bytes" ] || echo 512M >"$group/memory.memsw.limit_in_bytes"
    fi
}

set -- systemd-run --quiet --scope --property MemoryMax=512M --property MemorySwapMax=0
[ "$(id -u)" = 0 ] || set -- "$@" --user
if ! "$@" true 2>/dev/null; then
    if make_group 2>/dev/null; then
        # shellcheck disable=SC2016  # for the shell that it starts
        set -- sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group"
    else
        [ -d "$group" ] || group=
        set --
    fi
fi
set -- "$@" env -i HOME="$scratch/app" PATH="$scratch/env/bin:/usr/local/bin:/usr/bin:/bin" \
    DYNO=web.1 LANG=en_US.UTF-8 PYTHONUNBUFFERED=true PYTHONPATH="$scratch/app" FORWARDED_ALLOW_IPS='*' \
    GUNICORN_CMD_ARGS='--access-logfile -' WEB_CONCURRENCY="${WEB_CONCURRENCY:-2}" PORT="${PORT:-5000}"

# What the server will see, whatever was asked for above.
memory=$(cd bento/src && "$@" python -c 'import antbee.machine as m; print(m.memory_limit() >> 20)')
if [ "$memory" -eq 512 ]; then
    echo "dyno.sh: it has 512 MB of memory, as a small dyno" >&2
else
    echo "dyno.sh: it has $memory MB of memory: neither systemd nor a control group limits it here" >&2
fi
"$@" sh -c "exec $(sed -n 's/^web: *//p' Procfile)" &
child=$!
wait "$child"
