#!/bin/sh
# Makes the database of a backup, while pgfolio is stopped: sh stopped.sh sh restore.sh backups/TIME.dump
# It takes the place of the one that is there, which is moved aside, once it is whole.
set -eu
dump=$(realpath "$1")
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./environment
if pg_ctl status --pgdata="$PGFOLIO_HOME/postgres" > /dev/null; then
    echo "a command of pgfolio is still at work" >&2
    exit 1
fi
made="$PGFOLIO_HOME.restoring"
port=${2:-8000}
rm -rf "$made"
PGFOLIO_HOME="$made" pgfolio serve --host 127.0.0.1 --port "$port" > "$made.log" 2>&1 & # makes a database, keeps it
serve=$!
trap 'kill $serve; wait $serve || true; cat "$made.log" >&2' EXIT
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health/live"; do
    kill -0 $serve
    sleep 1
done
pg_restore --host="$made/postgres" --username=postgres --dbname=pgfolio --clean --if-exists --exit-on-error "$dump"
trap - EXIT
kill $serve
wait $serve || true
if [ -e "$PGFOLIO_HOME" ]; then
    mv "$PGFOLIO_HOME" "$PGFOLIO_HOME.$(date +%F.%H%M%S)"
fi
mv "$made" "$PGFOLIO_HOME"
rm "$made.log"
echo "restored $dump"
