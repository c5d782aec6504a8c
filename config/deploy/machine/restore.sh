#!/bin/sh
# Makes the database of a backup, while pgfolio is stopped: sh stopped.sh sh restore.sh backups/DAY.dump
# A state that is there is moved aside first.
set -eu
dump=$(realpath "$1")
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./environment
pg_restore --list "$dump" > /dev/null
if pg_ctl status --pgdata="$PGFOLIO_HOME/postgres" > /dev/null; then
    echo "a command of pgfolio is still at work" >&2
    exit 1
fi
if [ -e "$PGFOLIO_HOME" ]; then
    mv "$PGFOLIO_HOME" "$PGFOLIO_HOME.$(date +%F.%H%M%S)"
fi
port=${2:-8000}
pgfolio serve --host 127.0.0.1 --port "$port" & # makes an empty database and keeps it running
serve=$!
trap 'kill $serve; wait $serve || true' EXIT
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health/live"; do
    kill -0 $serve
    sleep 1
done
pg_restore --host="$PGFOLIO_HOME/postgres" --username=postgres --dbname=pgfolio --clean --if-exists \
    --exit-on-error "$dump"
