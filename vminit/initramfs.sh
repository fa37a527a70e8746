#!/bin/sh
# Builds `vminit` as a static binary and packs the initramfs around it.
#
# usage: vminit/initramfs.sh [-o OUTPUT]      default: target/initramfs.cpio
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
output="$root/target/initramfs.cpio"
while getopts o: flag; do
    case $flag in
        o) output=$OPTARG ;;
        *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
cd "$root"
target="$(uname -m)-unknown-linux-gnu"
# A directory of its own: other flags, and no waiting for other builds.
build="${CARGO_TARGET_DIR:-target}/vminit"
# Static, against the libc that is here: the guest has no loader.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --package stack-vminit --target "$target" --target-dir "$build"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/dev" "$stage/proc" "$stage/sys" "$stage/run" "$stage/tmp"
cp "$build/$target/release/vminit" "$stage/init"
strip "$stage/init" 2>/dev/null || true
mkdir -p "$(dirname "$output")"
(cd "$stage" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null -o -H newc -R 0:0) > "$output.partial"
mv "$output.partial" "$output"
echo "vminit: $output ($(du -h "$output" | cut -f 1))"
