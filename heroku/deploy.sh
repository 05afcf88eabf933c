#!/bin/sh
# Puts a bento on Heroku: deploy.sh [--dry-run] APP [TAG]
# APP is a Heroku app on the container stack; TAG defaults to ant_bee_classifier:latest.
# --dry-run stops before the push, and goes on where only Heroku's side is not ready yet. PICTURE is
# the picture to try it with (default: drawn here).
set -eu

usage="usage: deploy.sh [--dry-run] APP [TAG]"
step() { echo "==> $*" >&2; }
fail() { echo "deploy.sh: $*" >&2; exit 1; }
# What Heroku's side lacks ends a deployment; a dry run goes on and says it again at its end.
lack() {
    [ -n "$dry" ] || fail "$*"
    echo "    not yet: $*" >&2
    lacking=$lacking"    $*
"
}
misused() { echo "$usage" >&2; exit 2; }

dry=
[ "${1:-}" != --dry-run ] || { dry=yes; shift; }
case ${1:-} in '' | -*) misused ;; esac
[ $# -le 2 ] || misused
app=$1
tag=${2:-ant_bee_classifier:latest}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
registry=${HEROKU_REGISTRY:-registry.heroku.com}
image=$registry/$app/web
scratch=$(mktemp -d)
trial=
lacking=

finish() {
    [ -z "$trial" ] || docker rm --force "$trial" >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

check_tools() {
    step "checking the tools"
    for tool in docker heroku curl; do
        command -v "$tool" >/dev/null || fail "there is no $tool: $(where_to_get "$tool")"
    done
    docker info >/dev/null 2>&1 || fail "docker does not answer: start the Docker engine"
}

where_to_get() {
    case $1 in
        docker) echo "https://docs.docker.com/engine/install" ;;
        heroku) echo "https://devcenter.heroku.com/articles/heroku-cli, or npm install -g heroku" ;;
        *) echo "install it with the system's packages" ;;
    esac
}

check_app() {
    step "checking the login and the app $app"
    heroku auth:whoami >/dev/null 2>&1 || {
        lack "nobody is logged in, or Heroku cannot be reached: heroku login"
        return 0
    }
    heroku apps:info --app "$app" --json >"$scratch/app" 2>/dev/null || {
        lack "there is no app $app that you may use: heroku create $app --stack container"
        return 0
    }
    tr -d ' \n' <"$scratch/app" | grep -q '"stack":{[^}]*"name":"container"' ||
        lack "$app is not on the container stack: heroku stack:set container --app $app"
    url=$(tr -d ' \n' <"$scratch/app" | sed -n 's/.*"web_url":"\([^"]*\)".*/\1/p')
    url=${url%/}
    [ -n "$url" ] || lack "Heroku names no address of $app: heroku apps:info --app $app"
}

draw_picture() {
    picture=${PICTURE:-}
    [ -z "$picture" ] || { [ -r "$picture" ] || fail "PICTURE=$picture cannot be read"; return 0; }
    picture=$scratch/picture.bmp
    python3 -B -c 'import sys; sys.path[:0] = sys.argv[1:]; from smoke import PICTURE
sys.stdout.buffer.write(PICTURE)' "$here" >"$picture"
}

wait_until_ready() { # URL SECONDS
    left=$2
    until curl --silent --fail --max-time 10 --output /dev/null "$1/readyz"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 1
    done
}

post_picture() { # URL
    curl --silent --show-error --fail --max-time 60 -X POST "$1/predict" \
        -H 'Content-Type: image/*' --data-binary @"$picture"
}

try_locally() {
    step "trying it as a dyno would run it: 512 MB, read-only, no root, a port of its own"
    port=$((20000 + $$ % 20000))
    # shellcheck disable=SC2086  # several words on purpose
    trial=$(docker run --detach --memory 512m --memory-swap 512m --read-only --tmpfs /tmp:size=16m \
        --user "$((10000 + $$ % 40000))" --env PORT="$port" --publish "127.0.0.1:$port:$port" \
        ${DOCKER_RUN_ARGS:-} "$image") || fail "the container does not start: docker says why above"
    wait_until_ready "http://127.0.0.1:$port" 60 || {
        docker logs "$trial" >&2
        fail "the container is not ready within a minute: its log is above"
    }
    answer=$(post_picture "http://127.0.0.1:$port") || fail "it is ready, but answers no picture"
    echo "    it answers: $answer" >&2
    docker stop --time 30 "$trial" >/dev/null
}

push() {
    step "pushing to $registry"
    heroku container:login >/dev/null || fail "the registry lets nobody in: heroku container:login"
    docker push "$image" >&2 || fail "the push failed: docker says why above"
}

release() {
    step "releasing $app"
    heroku container:release web --app "$app" >&2 || fail "the release failed: Heroku says why above"
    step "waiting for $url/readyz"
    wait_until_ready "$url" 120 || fail "not ready within two minutes: heroku logs --app $app"
    step "posting a picture"
    answer=$(post_picture "$url") || fail "it is ready, but answers no picture: heroku logs --app $app"
    echo "    it answers: $answer" >&2
}

check_tools
check_app
draw_picture
step "building the image of $tag"
sh "$here/build.sh" "$tag" "$image" >/dev/null
echo "    $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f", $1 / 1e6}') MB" >&2
try_locally
if [ -n "$dry" ]; then
    step "stopping before the push, as --dry-run says; what would follow:"
    printf %s "$lacking"
    echo "    heroku container:login"
    echo "    docker push $image"
    echo "    heroku container:release web --app $app"
    exit 0
fi
push
release
echo "curl -X POST $url/predict -H 'Content-Type: image/*' --data-binary @PICTURE"
