#!/usr/bin/env bash
# Watches over the primary and its replicas in the folder DATABASES: starts again what has died.
set -u
cd "$(dirname "$0")/../.."

stop() {
  trap - TERM
  deploy/local/replicas.sh stop "$DATABASES"
  exit 0
}
trap stop TERM INT HUP

while :; do
  for node in 0 1 2; do
    if ! kill -0 "$(cat "$DATABASES/$node.pid" 2>/dev/null)" 2>/dev/null; then
      echo "MariaDB node $node is down and is started again"
      deploy/local/replicas.sh start "$DATABASES" >/dev/null
      break
    fi
  done
  sleep 1 &
  wait $!
done
