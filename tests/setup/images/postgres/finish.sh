#!/bin/sh
# Runs after the packages are installed.
#
# usage: finish.sh ROOT
set -eu
chroot "$1" install -d -o postgres -g postgres -m 3777 /var/run/postgresql
chroot "$1" install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data
chroot "$1" install -d /docker-entrypoint-initdb.d
# Listen beyond the loopback interface, as a server in a container must.
sed -i "s/^#*listen_addresses = .*/listen_addresses = '*'/" \
    "$1/usr/share/postgresql/15/postgresql.conf.sample"
# Without the just-in-time compiler the image is 40 % smaller; the server
# does without it when its module is not there.
rm -rf "$1"/usr/lib/postgresql/15/lib/bitcode "$1"/usr/lib/postgresql/15/lib/llvmjit* \
    "$1"/usr/lib/*/libLLVM-*.so* "$1"/usr/lib/llvm-*
