#!/bin/sh
# Starts Redis as its own user, with its data in the working directory.
#
# usage: docker-entrypoint.sh [redis-server [FILE] [OPTION...] | COMMAND [ARGUMENT...]]
set -eu
case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --init-groups -- "$0" "$@"
    fi
    # The network around it is the protection, as in the image on Docker Hub.
    case " $* " in
        *" --protected-mode "* | *.conf*) ;;
        *) set -- "$@" --protected-mode no ;;
    esac
fi
exec "$@"
