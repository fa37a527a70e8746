#!/bin/sh
# Builds the guest kernel.
#
# usage: kernel/build.sh [-a ARCH] [-s SOURCE_TARBALL] [-o OUTPUT_DIR]
#
#   ARCH            x86_64 (default: this machine's) or aarch64
#   SOURCE_TARBALL  a linux-*.tar.xz; default: the newest Debian
#                   `linux-source-*` package's under /usr/src
#   OUTPUT_DIR      default: target/kernel
#
# Writes OUTPUT_DIR/vmlinux (x86_64) or OUTPUT_DIR/Image (aarch64), with the
# final .config beside it. `patches/` are applied to the source, in order. The
# result is cached under a hash of the config fragments, the patches, this script
# and the source tarball: the same input never builds twice. Set
# STACK_KERNEL_CACHE to move the cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
arch=$(uname -m)
source=''
output="$here/../target/kernel"
while getopts a:s:o: flag; do
    case $flag in
        a) arch=$OPTARG ;;
        s) source=$OPTARG ;;
        o) output=$OPTARG ;;
        *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

case $arch in
    x86_64) make_arch=x86_64; image=vmlinux; built=vmlinux ;;
    aarch64) make_arch=arm64; image=Image; built=arch/arm64/boot/Image ;;
    *) echo "kernel/build.sh: no configuration for $arch" >&2; exit 2 ;;
esac
[ "$arch" = "$(uname -m)" ] || export CROSS_COMPILE="${CROSS_COMPILE:-$arch-linux-gnu-}"

if [ -z "$source" ]; then
    source=$(ls /usr/src/linux-source-*.tar.xz 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$source" ]; then
        echo "kernel/build.sh: no kernel source: install Debian's linux-source package," >&2
        echo "or name a kernel.org tarball with -s" >&2
        exit 1
    fi
fi
[ -r "$source" ] || { echo "kernel/build.sh: cannot read $source" >&2; exit 1; }

# The source is identified by name, size and time: hashing 140 MB on every
# call would cost more than it tells.
key=$( {
    cat "$here/config/common.config" "$here/config/$arch.config" "$0"
    cat "$here"/patches/*.patch
    stat -L -c '%n %s %Y' "$source"
} | sha256sum | cut -c 1-16)
cache="${STACK_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stack/kernel}/$arch-$key"

if [ ! -f "$cache/$image" ]; then
    work="$here/../target/kernel-build-$arch"
    rm -rf "$work"
    mkdir -p "$work/src" "$cache"
    echo "kernel: unpacking $(basename "$source")"
    tar -xf "$source" -C "$work/src" --strip-components=1
    cd "$work/src"
    for patch in "$here"/patches/*.patch; do
        if ! patch -s -p1 --no-backup-if-mismatch <"$patch" >"$work/patch.log" 2>&1; then
            echo "kernel: $(basename "$patch") does not fit $(basename "$source"): it is made" >&2
            echo "for Debian's linux-source-6.12; see $work/patch.log" >&2
            exit 1
        fi
    done
    echo "kernel: configuring for $arch"
    make -s ARCH=$make_arch allnoconfig >/dev/null
    # Later lines win, so the fragments simply follow the base.
    cat "$here/config/common.config" "$here/config/$arch.config" >> .config
    make -s ARCH=$make_arch olddefconfig 2>"$work/config.log" >&2
    # An option that fell to a missing dependency is an error, not a surprise
    # at run time.
    lost=0
    for line in $(grep -h '^CONFIG_[A-Z0-9_]*=y' "$here/config/common.config" "$here/config/$arch.config"); do
        grep -qx "$line" .config || { echo "kernel: $line did not survive olddefconfig" >&2; lost=1; }
    done
    [ "${STACK_KERNEL_LAX:-}" = 1 ] || [ $lost = 0 ] || exit 1
    echo "kernel: building (about ten minutes on two cores; $work/build.log)"
    if ! make -s -j"$(nproc)" ARCH=$make_arch "$image" >"$work/build.log" 2>&1; then
        tail -n 20 "$work/build.log" >&2
        exit 1
    fi
    cp .config "$cache/config"
    # Symbols for a debugger would be most of the file; kallsyms stays.
    "${CROSS_COMPILE:-}strip" -g -o "$cache/$image.partial" "$built" 2>/dev/null \
        || cp "$built" "$cache/$image.partial"
    mv "$cache/$image.partial" "$cache/$image"
    cd "$here"
    rm -rf "$work"
fi

mkdir -p "$output"
cp -f "$cache/$image" "$output/$image.partial"
mv "$output/$image.partial" "$output/$image"
cp -f "$cache/config" "$output/config"
echo "kernel: $output/$image ($(du -h "$output/$image" | cut -f 1))"
