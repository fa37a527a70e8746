#!/bin/bash
# Starts PostgreSQL, making the database in $PGDATA when there is none.
#
# usage: docker-entrypoint.sh [postgres [OPTION...] | COMMAND [ARGUMENT...]]
#
# Understands what the image on Docker Hub understands: POSTGRES_PASSWORD,
# POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD,
# each of the first four also as NAME_FILE, and *.sh, *.sql and *.sql.gz in
# /docker-entrypoint-initdb.d.
set -Eeuo pipefail

# Takes a variable from the file named in NAME_FILE, or its default.
setting() {
    local name=$1 default=${2:-} file="${1}_FILE"
    if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
        echo "both $name and $file are set: use one of them" >&2
        exit 1
    fi
    [ -z "${!file:-}" ] || printf -v "$name" '%s' "$(< "${!file}")"
    [ -n "${!name:-}" ] || printf -v "$name" '%s' "$default"
    export "${name?}"
    unset "$file"
}

run_psql() {
    psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" "$@"
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                echo "init: $file"
                # shellcheck disable=SC1090
                if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) echo "init: $file"; run_psql --dbname "$POSTGRES_DB" -f "$file" ;;
            *.sql.gz) echo "init: $file"; gunzip -c "$file" | run_psql --dbname "$POSTGRES_DB" ;;
            *) [ ! -e "$file" ] || echo "init: ignoring $file" ;;
        esac
    done
}

make_database() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        cat >&2 <<'MESSAGE'
error: the database has no password yet and none was given.
  Set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in.
MESSAGE
        exit 1
    fi
    local -a arguments
    read -r -a arguments <<< "${POSTGRES_INITDB_ARGS:-}"
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        -D "$PGDATA" "${arguments[@]}"
    local method=${POSTGRES_HOST_AUTH_METHOD:-}
    [ -n "$method" ] || method=$(postgres -D "$PGDATA" -C password_encryption)
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"

    # The server is up for the init files only, and not on the network: a
    # health check over TCP must not see it.
    PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -w start \
        -o "-c listen_addresses='' -p ${PGPORT:-5432}"
    if [ "$POSTGRES_DB" != postgres ]; then
        run_psql --dbname postgres -v name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name";'
    fi
    run_init_files
    PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -m fast -w stop
    # The server has synced what it wrote, but not the settings from above.
    sync -f "$PGDATA"
    echo 'the database is made; starting the server'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA" /var/run/postgresql
        chmod 700 "$PGDATA"
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        chown postgres:postgres /var/run/postgresql
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" 2>/dev/null || true
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    [ -s "$PGDATA/PG_VERSION" ] || make_database
fi
exec "$@"
