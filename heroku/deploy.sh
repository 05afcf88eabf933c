#!/bin/sh
# Puts a bento on Heroku: deploy.sh [--git] [--dry-run] APP [TAG]
# APP is a Heroku app, TAG defaults to ant_bee_classifier:latest. With --git the bento is pushed to the
# app's Git repository, in place of what is there, and Heroku's buildpack for Python builds it; else
# an image is built here and pushed, for an app on the container stack.
# --dry-run stops before the push, and goes on where only Heroku's side is not ready yet. PICTURE is
# the picture to try it with (default: drawn here), ANTBEE_API_KEY the key that the app asks for.
set -eu

usage="usage: deploy.sh [--git] [--dry-run] APP [TAG]"
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

by=docker
dry=
app=
tag=
for argument; do
    case $argument in
        --git) by=git ;;
        --dry-run) dry=yes ;;
        '' | -*) misused ;;
        *) if [ -z "$app" ]; then app=$argument; elif [ -z "$tag" ]; then tag=$argument; else misused; fi ;;
    esac
done
[ -n "$app" ] || misused
tag=${tag:-ant_bee_classifier:latest}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
registry=${HEROKU_REGISTRY:-registry.heroku.com}
image=$registry/$app/web
key=${ANTBEE_API_KEY:-}
key=${key%%,*} # of several, any
scratch=$(mktemp -d)
exported=$scratch/export
container=
server=
lacking=

finish() {
    [ -z "$container" ] || docker rm --force "$container" >/dev/null 2>&1 || true
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server"; } || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

check_tools() {
    step "checking the tools"
    for tool in "$by" curl; do
        command -v "$tool" >/dev/null || fail "there is no $tool: $(where_to_get "$tool")"
    done
    [ "$by" = git ] || docker info >/dev/null 2>&1 ||
        fail "docker does not answer: start the Docker engine"
}

where_to_get() {
    case $1 in
        git) echo "https://git-scm.com/downloads" ;;
        docker) echo "https://docs.docker.com/engine/install" ;;
        *) echo "install it with the system's packages" ;;
    esac
}

check_app() {
    step "checking the login and the app $app"
    command -v heroku >/dev/null || {
        lack "there is no heroku: https://devcenter.heroku.com/articles/heroku-cli, or npm install -g heroku"
        return 0
    }
    heroku auth:whoami >/dev/null 2>&1 || {
        lack "nobody is logged in, or Heroku cannot be reached: heroku login"
        return 0
    }
    heroku apps:info --app "$app" --json >"$scratch/app" 2>/dev/null || {
        stack=$([ "$by" = git ] || echo " --stack container")
        lack "there is no app $app that you may use: heroku create $app$stack"
        return 0
    }
    takes=git
    ! tr -d ' \n' <"$scratch/app" | grep -q '"stack":{[^}]*"name":"container"' || takes=docker
    case $by-$takes in
        docker-git) lack "$app is not on the container stack: heroku stack:set container --app $app" ;;
        git-docker) lack "$app is on the container stack: heroku stack:set heroku-24 --app $app" ;;
    esac
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

wait_until_ready() { # URL SECONDS [PROCESS]
    left=$2
    until curl --silent --fail --max-time 10 --output /dev/null "$1/readyz"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        [ $# -lt 3 ] || kill -0 "$3" 2>/dev/null || return 1
        sleep 1
    done
}

# The key is in no command's arguments, which others on this machine could read.
post_picture() { # URL
    { [ -z "$key" ] || echo "Authorization: Bearer $key"; } |
        curl --silent --show-error --fail --max-time 60 -X POST "$1/predict" \
            --header @- -H 'Content-Type: image/*' --data-binary @"$picture"
}

# Asks for a prediction: the answer is in `answer`, and the model that gave it in `model`.
ask() { # URL
    answer=$(post_picture "$1") || return 1
    model=$(echo "$answer" | sed -n 's/.*"model": *"\([^"]*\)".*/\1/p')
}

try_image() {
    step "building the image of $tag"
    sh "$here/build.sh" "$tag" "$image" >/dev/null
    echo "    $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f", $1 / 1e6}') MB" >&2
    step "trying it as a dyno would run it: 512 MB, read-only, no root, a port of its own"
    # shellcheck disable=SC2086  # several words on purpose
    container=$(docker run --detach --memory 512m --memory-swap 512m --read-only \
        --tmpfs /tmp:size=16m --user "$((10000 + $$ % 40000))" --env PORT="$port" \
        --publish "127.0.0.1:$port:$port" ${DOCKER_RUN_ARGS:-} "$image") ||
        fail "the container does not start: docker says why above"
    wait_until_ready "http://127.0.0.1:$port" 60 || {
        docker logs "$container" >&2
        fail "the container is not ready within a minute: its log is above"
    }
    ask "http://127.0.0.1:$port" || fail "it is ready, but answers no picture"
    echo "    it answers: $answer" >&2
    docker stop --time 30 "$container" >/dev/null
}

# Whatever this machine's Git is told to ignore, to sign or to run, all of the export is committed.
commit() {
    git init --quiet --initial-branch main "$exported"
    git -C "$exported" -c core.autocrlf=false add --all --force
    git -C "$exported" -c user.name=deploy.sh -c user.email=deploy@localhost -c commit.gpgsign=false \
        -c core.hooksPath=/dev/null commit --quiet --message "$tag"
}

try_export() {
    step "exporting $tag"
    sh "$here/export.sh" "$tag" "$exported" >/dev/null
    commit
    echo "    $(du -sk "$exported/.git" | awk '{printf "%.0f", $1 * 1.024e-3}') MB to push" >&2
    step "trying it as a dyno would run it: bare virtual environment, 512 MB, a port of its own"
    git clone --quiet --config core.autocrlf=false "$exported" "$scratch/pushed"
    PORT=$port sh "$here/dyno.sh" "$scratch/pushed" >"$scratch/log" 2>&1 &
    server=$!
    wait_until_ready "http://127.0.0.1:$port" 300 "$server" || {
        cat "$scratch/log" >&2
        fail "it does not start: its log is above"
    }
    ask "http://127.0.0.1:$port" || fail "it is ready, but answers no picture"
    grep -e '^dyno.sh: ' -e 'workers fit' "$scratch/log" | sed 's/^/    /' >&2
    echo "    it answers: $answer" >&2
    kill "$server"
    wait "$server" || true
    server=
}

push_image() {
    step "pushing to $registry"
    heroku container:login >/dev/null || fail "the registry lets nobody in: heroku container:login"
    docker push "$image" >&2 || fail "the push failed: docker says why above"
    step "releasing $app"
    heroku container:release web --app "$app" >&2 || fail "the release failed: Heroku says why above"
}

push_export() {
    step "pushing to the Git repository of $app, where it is built and released"
    (cd "$exported" && heroku git:remote --app "$app") >&2 ||
        fail "Git does not learn of $app: Heroku says why above"
    git -C "$exported" -c core.hooksPath=/dev/null push --force heroku main >&2 ||
        fail "the push failed: Heroku says why above"
}

ask_app() {
    tried=$model
    step "waiting for $url/readyz"
    wait_until_ready "$url" 120 || fail "not ready within two minutes: heroku logs --app $app"
    step "posting a picture"
    left=60
    until ask "$url" && [ "$model" = "$tried" ]; do
        # What ran before answers until its successor is up.
        left=$((left - 1))
        [ "$left" -gt 0 ] ||
            fail "$tried answers no picture: give its key in ANTBEE_API_KEY, or heroku logs --app $app"
        sleep 1
    done
    echo "    it answers: $answer" >&2
}

check_tools
check_app
draw_picture
port=$((10000 + $$ % 20000)) # below those that systems take for outgoing connections
if [ "$by" = git ]; then try_export; else try_image; fi
if [ -n "$dry" ]; then
    step "stopping before the push, as --dry-run says; what would follow:"
    printf %s "$lacking"
    if [ "$by" = git ]; then
        echo "    heroku git:remote --app $app"
        echo "    git push --force heroku main"
    else
        echo "    heroku container:login"
        echo "    docker push $image"
        echo "    heroku container:release web --app $app"
    fi
    exit 0
fi
if [ "$by" = git ]; then push_export; else push_image; fi
ask_app
[ -z "$key" ] || key=" -H 'Authorization: Bearer KEY'"
echo "curl -X POST $url/predict$key -H 'Content-Type: image/*' --data-binary @PICTURE"
