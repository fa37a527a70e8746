#!/bin/sh
# Runs after the packages are installed.
#
# usage: finish.sh ROOT
set -eu
ln -sf ../../bin/python3 "$1/usr/local/bin/python3"
ln -sf ../../bin/python3 "$1/usr/local/bin/python"
