#!/bin/sh
# Runs after the packages are installed.
#
# usage: finish.sh ROOT
set -eu
chroot "$1" groupadd --system --gid 999 mysql
chroot "$1" useradd --system --uid 999 --gid mysql --no-create-home --home-dir /nonexistent mysql
chroot "$1" install -d -o mysql -g mysql -m 755 /var/lib/mysql /run/mysqld
chroot "$1" install -d /docker-entrypoint-initdb.d
