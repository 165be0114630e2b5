#!/usr/bin/env bash
# Everything `make test` does: installs what the tests need, then lint, then the tests.
#
# The suite runs on MariaDB and Redis of its own, and the parts that keep money once more on SQLite,
# the embedded default. Much of it waits for servers, so two parts of it run side by side. Where the
# servers cannot be had it says so, loudly, and runs all on SQLite.
# OPENBELL_TEST_LONG=1 runs the long counts too, without a limit of time.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/machine.sh

MINUTES_MAX=15
PYTEST=".venv/bin/python -m pytest -q"
# What runs a second time on SQLite.
ON_SQLITE="tests/config/databases tests/events tests/portfolios tests/trading tests/races
  tests/quotes/test_history.py tests/quotes/test_ingest.py tests/quotes/test_ingest_process.py
  tests/quotes/test_latest.py tests/quotes/test_latest_misses.py tests/quotes/test_market.py
  tests/quotes/test_recorder.py tests/quotes/test_tick_history.py"
# What starts whole clusters or platforms, kills and awaits them: most of its time is waiting.
ON_CLUSTERS="tests/deploy tests/faults tests/replication tests/scenarios"
PACKAGES="mariadb-server redis-server nginx-light chromium default-libmysqlclient-dev pkg-config gcc
  python3-dev"

loudly() {
  say ""
  say "!! ---------------------------------------------------------------------------------"
  say "!! $*"
  say "!! ---------------------------------------------------------------------------------"
  say ""
}

is_package_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q "ok installed"; }

install_packages() {
  local package missing=""
  has apt-get || return 0
  for package in $PACKAGES; do is_package_installed "$package" || missing="$missing $package"; done
  has node || missing="$missing nodejs"
  [ -n "$missing" ] || return 0
  if can_be_root; then
    apt_install $missing || loudly "apt could not install:$missing"
  else
    loudly "Not root and no sudo: cannot install$missing"
  fi
}

have_servers() {
  PATH="$PATH:/usr/sbin:/usr/local/sbin"
  { has mariadbd || has mysqld; } && has redis-server &&
    .venv/bin/python -c 'import MySQLdb' 2>/dev/null
}

install_production_set() {
  cmp -s requirements.txt .venv/.installed/requirements.txt && return 0
  say "Installing Python packages (requirements.txt)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r requirements.txt && cp requirements.txt .venv/.installed/requirements.txt ||
    loudly "mysqlclient could not be built: it needs a compiler and the headers of MySQL's client."
}

FAILED=""
run() {
  local name=$1
  shift
  say "== $name"
  "$@" || FAILED="$FAILED, $name"
}

on_servers() { deploy/local/servers.sh $PYTEST "$@"; }

# Keeps for `said` what a command prints, and how it ends.
keep() {
  local name=$1 ended=0
  shift
  "$@" >"$SAID/$name" 2>&1 &
  wait $! || ended=$?
  echo "$ended" >"$SAID/$name.ended"
}

said() {
  cat "$SAID/$1"
  return "$(cat "$SAID/$1.ended")"
}

on_sqlite_then_on_clusters() {
  trap 'kill $! && exit 143' TERM
  keep sqlite nice -n 5 $PYTEST $ON_SQLITE
  keep clusters on_servers $ON_CLUSTERS
}

install_packages
deploy/local/setup.sh test
install_production_set
has chromium || has chromium-browser || has google-chrome ||
  loudly "NO CHROMIUM: the browser tests are skipped."

SECONDS=0
run lint make --no-print-directory lint
if have_servers && [ $# -eq 0 ]; then
  SAID=$(mktemp -d)
  on_sqlite_then_on_clusters &
  BESIDE=$!
  trap 'kill "$BESIDE" 2>/dev/null || true; rm -rf "$SAID"' EXIT
  run "tests on MariaDB and Redis" on_servers tests $(printf -- '--ignore=%s ' $ON_CLUSTERS)
  wait "$BESIDE"
  run "tests on SQLite" said sqlite
  run "tests of clusters" said clusters
elif have_servers; then
  run "tests on MariaDB and Redis" on_servers "$@"
else
  loudly "NO MARIADB OR NO REDIS: everything runs on SQLite, without Redis."
  run "tests on SQLite" $PYTEST ${1+"$@"}
fi

say ""
say "Took $((SECONDS / 60)) min $((SECONDS % 60)) s."
[ -z "$FAILED" ] || fail "FAILED: ${FAILED#, }"
if [ "${OPENBELL_TEST_LONG:-}" != 1 ] && [ "$SECONDS" -gt $((MINUTES_MAX * 60)) ]; then
  loudly "The short form is to take $MINUTES_MAX minutes: a slow machine, or a test for make test-long."
fi
say "All passed."
