#!/bin/sh
# Installs what building, running and testing `stack` needs on Debian 12.
#
# usage: tests/setup/packages.sh [check]
#   check   only report what is missing; exit 1 when something is
#
# On anything but Debian 12 nothing is installed: the list of missing
# commands is printed with the package that usually carries each.
set -eu

# command:package, one per line. A path with a slash is tested as a file.
NEEDS='
gcc:gcc
make:make
flex:flex
bison:bison
bc:bc
cpio:cpio
xz:xz-utils
/usr/include/libelf.h:libelf-dev
/usr/include/openssl/ssl.h:libssl-dev
qemu-system-x86_64:qemu-system-x86
docker-registry:docker-registry
mmdebstrap:mmdebstrap
skopeo:skopeo
umoci:umoci
mkfs.ext4:e2fsprogs
curl:curl
jq:jq
ip:iproute2
hyperfine:hyperfine
/bin/busybox:busybox-static
python3:python3
tmux:tmux
psql:postgresql-client
rsync:rsync
'

missing=''
for need in $NEEDS; do
    what=${need%%:*}
    package=${need##*:}
    case $what in
        /*) [ -e "$what" ] || missing="$missing $package" ;;
        *) command -v "$what" >/dev/null 2>&1 \
            || [ -x "/usr/sbin/$what" ] || [ -x "/sbin/$what" ] \
            || missing="$missing $package" ;;
    esac
done
# The kernel source is a tarball in /usr/src; any 6.x will do.
ls /usr/src/linux-source-6.*.tar.xz >/dev/null 2>&1 || missing="$missing linux-source"

[ -n "$missing" ] || exit 0
if [ "${1:-}" = check ]; then
    echo "missing packages:$missing" >&2
    exit 1
fi

. /etc/os-release 2>/dev/null || true
if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
    echo "stack: this set-up installs packages on Debian 12 only (this is ${PRETTY_NAME:-unknown})." >&2
    echo "Install the equivalents of these Debian packages, then run the command again:" >&2
    for package in $missing; do echo "  $package" >&2; done
    exit 1
fi

as_root=''
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        echo "stack: these packages are missing and there is no sudo to install them:$missing" >&2
        echo "As root, run: apt-get install$missing" >&2
        exit 1
    fi
fi

# QEMU 10 (restores a template in a blink) and Linux 6.12 live in backports.
if ! grep -rqs bookworm-backports /etc/apt/sources.list /etc/apt/sources.list.d; then
    mirror=$(grep -rhs '^URIs:\|^deb ' /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources \
        | grep -v security | grep -o 'https\?://[^ ]*' | head -n 1)
    echo "adding bookworm-backports from ${mirror:-the first Debian mirror}"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm-backports main\n' \
        "$mirror" | $as_root tee /etc/apt/sources.list.d/stack-backports.list >/dev/null
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
plain=''
backports=''
for package in $missing; do
    case $package in
        qemu-system-x86) backports="$backports qemu-system-x86 qemu-utils qemu-system-common qemu-system-data" ;;
        linux-source) plain="$plain linux-source-6.12" ;;
        *) plain="$plain $package" ;;
    esac
done
# Services must not start by themselves: the set-up runs its own.
[ -z "$backports" ] || $as_root apt-get install -qy --no-install-recommends -t bookworm-backports $backports
[ -z "$plain" ] || $as_root env RUNLEVEL=1 apt-get install -qy --no-install-recommends $plain
