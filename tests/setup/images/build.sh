#!/bin/bash
# Makes the images that the demo and the tests run, out of Debian packages.
#
# usage: tests/setup/images/build.sh [IMAGE...]      default: all of them
#
# Each folder beside this script describes one image:
#
#   image.json    tags, packages, and the image's configuration
#   setup.sh      changes the root before the packages are installed
#   finish.sh     changes it after
#   tree.sh       makes the whole content instead of packages
#   files/        files on top, as a layer of their own
#
# The layers are: Debian's base (shared by all), the packages, the files. The
# result is an OCI layout in target/images/IMAGE/layout. An image whose
# description did not change is not made again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../../.." && pwd)/target/images
export SOURCE_DATE_EPOCH=1735689600

# Debian's own Python and tar handling, whatever else is in PATH.
python=/usr/bin/python3
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

# The package sources of this machine that are Debian's own.
sources() {
    apt-get indextargets --format '$(LABEL)|deb $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' \
        | sed -n 's/^Debian\(-Security\)\{0,1\}|//p' | grep ' bookworm' | grep -v backports | sort -u
}

# The root file system with an image's packages, as a tar archive.
bootstrap() {
    local image=$1 archive=$2 packages clean
    local -a hooks=()
    packages=$(jq -r '[.packages[]] | join(",")' "$here/base/image.json" "$here/$image/image.json" | paste -sd,)
    # What the installation left behind, and what belongs to one machine.
    clean='find "$1/var/log" -type f -delete
        rm -rf "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1/usr/share/lintian"
        rm -f "$1/etc/machine-id" "$1/etc/resolv.conf" "$1/etc/hostname"'
    [ ! -f "$here/$image/setup.sh" ] || hooks+=(--essential-hook="sh '$here/$image/setup.sh' \"\$1\"")
    hooks+=(--customize-hook="$clean")
    [ ! -f "$here/$image/finish.sh" ] || hooks+=(--customize-hook="sh '$here/$image/finish.sh' \"\$1\"")
    "${as_root[@]}" env SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" mmdebstrap --quiet --variant=minbase \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='force-confold' \
        --dpkgopt='force-unsafe-io' \
        "${hooks[@]}" \
        --include="$packages" --format=tar bookworm - - < <(sources) > "$archive"
}

hash_of() {
    # Names and content, in a fixed order; links and modes do not matter.
    find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sed "s#$here##" | sha256sum | cut -c 1-16
}

# Makes LAYER (a file) once per KEY.
once() {
    local key=$1 layer=$2
    shift 2
    [ ! -f "$layer" ] || [ "$(cat "$layer.key" 2>/dev/null)" != "$key" ] || return 0
    rm -f "$layer.key"
    "$@"
    echo "$key" > "$layer.key"
}

packages_layer() {
    local image=$1 archive=$out/$1/root.tar base=$out/base/root.tar
    echo "images: $image: installing packages"
    bootstrap "$image" "$archive.partial"
    mv "$archive.partial" "$archive"
    echo "images: $image: packing"
    if [ "$image" = base ]; then
        "$python" "$here/oci.py" diff - "$archive" "$out/base/packages.tar.gz"
    else
        "$python" "$here/oci.py" diff "$base" "$archive" "$out/$image/packages.tar.gz"
        rm "$archive"
    fi
}

tree_layer() {
    local image=$1 tree
    echo "images: $image: packing"
    tree=$(mktemp -d)
    "$here/$image/tree.sh" "$tree"
    "$python" "$here/oci.py" tree "$tree" "$out/$image/tree.tar.gz"
    rm -rf "$tree"
}

build() {
    local image=$1 dir=$out/$1 key
    local -a layers=()
    mkdir -p "$dir"
    if [ -f "$here/$image/tree.sh" ]; then
        once "$(hash_of "$here/$image" "$here/oci.py" /bin/busybox)" "$dir/tree.tar.gz" tree_layer "$image"
        layers=("$dir/tree.tar.gz")
    else
        key=$(find "$here/$image" -maxdepth 1 -name '*.sh')
        # shellcheck disable=SC2086
        key=$(hash_of "$here/build.sh" "$here/oci.py" "$here/base" $key)$(jq -c .packages "$here/$image/image.json")
        once "$key" "$dir/packages.tar.gz" packages_layer "$image"
        layers=("$out/base/packages.tar.gz" "$dir/packages.tar.gz")
        [ "$image" != base ] || layers=("$out/base/packages.tar.gz")
    fi
    if [ -d "$here/$image/files" ]; then
        once "$(hash_of "$here/$image/files" "$here/oci.py")" "$dir/files.tar.gz" \
            "$python" "$here/oci.py" tree "$here/$image/files" "$dir/files.tar.gz"
        layers+=("$dir/files.tar.gz")
    fi
    key=$(hash_of "$here/oci.py" "$here/$image/image.json" "${layers[@]/%/.key}")
    if [ "$(cat "$dir/layout/key" 2>/dev/null)" != "$key" ]; then
        "$python" "$here/oci.py" image "$here/$image/image.json" "$dir/layout" "${layers[@]}" > "$dir/digest"
        echo "$key" > "$dir/layout/key"
        echo "images: $image: done ($(du -sh "$dir/layout" | cut -f 1), $(cat "$dir/digest"))"
    fi
    jq -r '.tags[]' "$here/$image/image.json" > "$dir/tags"
}

if [ "${1:-}" = --only ]; then
    build "$2"
    exit
fi
if [ $# = 0 ]; then
    set -- base buildah busybox mariadb nfs nginx postgres python redis
fi
for image in "$@"; do
    [ -f "$here/$image/image.json" ] || { echo "images: there is no description of $image" >&2; exit 2; }
done
build base
# All others are made out of it. They wait for the network, and for dpkg, in
# turn: two at a time.
printf '%s\n' "$@" | { grep -vx base || true; } | xargs -r -n 1 -P 2 "$here/build.sh" --only
