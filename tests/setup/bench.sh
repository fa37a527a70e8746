#!/bin/bash
# How long the usual commands take on this machine.
#
# usage: tests/setup/bench.sh
#
# `make bench` makes what this needs first. Uses a home of its own, which is
# deleted at the end.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STACK_HOME=$(mktemp -d /tmp/stack-bench-XXXXXX)
export STACK_HOME
STACK_REGISTRY_MIRROR=$(cat "$root/target/registry/address")
export STACK_REGISTRY_MIRROR
export COMPOSE_FILE=$root/examples/hello/stack.yaml HELLO_PORT=0
PATH=$root/target/release:$PATH

end() {
    stack down --volumes --timeout 2 >/dev/null 2>&1 || true
    curl --silent --max-time 5 --unix-socket "$STACK_HOME/run/stackd.sock" \
        -X POST http://stack/v1/shutdown >/dev/null || true
    rm -rf "$STACK_HOME"
}
trap end EXIT

stack version
stack doctor || true
stack pull --quiet
bench() { hyperfine --style basic --shell none "$@"; }
bench --warmup 2 --runs 50 'stack --help' 'stack config'
hyperfine --style basic --runs 5 --prepare 'stack down --timeout 2 2>/dev/null' \
    --command-name 'up, until healthy' 'stack up -d --wait 2>/dev/null'
stack up -d --wait
bench --warmup 2 --runs 30 'stack ps' 'stack up -d' 'stack exec -T web true'
hyperfine --style basic --runs 5 --prepare 'stack up -d --wait 2>/dev/null' \
    --command-name 'down' 'stack down --timeout 2 2>/dev/null'
