#!/bin/sh
# Starts Prometheus unless it runs; by cron each minute.
set -eu
cd "$(dirname "$0")"
umask 077
exec 9> prometheus.lock
flock --nonblock 9 || exit 0
exec prometheus --config.file=prometheus.yaml --storage.tsdb.path=prometheus --web.listen-address=127.0.0.1:9095
