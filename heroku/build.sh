#!/bin/sh
# Builds the image of a bento: build.sh [TAG [IMAGE]]
# TAG defaults to ant_bee_classifier:latest and IMAGE to antbee:latest. Options for docker build, say
# --build-arg PIP_INDEX_URL=…, go into DOCKER_BUILD_ARGS.
set -eu

fail() { echo "build.sh: $*" >&2; exit 1; }

tag=${1:-ant_bee_classifier:latest}
image=${2:-antbee:latest}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ ! -x "$here/../.venv/bin/bentoml" ] || PATH=$here/../.venv/bin:$PATH
export BENTOML_DO_NOT_TRACK="${BENTOML_DO_NOT_TRACK:-True}" DOCKER_BUILDKIT=1

command -v docker >/dev/null || fail "there is no docker: https://docs.docker.com/engine/install"
command -v bentoml >/dev/null || fail "there is no bentoml: make serve makes .venv, or activate yours"
docker info >/dev/null 2>&1 || fail "docker does not answer: start the Docker engine"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Beside the bento itself, an export holds its model.
python3 - "$tag" "$context/bento" <<'EOF' >/dev/null || {
import sys, bentoml
try:
    bentoml.bentos.get(sys.argv[1])
except (bentoml.exceptions.BentoMLException, ValueError):
    sys.exit(3)
bentoml.bentos.export_bento(sys.argv[1], sys.argv[2], "folder")
EOF
    [ $? -eq 3 ] || fail "$tag cannot be exported: the reason is above"
    fail "there is no bento $tag: run save_to_bento.py first"
}
[ -f "$context/bento/src/heroku/serve-gunicorn" ] ||
    fail "$tag was packed before there was a heroku/ folder: run save_to_bento.py again"

set -- --file "$here/Dockerfile" --platform linux/amd64
# PyPI's torch brings gigabytes for GPUs.
if grep -q '^torch==' "$context/bento/env/python/requirements.txt"; then
    set -- "$@" --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
fi
# Heroku's registry takes an image manifest of Docker's kind, none of OCI's and no attestations
# beside it. Engines without buildx make no others.
if docker buildx version >/dev/null 2>&1; then
    set -- "$@" --provenance=false --sbom=false --output "type=image,name=$image,oci-mediatypes=false"
else
    set -- "$@" --tag "$image"
fi
# shellcheck disable=SC2086  # several words on purpose
docker build "$@" ${DOCKER_BUILD_ARGS:-} "$context/bento" >&2
echo "$image"
