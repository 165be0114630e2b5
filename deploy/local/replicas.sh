#!/usr/bin/env bash
# A MariaDB primary and two GTID replicas as plain processes: replicas.sh start|stop FOLDER
#
# `start` brings up whatever of the three is down, also after a kill -9, waits until the replicas
# have caught up and prints DATABASE_URL and REPLICA_URLS. The folder's path has to be short, because
# a socket's may have 107 characters. PORTS="3407 3408 3409" asks for ports; else free ones are taken
# once and kept. Node 0 is the primary; a node's process id stands in FOLDER/<node>.pid.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/machine.sh

PATH="$PATH:/usr/sbin:/usr/local/sbin" # where Debian keeps mariadbd
PYTHON=.venv/bin/python
ACTION=${1:-} BASE=${2:-}
NODES="0 1 2"
SECONDS_MAX=120
REDO_LOG=32M
AS_ROOT=""
[ "$(id -u)" != 0 ] || AS_ROOT="--user=root" # it refuses to run as root unless told to

tool() { command -v "$1" || command -v "$2" || fail "MariaDB is not installed: no $1."; }
sql() { # sql NODE [option …]
  local node=$1
  shift
  "$(tool mariadb mysql)" --no-defaults --user=root --connect-timeout=2 --batch \
    --skip-column-names --socket="$BASE/$node.sock" "$@"
}
answers() { sql "$1" --execute "SELECT 1" >/dev/null 2>&1; }
port() { cut -d' ' -f$(($1 + 1)) "$BASE/ports"; }

choose_ports() {
  [ -s "$BASE/ports" ] && return 0
  printf '%s\n' "${PORTS:-$("$PYTHON" -c '
import socket
held = [socket.socket() for _ in range(3)]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')}" >"$BASE/ports"
}

# Without the machine's own configuration, which would change sockets, addresses and plugins. The
# mark is written last, so that a broken-off installation is done again. Each node has a folder of its
# own for temporary tables: a starting server clears the one that it is given.
install_node() {
  local data="$BASE/$1"
  [ ! -e "$data/.complete" ] || return 0
  rm -rf "$data"
  mkdir -p "$BASE/$1.tmp"
  "$(tool mariadb-install-db mysql_install_db)" --no-defaults $AS_ROOT --datadir="$data" \
    --tmpdir="$BASE/$1.tmp" --innodb-log-file-size="$REDO_LOG" \
    --auth-root-authentication-method=normal --skip-test-db --innodb-use-native-aio=0 \
    >"$BASE/$1.install.log" 2>&1 || { tail -n 20 "$BASE/$1.install.log" >&2; return 1; }
  touch "$data/.complete"
}

# All three begin alike, so what was installed for the primary serves the replicas, too, as long as
# it has not been started.
install() {
  local node pids=""
  if [ ! -e "$BASE/0/.complete" ]; then
    install_node 0 || return 1
    for node in 1 2; do copy_node "$node" & pids="$pids $!"; done
  else
    for node in 1 2; do install_node "$node" & pids="$pids $!"; done
  fi
  for node in $pids; do wait "$node" || return 1; done
}

copy_node() {
  rm -rf "$BASE/$1" "$BASE/$1.part"
  mkdir -p "$BASE/$1.tmp" && cp -R "$BASE/0" "$BASE/$1.part" && mv "$BASE/$1.part" "$BASE/$1"
}

start_node() {
  local node=$1 role="--read-only=1"
  answers "$node" && return 0
  [ "$node" != 0 ] || role="--log-bin=$BASE/0/binlog --binlog-format=ROW"
  # Durable as in production. In a group of its own: it outlives this script and its terminal.
  # --relay-log: its default name follows the host's, which may change. Without native aio: the
  # machine has a limit of requests, and three servers beside others meet it.
  setsid "$(tool mariadbd mysqld)" --no-defaults $AS_ROOT --datadir="$BASE/$node" \
    --tmpdir="$BASE/$node.tmp" \
    --socket="$BASE/$node.sock" --pid-file="$BASE/$node.pid" --port="$(port "$node")" \
    --bind-address=127.0.0.1 --skip-name-resolve --server-id=$((node + 1)) --gtid-strict-mode=1 \
    --relay-log="$BASE/$node/relay" --character-set-server=utf8mb4 \
    --collation-server=utf8mb4_bin --default-time-zone=+00:00 \
    --transaction-isolation=READ-COMMITTED --innodb-flush-log-at-trx-commit=1 --sync-binlog=1 \
    --innodb-log-file-size="$REDO_LOG" \
    --innodb-use-native-aio=0 --innodb-buffer-pool-size=64M --performance-schema=OFF $role \
    </dev/null >"$BASE/$node.log" 2>&1 &
}

wait_for_node() {
  local tries=0
  until answers "$1"; do
    tries=$((tries + 1))
    if [ "$tries" -gt $((SECONDS_MAX * 20)) ]; then
      tail -n 20 "$BASE/$1.log" >&2 || true
      fail "MariaDB node $1 did not start."
    fi
    sleep 0.05
  done
}

# On the primary only: a replica gets its databases and users as it gets everything else.
create_users() {
  sql 0 --execute "
    CREATE DATABASE IF NOT EXISTS openbell CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    CREATE USER IF NOT EXISTS 'openbell'@'127.0.0.1' IDENTIFIED BY 'openbell';
    GRANT ALL ON openbell.* TO 'openbell'@'127.0.0.1';
    GRANT ALL ON \`test\\_%\`.* TO 'openbell'@'127.0.0.1';
    CREATE USER IF NOT EXISTS 'replication'@'127.0.0.1' IDENTIFIED BY 'replication';
    GRANT REPLICATION SLAVE ON *.* TO 'replication'@'127.0.0.1';"
}

replicate() {
  sql "$1" --execute "
    STOP SLAVE;
    CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=$(port 0), MASTER_USER='replication',
      MASTER_PASSWORD='replication', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;
    START SLAVE;"
}

catch_up() {
  local position
  position=$(sql 0 --execute "SELECT @@gtid_binlog_pos")
  [ "$(sql "$1" --execute "SELECT MASTER_GTID_WAIT('$position', $SECONDS_MAX)")" = 0 ] ||
    fail "MariaDB node $1 does not follow the primary."
}

start() {
  local node
  umask 077
  mkdir -p "$BASE"
  choose_ports
  install || fail "MariaDB could not be installed into $BASE."
  for node in $NODES; do start_node "$node"; done
  for node in $NODES; do wait_for_node "$node"; done
  create_users
  for node in 1 2; do replicate "$node"; done
  for node in 1 2; do catch_up "$node"; done
  say "DATABASE_URL=$(address 0)"
  say "REPLICA_URLS=$(address 1),$(address 2)"
}
address() { printf 'mysql://openbell:openbell@127.0.0.1:%s/openbell' "$(port "$1")"; }

stop_node() {
  local pid tries=0
  [ -s "$BASE/$1.pid" ] || return 0
  pid=$(cat "$BASE/$1.pid")
  kill -CONT "$pid" 2>/dev/null || true # one that a test has stopped would not hear the next
  kill -TERM "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -le 200 ] || { kill -KILL "$pid" 2>/dev/null || true; break; }
    sleep 0.05
  done
  rm -f "$BASE/$1.pid"
}

case "$ACTION:$BASE" in
  start:/?*) start ;;
  stop:/?*) for node in 2 1 0; do stop_node "$node"; done ;; # the primary last
  *) fail "usage: replicas.sh start|stop FOLDER (an absolute path)" ;;
esac
