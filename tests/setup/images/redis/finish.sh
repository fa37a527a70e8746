#!/bin/sh
# Runs after the packages are installed.
#
# usage: finish.sh ROOT
set -eu
chroot "$1" install -d -o redis -g redis /data
