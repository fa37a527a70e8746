#!/bin/bash
# Installs what building, running and testing `stack` needs on Debian 12.
#
# usage: tests/setup/packages.sh [check] [build|all|bench]      default: all
#
#   check   only report what is missing; exit 1 when something is
#   build   what building and running takes
#   all     also what the demo's images, the registry and the tests take
#   bench   also the peers of `make bench`
#
# A second run finds everything and ends at once. On anything but Debian 12
# nothing is installed: the missing packages are listed by their Debian names.
set -euo pipefail

# What is looked for (a command, or a file when it has a slash): the package.
needs_build='
    gcc:gcc
    /usr/include/stdio.h:libc6-dev
    make:make
    flex:flex
    bison:bison
    bc:bc
    patch:patch
    cpio:cpio
    xz:xz-utils
    /usr/include/libelf.h:libelf-dev
    /usr/include/openssl/ssl.h:libssl-dev
    mkfs.ext4:e2fsprogs
'
needs_tests='
    docker-registry:docker-registry
    mmdebstrap:mmdebstrap
    skopeo:skopeo
    mkfs.erofs:erofs-utils
    curl:curl
    jq:jq
    ip:iproute2
    hyperfine:hyperfine
    /var/lib/dpkg/info/busybox-static.list:busybox-static
    /usr/bin/python3:python3
    setpriv:util-linux
    tmux:tmux
    git:git
    /usr/bin/ping:iputils-ping
    /usr/bin/tracepath:iputils-tracepath
    /usr/bin/dig:bind9-dnsutils
    udhcpc:udhcpc
    rdisc6:ndisc6
    tcpdump:tcpdump
    sysctl:procps
'
needs_bench='
    umoci:umoci
    passt:passt
    slirp4netns:slirp4netns
    dnsmasq:dnsmasq-base
    taskset:util-linux
    fio:fio
    iperf3:iperf3
'
case $(uname -m) in
    aarch64) needs_build="$needs_build qemu-system-aarch64:qemu-system-arm" ;;
    *) needs_build="$needs_build qemu-system-x86_64:qemu-system-x86" ;;
esac

mode=install
needs="$needs_build $needs_tests"
for argument in "$@"; do
    case $argument in
        check) mode=check ;;
        build) needs=$needs_build ;;
        all) ;;
        bench) needs="$needs $needs_bench" ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

is_there() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
    esac
}

missing=()
for need in $needs; do
    is_there "${need%%:*}" || missing+=("${need##*:}")
done
# The kernel's source is a tarball in /usr/src; any 6.x will do.
compgen -G '/usr/src/linux-source-6.*.tar.xz' >/dev/null || missing+=(linux-source-6.12)

[ ${#missing[@]} != 0 ] || exit 0
if [ "$mode" = check ]; then
    echo "missing packages: ${missing[*]}" >&2
    exit 1
fi

# shellcheck disable=SC1091
. /etc/os-release 2>/dev/null || true
if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
    echo "packages: only Debian 12 is set up automatically; this is ${PRETTY_NAME:-$(uname -s)}." >&2
    echo "Install what corresponds to these Debian packages, then run the command again:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages: there is no sudo to install what is missing. As root, run:" >&2
        echo "  apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "packages: installing ${missing[*]}"

# QEMU 10, which restores a machine fastest, is in backports: at the mirror that
# apt has the release itself from.
backports=/etc/apt/sources.list.d/stack-backports.list
repositories() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u
}
if [ -e "$backports" ] || ! repositories | grep -q ' bookworm-backports$'; then
    mirror=$(repositories | awk '$2 == "bookworm" { print $1; exit }')
    [ -n "$mirror" ] || { echo "packages: no Debian mirror is configured for apt" >&2; exit 1; }
    echo "packages: adding bookworm-backports from $mirror in $backports"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" \
        | "${as_root[@]}" tee "$backports" >/dev/null
fi

# Only QEMU itself is taken from there, and in one call with the rest, so that
# the libraries of both fit together.
wanted=()
for package in "${missing[@]}"; do
    case $package in
        qemu-system-*)
            parts=("$package" qemu-system-common qemu-system-data seabios)
            wanted+=("${parts[@]/%//bookworm-backports}") ;;
        *) wanted+=("$package") ;;
    esac
done
apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy "$@" </dev/null
}
apt_get update
apt_get install --no-install-recommends "${wanted[@]}"

# The package starts a registry of its own on port 5000; ours is run by
# registry.sh, when it is needed.
if [[ " ${missing[*]} " == *" docker-registry "* ]] && [ -d /run/systemd/system ]; then
    echo "packages: disabling the docker-registry service, which its package has just enabled"
    "${as_root[@]}" systemctl disable --now docker-registry.service || true
fi
echo "packages: done"
