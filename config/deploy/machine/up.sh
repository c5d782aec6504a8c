#!/bin/sh
# Starts pgfolio unless it runs; by cron each minute. A key is wanted first: `pgfolio keys add --name me`.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./environment
exec 9> up.lock
flock --nonblock 9 || exit 0
echo $$ > up.pid
exec pgfolio up --host 0.0.0.0 --every 15m
