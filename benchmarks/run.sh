#!/usr/bin/env bash
# Runs benchmarks one after the other: run.sh hot_reads portfolio … Each prints its table; one that
# fails does not keep the others from running.
set -uo pipefail
cd "$(dirname "$0")/.."

FAILED=""
for figure in "$@"; do
  printf '\n=== %s\n' "$figure"
  case "$figure" in
    hot_reads) benchmarks/install_peers.sh && .venv/bin/python benchmarks/hot_reads.py ;;
    streams) benchmarks/install_peers.sh && .venv/bin/python -m benchmarks.streams ;;
    screen_pace) .venv/bin/python -m benchmarks.screen_pace ;; # needs Chromium
    replica_share) .venv/bin/python benchmarks/replica_share.py ;; # starts servers of its own
    *) deploy/local/servers.sh .venv/bin/python -m "benchmarks.$figure" ;;
  esac || FAILED="$FAILED $figure"
done
if [ -n "$FAILED" ]; then
  printf '\nNot measured:%s\n' "$FAILED" >&2
  exit 1
fi
