#!/bin/sh
# Builds the image of a bento: build.sh [TAG [IMAGE]]
# TAG defaults to ant_bee_classifier:latest and IMAGE to antbee:latest. PLATFORM is linux/amd64 by
# default, which Heroku's container stack runs; linux/arm64 is the other. Options for docker build,
# say --build-arg PIP_INDEX_URL=…, go into DOCKER_BUILD_ARGS.
set -eu

fail() { echo "build.sh: $*" >&2; exit 1; }

tag=${1:-ant_bee_classifier:latest}
image=${2:-antbee:latest}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export DOCKER_BUILDKIT=1

command -v docker >/dev/null || fail "there is no docker: https://docs.docker.com/engine/install"
docker info >/dev/null 2>&1 || fail "docker does not answer: start the Docker engine"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
sh "$here/export.sh" "$tag" "$context/export" >/dev/null
set -- --file "$here/Dockerfile" --platform "${PLATFORM:-linux/amd64}"
# PyPI's torch brings gigabytes for GPUs.
if grep -q '^torch==' "$context/export/bento/env/python/requirements.txt"; then
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
docker build "$@" ${DOCKER_BUILD_ARGS:-} "$context/export/bento" >&2
echo "$image"
