#!/bin/bash
# The guestbook, from nothing to a request through all four VMs.
#
# usage: tests/setup/demo.sh up|down
#
#   up     start it, or bring it up to date, and use it
#   down   end it and delete its data
#
# `make demo` makes what this needs first. The demo has a home of its own,
# beside the user's other stacks.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
env_file=$root/target/demo.env
export STACK_HOME=${STACK_DEMO_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/stack-demo}
socket=$STACK_HOME/run/stackd.sock
PATH=$root/target/release:$PATH

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

daemon() {
    curl --silent --fail --max-time 5 --unix-socket "$socket" "$@" 2>/dev/null
}

# A daemon of an older build, or one that looks for another registry, is
# replaced; its VMs go on.
replace_old_daemon() {
    local pid
    pid=$(daemon http://stack/v1/version | jq -r .pid) || return 0
    if [ "$(stat -L -c %i "/proc/$pid/exe")" = "$(stat -c %i "$root/target/release/stackd")" ] \
        && grep -zqxF "STACK_REGISTRY_MIRROR=$STACK_REGISTRY_MIRROR" "/proc/$pid/environ"; then
        return 0
    fi
    echo "replacing the running stackd (pid $pid)"
    daemon -X POST http://stack/v1/shutdown || true
    for _ in $(seq 50); do
        [ -d "/proc/$pid" ] || return 0
        sleep 0.1
    done
}

# The port of a guestbook that runs, else the first free one from 8080.
choose_port() {
    local port
    port=$(stack port web 80 2>/dev/null | sed 's/.*://' | head -n 1) || port=''
    [ -z "$port" ] || { echo "$port"; return; }
    for port in $(seq 8080 8099); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    echo "demo: all ports from 8080 to 8099 are in use" >&2
    exit 1
}

up() {
    STACK_REGISTRY_MIRROR=$(cat "$root/target/registry/address")
    export STACK_REGISTRY_MIRROR
    export COMPOSE_FILE=$root/examples/guestbook/stack.yaml
    replace_old_daemon
    GUESTBOOK_PORT=$(choose_port)
    export GUESTBOOK_PORT
    cat > "$env_file" <<ENV
# The demo's settings, for a shell:  . target/demo.env
export PATH=$root/target/release:\$PATH
export STACK_HOME=$STACK_HOME
export STACK_REGISTRY_MIRROR=$STACK_REGISTRY_MIRROR
export COMPOSE_FILE=$COMPOSE_FILE
export GUESTBOOK_PORT=$GUESTBOOK_PORT
ENV
    local url=http://127.0.0.1:$GUESTBOOK_PORT answer entries name

    say "stack up -d --wait"
    stack up -d --wait
    name="visitor $(date +%H:%M:%S)"
    say "an entry, through nginx and the application into PostgreSQL"
    echo "\$ curl -d 'name=$name' -d 'text=Hello' $url/entries"
    answer=$(curl --silent --show-error --fail --noproxy '*' --max-time 30 \
        --data-urlencode "name=$name" --data-urlencode 'text=Hello' "$url/entries")
    echo "$answer"
    echo "\$ curl $url/entries"
    entries=$(curl --silent --show-error --fail --noproxy '*' --max-time 30 "$url/entries")
    echo "$entries"
    if ! jq -e --arg name "$name" 'any(.[]; .name == $name)' <<< "$entries" >/dev/null; then
        echo "demo: the entry is not among those that were read back" >&2
        exit 1
    fi
    say "stack ps"
    stack ps
    say "stack logs --tail 3"
    stack logs --tail 3
    say "what next"
    cat <<NEXT
  . target/demo.env         # this shell knows the demo; open $url
  stack logs -f app         # or: stack exec db psql -U guestbook guestbook
  make demo-down            # ends it and deletes its data
NEXT
}

down() {
    [ -f "$env_file" ] || return 0
    # shellcheck disable=SC1090
    . "$env_file"
    [ ! -x "$root/target/release/stack" ] || stack down --volumes
    daemon -X POST http://stack/v1/shutdown || true
    rm -rf "$STACK_HOME" "$env_file"
}

case ${1:-} in
    up) up ;;
    down) down ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
