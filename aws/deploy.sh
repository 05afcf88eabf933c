#!/bin/sh
# Puts a bento on AWS: deploy.sh [--dry-run] lambda|beanstalk [TAG]; TAG defaults to
# ant_bee_classifier:latest. deploy.sh [--dry-run] remove takes all of it away again.
# --dry-run stops before anything leaves this machine, and goes on where only AWS's side is not
# ready yet: it needs no account. ANTBEE_API_KEY becomes the key that clients must send, and
# PARAMETERS, say "Memory=3008 HttpApi=yes", more of the template's parameters; a stack that is
# there keeps what is not named. NAME (default antbee) is what the repository and the stacks are called
# after. URL is where to ask for a prediction, if not at the stack's own address.
set -eu

usage="usage: deploy.sh [--dry-run] lambda|beanstalk [TAG], or deploy.sh [--dry-run] remove"
step() { echo "==> $*" >&2; }
fail() { echo "deploy.sh: $*" >&2; exit 1; }
# What AWS's side lacks ends a deployment; a dry run goes on and says it again at its end.
lack() {
    [ -n "$dry" ] || fail "$*"
    echo "    not yet: $*" >&2
    lacking=$lacking"    $*
"
}
misused() { echo "$usage" >&2; exit 2; }

dry=
target=
tag=
for argument; do
    case $argument in
        --dry-run) dry=yes ;;
        '' | -*) misused ;;
        *)
            if [ -z "$target" ]; then target=$argument
            elif [ -z "$tag" ]; then tag=$argument
            else misused; fi
            ;;
    esac
done
case $target in
    lambda) template=lambda.yaml ;;
    beanstalk) template=elastic-beanstalk.yaml ;;
    remove) [ -z "$tag" ] || misused ;;
    *) misused ;;
esac
tag=${tag:-ant_bee_classifier:latest}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=${NAME:-antbee}
image=$name:aws
stack=$name-$target
# Of the repository, in a tag: one that was there before may hold what others run.
maker=antbee-deploy.sh
emulator=$here/../.venv-tools/bin/aws-lambda-rie
export AWS_PAGER=
scratch=$(mktemp -d)
container=
nginx=
lacking=

finish() {
    [ -z "$nginx" ] || kill "$nginx" 2>/dev/null || true
    [ -z "$container" ] || docker rm --force "$container" >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

check_tools() {
    step "checking the tools"
    command -v docker >/dev/null || fail "there is no docker: https://docs.docker.com/engine/install"
    docker info >/dev/null 2>&1 || fail "docker does not answer: start the Docker engine"
    [ "$target" != lambda ] || [ -x "$emulator" ] || fail "there is no emulator of Lambda: make tools"
}

check_account() {
    step "checking the login and the region"
    command -v aws >/dev/null || {
        lack "there is no aws: https://docs.aws.amazon.com/cli/latest/userguide"
        return 0
    }
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    [ -n "$region" ] || {
        lack "no region is chosen: AWS_REGION=eu-central-1, or aws configure"
        return 0
    }
    export AWS_REGION="$region" AWS_DEFAULT_REGION="$region"
    account=$(aws sts get-caller-identity --query Account --output text 2>/dev/null) ||
        lack "nobody is logged in, or AWS cannot be reached: aws configure, or aws sso login"
}

# Runs a command until it succeeds: what it prints is in `answer`, the model that is named there in
# `model`.
await() { # TIMES COMMAND…
    left=$1
    shift
    until answer=$("$@" 2>"$scratch/why"); do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { cat "$scratch/why" >&2; return 1; }
        sleep 1
    done
    model=$(printf %s "$answer" | sed -n 's/.*"model": *"\([^"]*\)".*/\1/p')
}

smoke() { python3 -B "$here/../heroku/smoke.py" "$@"; }

try_in_container() { # OPTIONS…: what stands between docker run and the command in the image
    # shellcheck disable=SC2086  # several words on purpose
    container=$(docker run --detach ${DOCKER_RUN_ARGS:-} "$@") ||
        fail "the container does not start: docker says why above"
}

no_answer() {
    docker logs "$container" >&2
    fail "it answers no picture: its log is above"
}

try_lambda() {
    step "trying it as Lambda would run it: emulated, 1769 MB, one processor, read-only, no root"
    try_in_container --memory 1769m --memory-swap 1769m --cpus 1 --read-only --ipc none \
        --tmpfs /tmp:size=512m --user 993:990 --workdir /bento/src \
        --env AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769 --env AWS_LAMBDA_FUNCTION_TIMEOUT=30 \
        --publish "127.0.0.1:$port:$port" --volume "$emulator:/aws-lambda-rie:ro" \
        --entrypoint /aws-lambda-rie "$image" --runtime-interface-emulator-address "0.0.0.0:$port" \
        --runtime-api-address "127.0.0.1:$((port + 1))" /bento/src/aws/serve-lambda
    await 1 python3 -B "$here/invoke.py" "http://127.0.0.1:$port" || no_answer
    printf '    it answers: %s\n' "$answer" >&2
}

try_beanstalk() {
    step "trying it as Beanstalk would run it: 2 GB, two processors, a port of its own"
    try_in_container --memory 2g --memory-swap 2g --cpus 2 --env PORT="$port" \
        --publish "127.0.0.1:$port:$port" "$image"
    await 60 smoke "http://127.0.0.1:$port" || no_answer
    printf '    it answers: %s\n' "$answer" >&2
    PATH=$PATH:/usr/sbin
    if ! command -v nginx >/dev/null; then
        echo "    there is no nginx here: tried without it" >&2
        return 0
    fi
    step "trying it behind nginx, which Beanstalk puts before it"
    cp -R "$here/beanstalk/.platform/nginx" "$scratch/nginx"
    echo "upstream docker { server 127.0.0.1:$port; keepalive 256; }" \
        >"$scratch/nginx/conf.d/upstream.conf"
    sed "s/PORT/$((port + 1))/" "$here/nginx.conf" >"$scratch/nginx/nginx.conf"
    nginx -p "$scratch/nginx" -c "$scratch/nginx/nginx.conf" >&2 &
    nginx=$!
    await 10 smoke "http://127.0.0.1:$((port + 1))" || fail "nginx answers no picture"
    printf '    it answers: %s\n' "$answer" >&2
    kill "$nginx" && wait "$nginx" || true
    nginx=
}

push() {
    step "pushing to ECR"
    if there_is_repository repositoryUri; then
        repository=$found
    else
        repository=$(aws ecr create-repository --repository-name "$name" --output text \
            --tags "Key=made-by,Value=$maker" \
            --image-scanning-configuration scanOnPush=true --query repository.repositoryUri) ||
            fail "there is no repository $name: AWS says why above"
    fi
    aws ecr get-login-password |
        docker login --username AWS --password-stdin "${repository%%/*}" >/dev/null ||
        fail "the registry lets nobody in: docker says why above"
    # The same image again has the same tag, and nothing is pushed.
    version=$(docker image inspect --format '{{.Id}}' "$image" | cut -c 8-19)
    docker tag "$image" "$repository:$version"
    docker push "$repository:$version" >&2 || fail "the push failed: docker says why above"
    digest=$(aws ecr describe-images --repository-name "$name" --image-ids "imageTag=$version" \
        --query 'imageDetails[0].imageDigest' --output text) ||
        fail "ECR does not know what was pushed: AWS says why above"
    pushed=$repository@$digest
}

# What Beanstalk deploys: aws/beanstalk with the image's address in it, in a bucket of Beanstalk's.
upload_bundle() {
    step "uploading the source bundle"
    bucket=$(aws elasticbeanstalk create-storage-location --query S3Bucket --output text) ||
        fail "Beanstalk has no bucket: AWS says why above"
    # Named after what is in it: the same again is the same version.
    bundle=$name/$(python3 - "$here/beanstalk" "$pushed" "$scratch/bundle.zip" <<'PYTHON'
import hashlib, pathlib, sys, zipfile
folder, image, target = sys.argv[1:]
with zipfile.ZipFile(target, "w") as bundle:
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            text = path.read_text().replace('"IMAGE"', f'"{image}"')
            bundle.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), text)
print(hashlib.sha256(pathlib.Path(target).read_bytes()).hexdigest()[:12])
PYTHON
    ).zip
    aws s3 cp --only-show-errors "$scratch/bundle.zip" "s3://$bucket/$bundle" ||
        fail "the upload failed: AWS says why above"
}

newest_platform() {
    aws elasticbeanstalk list-available-solution-stacks --query SolutionStacks --output text |
        tr '\t' '\n' |
        sed -n 's/^64bit Amazon Linux \(20[0-9]*\) v\([0-9.]*\) running Docker$/\1.\2 &/p' |
        sort -t . -k 1,1n -k 2,2n -k 3,3n -k 4,4n | tail -n 1 | cut -d ' ' -f 2-
}

# Whether AWS has something: 1 where it says that there is none. Where it says anything else, nobody
# knows, and nothing goes on.
there_is() { # WHAT aws ARGUMENT…: what it prints is in `found`
    what=$1
    shift
    ! found=$("$@" --output text 2>"$scratch/why") || return 0
    ! grep -qe 'does not exist' -e NotFoundException "$scratch/why" || return 1
    cat "$scratch/why" >&2
    fail "nobody knows whether there is $what: AWS says why above"
}

there_is_stack() { # STACK: its status is in `found`
    there_is "a stack $1" aws cloudformation describe-stacks --stack-name "$1" \
        --query 'Stacks[0].StackStatus'
}

there_is_repository() { # WHAT OF IT: that is in `found`
    there_is "a repository $name" aws ecr describe-repositories --repository-names "$name" \
        --query "repositories[0].$1"
}

delete_stack() { # STACK
    if ! aws cloudformation delete-stack --stack-name "$1" ||
        ! aws cloudformation wait stack-delete-complete --stack-name "$1"; then
        why "$1" DELETE_FAILED
        fail "$1 is not deleted: CloudFormation says why above"
    fi
}

why() { # STACK STATUS
    failed="StackEvents[?contains(ResourceStatus, '$2')]"
    aws cloudformation describe-stack-events --stack-name "$1" --output text \
        --query "$failed.[LogicalResourceId, ResourceStatusReason]" >&2 || true
}

deploy_stack() { # NAME=VALUE…
    step "deploying the stack $stack"
    # The key is in no command's arguments, which others on this machine could read.
    # shellcheck disable=SC2086  # several words on purpose
    python3 -c 'import json, os, sys
key = os.environ.get("ANTBEE_API_KEY")
print(json.dumps([*sys.argv[1:], *([] if key is None else [f"ApiKey={key}"])]))' \
        "$@" ${PARAMETERS:-} >"$scratch/parameters.json"
    aws cloudformation deploy --stack-name "$stack" --template-file "$here/$template" \
        --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
        --parameter-overrides "file://$scratch/parameters.json" >&2 || {
        why "$stack" FAILED
        fail "the stack failed: CloudFormation says why above"
    }
    url=${URL:-$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='Url'].OutputValue")}
    url=${url%/}
}

ask() {
    tried=$model
    step "waiting for $url/readyz"
    await 60 smoke --ready "$url" || fail "not ready within a minute: see its log"
    step "posting a picture"
    await 5 smoke "$url" ||
        fail "it is ready, but answers no picture: where it has a key, give it in ANTBEE_API_KEY"
    [ "$model" = "$tried" ] || fail "it is $model that answers, and not $tried"
    printf '    it answers: %s\n' "$answer" >&2
}

remove() {
    removed=
    for stack in "$name-lambda" "$name-beanstalk"; do
        there_is_stack "$stack" || continue
        step "deleting the stack $stack"
        delete_stack "$stack"
        removed=yes
    done
    bucket=elasticbeanstalk-$region-$account
    if there_is "a bucket $bucket" aws s3api list-objects-v2 --bucket "$bucket" \
        --prefix "$name/" --max-items 1 --query 'Contents[0].Key' && [ "$found" != None ]; then
        step "deleting the source bundles"
        aws s3 rm --only-show-errors --recursive "s3://$bucket/$name/" ||
            fail "the source bundles are not deleted: AWS says why above"
        removed=yes
    fi
    if there_is_repository repositoryArn; then
        by=$(aws ecr list-tags-for-resource --resource-arn "$found" --output text \
            --query "tags[?Key=='made-by'].Value") ||
            fail "nobody knows who made the repository $name: AWS says why above"
        if [ "$by" = "$maker" ]; then
            step "deleting the repository $name and its images"
            aws ecr delete-repository --repository-name "$name" --force >/dev/null ||
                fail "the repository is not deleted: AWS says why above"
            removed=yes
        else
            echo "    the repository $name was not made by this, and stays" >&2
        fi
    fi
    [ -n "$removed" ] || echo "    nothing called $name was found in $region" >&2
}

would_follow() {
    step "stopping here, as --dry-run says; what would follow:"
    printf %s "$lacking"
    if [ "$target" = remove ]; then
        echo "    aws cloudformation delete-stack --stack-name $name-lambda"
        echo "    aws cloudformation delete-stack --stack-name $name-beanstalk"
        echo "    aws ecr delete-repository --repository-name $name --force"
        return 0
    fi
    registry=${account:-ACCOUNT}.dkr.ecr.${region:-REGION}.amazonaws.com
    echo "    aws ecr get-login-password | docker login --username AWS --password-stdin $registry"
    echo "    docker push $registry/$name"
    [ "$target" = lambda ] || echo "    aws s3 cp bundle.zip s3://BUCKET/$name/"
    echo "    aws cloudformation deploy --stack-name $stack --template-file aws/$template"
}

if [ "$target" = remove ]; then
    check_account
    if [ -n "$dry" ]; then would_follow; else remove; fi
    exit 0
fi
check_tools
check_account
# Two, below those that systems take for outgoing connections.
port=$((10000 + 2 * ($$ % 10000)))
step "building the image of $tag"
sh "$here/../heroku/build.sh" "$tag" "$image" >/dev/null
docker image inspect --format '{{.Size}}' "$image" | awk '{printf "    %.0f MB\n", $1 / 1e6}' >&2
if [ "$target" = lambda ]; then try_lambda; else try_beanstalk; fi
docker rm --force "$container" >/dev/null
container=
if [ -n "$dry" ]; then
    would_follow
    exit 0
fi
push
status=
! there_is_stack "$stack" || status=$found
case $status in
    # What failed when it was made cannot be changed.
    ROLLBACK_COMPLETE) delete_stack "$stack" && status= ;;
    # It was never begun.
    REVIEW_IN_PROGRESS) status= ;;
esac
if [ "$target" = lambda ]; then
    set -- Image="$pushed"
else
    upload_bundle
    set -- Bucket="$bucket" Bundle="$bundle" Repository="$name"
    if [ -z "$status" ]; then
        # Another platform would be another environment: later, managed updates bring it.
        platform=$(newest_platform)
        [ -n "$platform" ] || fail "Beanstalk names no platform for Docker in $region"
        set -- "$@" SolutionStack="$platform"
    fi
fi
deploy_stack "$@"
ask
key=
[ -z "${ANTBEE_API_KEY:-}" ] || key=" -H 'Authorization: Bearer KEY'"
echo "curl -X POST $url/predict$key -H 'Content-Type: image/*' --data-binary @PICTURE"
