#!/bin/bash
# Starts MariaDB, making the databases in /var/lib/mysql when there are none.
#
# usage: docker-entrypoint.sh [mariadbd [OPTION...] | COMMAND [ARGUMENT...]]
#
# Understands of the image on Docker Hub: MARIADB_ROOT_PASSWORD,
# MARIADB_ALLOW_EMPTY_ROOT_PASSWORD, MARIADB_DATABASE, MARIADB_USER and
# MARIADB_PASSWORD, all but the second also as NAME_FILE and with MYSQL_ for
# MARIADB_, and *.sql in /docker-entrypoint-initdb.d.
set -Eeuo pipefail

data=/var/lib/mysql
# Here while the databases are being made: what a kill left is made anew.
begun=$data/.begun

# Takes a variable under either name, or from the file named in NAME_FILE.
setting() {
    local name=MARIADB_$1 other=MYSQL_$1 file
    [ -n "${!name:-}" ] || printf -v "$name" '%s' "${!other:-}"
    file=${name}_FILE
    [ -n "${!file:-}" ] || file=${other}_FILE
    [ -z "${!file:-}" ] || printf -v "$name" '%s' "$(< "${!file}")"
}

# As a string of SQL.
quote() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\'\'}"
}

statements() {
    local file
    # In this mode the server does not know of users until it is told to.
    echo 'FLUSH PRIVILEGES;'
    echo "CREATE OR REPLACE USER root@localhost IDENTIFIED BY $(quote "$MARIADB_ROOT_PASSWORD");"
    echo "CREATE OR REPLACE USER root@'%' IDENTIFIED BY $(quote "$MARIADB_ROOT_PASSWORD");"
    echo "GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION;"
    echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    if [ -n "$MARIADB_DATABASE" ]; then
        echo "CREATE DATABASE IF NOT EXISTS \`${MARIADB_DATABASE//\`/\`\`}\`;"
    fi
    if [ -n "$MARIADB_USER" ]; then
        echo "CREATE USER $(quote "$MARIADB_USER")@'%' IDENTIFIED BY $(quote "$MARIADB_PASSWORD");"
        [ -z "$MARIADB_DATABASE" ] \
            || echo "GRANT ALL ON \`${MARIADB_DATABASE//\`/\`\`}\`.* TO $(quote "$MARIADB_USER")@'%';"
    fi
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ -e "$file" ] || continue
        [ -z "$MARIADB_DATABASE" ] || echo "USE \`${MARIADB_DATABASE//\`/\`\`}\`;"
        cat "$file"
    done
}

make_databases() {
    if [ -z "$MARIADB_ROOT_PASSWORD" ] && [ -z "${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-}" ]; then
        cat >&2 <<'MESSAGE'
error: root has no password yet and none was given.
  Set MARIADB_ROOT_PASSWORD, or MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1 to let everybody in.
MESSAGE
        exit 1
    fi
    if [ -e "$begun" ]; then
        find "$data" -mindepth 1 -delete
    fi
    touch "$begun"
    mariadb-install-db --no-defaults --datadir="$data" --skip-test-db \
        --auth-root-authentication-method=normal --skip-name-resolve > /dev/null
    statements | mariadbd --no-defaults --datadir="$data" --bootstrap --silent-startup
    sync -f "$data"
    rm "$begun"
    echo 'the databases are made; starting the server'
}

[ "${1:0:1}" != - ] || set -- mariadbd "$@"
if [ "$1" = mariadbd ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$data" /run/mysqld
        find "$data" \! -user mysql -exec chown mysql:mysql '{}' +
        chown mysql:mysql /run/mysqld
        exec setpriv --reuid=mysql --regid=mysql --init-groups -- "$0" "$@"
    fi
    for name in ROOT_PASSWORD DATABASE USER PASSWORD; do setting "$name"; done
    if [ -e "$begun" ] || [ ! -d "$data/mysql" ]; then make_databases; fi
    shift
    set -- mariadbd --datadir="$data" --bind-address='*' --socket=/run/mysqld/mysqld.sock \
        --skip-name-resolve "$@"
fi
exec "$@"
