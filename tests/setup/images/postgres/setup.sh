#!/bin/sh
# Runs before the packages are installed.
#
# usage: setup.sh ROOT
set -eu
# The Debian package makes a cluster when it is installed; a container makes
# its own in its volume.
mkdir -p "$1/etc/postgresql-common"
echo 'create_main_cluster = false' > "$1/etc/postgresql-common/createcluster.conf"
