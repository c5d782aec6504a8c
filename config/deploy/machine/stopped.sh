#!/bin/sh
# Runs a command while pgfolio is stopped, and cron does not start it: sh stopped.sh COMMAND...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec 9> "$here/up.lock"
until flock --nonblock 9; do
    kill "$(cat "$here/up.pid")" 2> /dev/null || true
    flock --timeout 60 9 && break
done
"$@" 9>&-
