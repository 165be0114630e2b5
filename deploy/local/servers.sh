#!/usr/bin/env bash
# Runs a command beside a MariaDB and a Redis of its own: servers.sh command [argument …]
#
# Both listen on free ports of 127.0.0.1 and live in a short temporary folder (a socket's path may
# have 107 characters), which goes when the command ends, however it ends. The command finds them in
# DATABASE_URL and REDIS_URL. MariaDB is as durable as in production: what a test sees acknowledged
# is on disk.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/machine.sh

PYTHON=.venv/bin/python
BASE=$(mktemp -d /tmp/openbell.XXXXXX)
PIDS=""

stop() {
  local pid
  for pid in $PIDS; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $PIDS; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$BASE"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

free_port() {
  "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Ask until it answers, for 30 s.
wait_for() {
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      tail -20 "$BASE"/*.log >&2 || true
      fail "$what did not start."
    fi
    sleep 0.1
  done
}

mariadb_tool() { command -v "$1" || command -v "$2"; }

start_mariadb() {
  local user="" port data="$BASE/data" client
  [ "$(id -u)" != 0 ] || user="--user=root" # it refuses to run as root unless told to
  port=$(free_port)
  client="$(mariadb_tool mariadb mysql) --no-defaults --user=root --socket=$BASE/db.sock"
  # --no-defaults: the machine's own configuration would change sockets, addresses and plugins.
  # A starting server clears the folder of its temporary tables, so it has one of its own.
  mkdir "$BASE/tmp"
  "$(mariadb_tool mariadb-install-db mysql_install_db)" --no-defaults $user --datadir="$data" \
    --tmpdir="$BASE/tmp" \
    --auth-root-authentication-method=normal --skip-test-db >"$BASE/install.log" 2>&1
  "$(mariadb_tool mariadbd mysqld)" --no-defaults $user --datadir="$data" \
    --tmpdir="$BASE/tmp" \
    --socket="$BASE/db.sock" --pid-file="$BASE/db.pid" --port="$port" --bind-address=127.0.0.1 \
    --skip-name-resolve --default-time-zone=+00:00 --transaction-isolation=READ-COMMITTED \
    --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
    --log-bin="$BASE/binlog" --server-id=1 --innodb-flush-log-at-trx-commit=1 --sync-binlog=1 \
    --innodb-buffer-pool-size=128M --performance-schema=OFF >"$BASE/mariadb.log" 2>&1 &
  PIDS="$PIDS $!"
  wait_for MariaDB $client --execute "SELECT 1"
  $client --execute "
    CREATE DATABASE openbell CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    CREATE USER 'openbell'@'127.0.0.1' IDENTIFIED BY 'openbell';
    GRANT ALL ON openbell.* TO 'openbell'@'127.0.0.1';
    GRANT ALL ON \`test\\_%\`.* TO 'openbell'@'127.0.0.1';"
  export DATABASE_URL="mysql://openbell:openbell@127.0.0.1:$port/openbell"
}

start_redis() {
  local port
  port=$(free_port)
  redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$BASE" \
    >"$BASE/redis.log" 2>&1 &
  PIDS="$PIDS $!"
  wait_for Redis redis-cli -h 127.0.0.1 -p "$port" ping
  export REDIS_URL="redis://127.0.0.1:$port/0"
}

PATH="$PATH:/usr/sbin:/usr/local/sbin" # where Debian keeps mariadbd
start_mariadb
start_redis
"$@"
