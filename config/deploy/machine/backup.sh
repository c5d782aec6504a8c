#!/bin/sh
# Backs the bundled database up while it runs, to backups/TIME.dump, and keeps those of two weeks.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./environment
if ! pg_ctl status --pgdata="$PGFOLIO_HOME/postgres" > /dev/null; then
    echo "nothing was backed up: pgfolio does not run" >&2
    exit 1
fi
mkdir -p backups
trap 'rm -f backups/new' EXIT
pg_dump --host="$PGFOLIO_HOME/postgres" --username=postgres --format=custom --file=backups/new pgfolio
dump="backups/$(date +%F.%H%M%S).dump"
mv backups/new "$dump"
find backups -name '*.dump' -mtime +14 -delete
echo "backed up to $dump"
