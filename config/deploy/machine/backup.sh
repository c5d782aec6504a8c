#!/bin/sh
# Backs the bundled database up while it runs, to backups/DAY.dump, and keeps those of two weeks.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./environment
mkdir -p backups
pg_dump --host="$PGFOLIO_HOME/postgres" --username=postgres --format=custom --file=backups/new pgfolio
mv backups/new "backups/$(date +%F).dump"
find backups -name '*.dump' -mtime +14 -delete
