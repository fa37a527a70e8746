#!/bin/bash
# A registry on loopback with the demo's images, for machines without Docker
# Hub. Debian's `docker-registry`, run as this user.
#
# usage: tests/setup/registry.sh start|push|stop|status
#
#   start    start it when it does not run; the system chooses the port
#   push     start it and bring it up to date with target/images
#   stop     end it
#   status   print its address, or exit with 1
#
# Its address is in target/registry/address (http://127.0.0.1:PORT), its log
# in target/registry/log.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$root/target/registry

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

running() {
    [ -f "$dir/pid" ] && [ -f "$dir/address" ] || return 1
    # The number may belong to another process by now.
    grep -zqs docker-registry "/proc/$(cat "$dir/pid")/cmdline" || return 1
    curl --silent --fail --max-time 5 --noproxy '*' "$(cat "$dir/address")/v2/" >/dev/null
}

start() {
    running && return 0
    mkdir -p "$dir"
    rm -f "$dir/address" "$dir/pid"
    cat > "$dir/config.yml" <<YAML
version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $dir/data
http:
  addr: 127.0.0.1:0
  secret: only-for-this-machine
YAML
    setsid docker-registry serve "$dir/config.yml" </dev/null >"$dir/log" 2>&1 &
    local pid=$! port=''
    for _ in $(seq 100); do
        port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/log" | head -n 1)
        [ -z "$port" ] || break
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.05
    done
    if [ -z "$port" ]; then
        echo "registry: it did not start:" >&2
        tail -n 5 "$dir/log" >&2
        exit 1
    fi
    echo "$pid" > "$dir/pid"
    echo "http://127.0.0.1:$port" > "$dir/address"
    echo "registry: running at http://127.0.0.1:$port"
}

push() {
    start
    local host image tag digest known
    host=$(sed 's#^http://##' "$dir/address")
    for image in "$root"/target/images/*/; do
        [ -f "$image/tags" ] || continue
        digest=$(cat "$image/digest")
        while read -r tag; do
            known=$(curl --silent --head --noproxy '*' \
                --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
                "http://$host/v2/library/${tag%:*}/manifests/${tag#*:}" \
                | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
            [ "$known" != "$digest" ] || continue
            echo "registry: pushing $tag"
            skopeo copy --quiet --insecure-policy --dest-tls-verify=false \
                "oci:${image%/}/layout" "docker://$host/library/$tag"
        done < "$image/tags"
    done
}

case ${1:-} in
    start) start ;;
    push) push ;;
    stop)
        if running; then kill "$(cat "$dir/pid")"; fi
        rm -f "$dir/pid" "$dir/address" ;;
    status) running && cat "$dir/address" ;;
    *) usage ;;
esac
