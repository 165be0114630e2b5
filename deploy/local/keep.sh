#!/usr/bin/env bash
# Keeps one process of the cluster running: keep.sh [--prepared|--ready] NAME command [argument …]
#
# One that fails is started again a second later, as systemd would. One that ends well was told to
# and stays down; this script then rests, because the supervisor takes all down when one ends.
# --prepared and --ready wait for the file of that name first: until then a pipe stands in its place,
# which whoever starts the cluster holds open, so that waiting costs nothing. The process id is in
# run/NAME.pid.
set -u
RUN="$OPENBELL_HOME/run"
child=""

leave() {
  trap - TERM
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null; wait "$child" 2>/dev/null; }
  rm -f "$RUN/$NAME.pid"
  exit 0
}

rest() { sleep "$1" & child=$!; wait "$child"; child=""; }

case $1 in --*) AFTER=${1#--}; shift ;; *) AFTER="" ;; esac
NAME=$1
shift
trap leave TERM INT HUP
while [ -n "$AFTER" ] && [ ! -f "$RUN/$AFTER" ]; do
  cat "$RUN/$AFTER" >/dev/null 2>&1 &
  child=$!
  wait "$child"
  child=""
  [ -f "$RUN/$AFTER" ] || rest 1
done

while [ ! -e "$RUN/stopping" ]; do
  "$@" &
  child=$!
  echo "$child" >"$RUN/$NAME.pid"
  wait "$child"
  code=$?
  child=""
  rm -f "$RUN/$NAME.pid"
  case $code in 0 | 143) break ;; esac # 143: by SIGTERM
  echo "$NAME ended with $code and is started again"
  rest 1
done
while :; do rest 3600; done
