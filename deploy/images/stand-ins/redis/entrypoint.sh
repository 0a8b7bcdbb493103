#!/bin/sh
# As people use the public image: arguments alone are the server's, and clients may come from other containers.
set -e
case "$1" in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown redis:redis /data
  exec setpriv --reuid redis --regid redis --init-groups -- "$@" --protected-mode no
fi
exec "$@"
