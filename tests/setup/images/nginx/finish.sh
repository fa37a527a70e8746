#!/bin/sh
# Runs after the packages are installed.
#
# usage: finish.sh ROOT
set -eu
rm -rf "$1/etc/nginx/sites-enabled" "$1/etc/nginx/sites-available"
# Logs go to the container's output.
ln -sf /dev/stdout "$1/var/log/nginx/access.log"
ln -sf /dev/stderr "$1/var/log/nginx/error.log"
