#!/usr/bin/env bash
# Brings what Openbell needs into .venv and deploy/browser: setup.sh embedded|test|cluster
#
# Everything is pinned with hashes. What is already there is left alone, so that a second run costs
# nothing. Where something is missing and cannot be brought, one sentence names the command that can.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/local/machine.sh

SET=${1:-embedded}
VENV=.venv

# --- Python --------------------------------------------------------------------------------------

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if has "$name" && is_new_enough "$name"; then command -v "$name"; return 0; fi
  done
  return 1
}

python_or_fail() {
  PYTHON=$(find_python) && return 0
  if can_use_apt; then
    apt_install python3 python3-venv >&2 || true
    hash -r
    PYTHON=$(find_python) && return 0
  fi
  if has apt-get; then
    fail "Openbell needs Python 3.11 or newer: run 'sudo apt-get install python3 python3-venv'."
  fi
  fail "Openbell needs Python 3.11 or newer: run 'brew install python@3.13', or see python.org."
}

# Debian ships Python without the modules that make a virtual environment.
can_make_venv() { "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1; }

venv_or_fail() {
  if [ -x "$VENV/bin/python" ] && is_new_enough "$VENV/bin/python" &&
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    return 0
  fi
  python_or_fail
  if ! can_make_venv; then
    local package
    package="python$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if can_use_apt; then apt_install "$package" || apt_install python3-venv || true; fi
    can_make_venv || fail "Python cannot make a virtual environment: run 'sudo apt-get install $package'."
  fi
  say "Making a virtual environment in $VENV"
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
}

# --- Python packages -----------------------------------------------------------------------------

# A copy of the requirements stands for "these are installed".
is_installed() { cmp -s "$1" "$VENV/.installed/$1"; }

pip_install() {
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@"
}

# Wheels only, where there are wheels: they need no compiler. The second try is for a platform that
# has to build one.
install() {
  local file=$1
  is_installed "$file" && return 0
  say "Installing Python packages ($file)"
  pip_install --only-binary :all: -r "$file" 2>/dev/null || pip_install -r "$file" || return 1
  mkdir -p "$VENV/.installed"
  cp "$file" "$VENV/.installed/$file"
}

install_or_fail() {
  install "$1" ||
    fail "The packages of $1 could not be installed: pip says why above; without a network, nothing can be."
}

# --- browser libraries ---------------------------------------------------------------------------

BROWSER=deploy/browser

npm_command() {
  if has npm && has node; then command -v npm; return 0; fi
  install requirements-node.txt >&2 || return 1
  say "$PWD/$VENV/bin/npm"
}

fetch_browser_libraries() {
  cmp -s "$BROWSER/package-lock.json" "$BROWSER/vendor/.installed" && return 0
  local npm dist="node_modules/lightweight-charts" font="node_modules/@fontsource-variable/inter"
  say "Fetching browser libraries"
  npm=$(npm_command) &&
    (
      cd "$BROWSER"
      PATH="$(dirname "$npm"):$PATH" "$npm" ci --loglevel=silent >/dev/null &&
        mkdir -p vendor &&
        cp "$dist/dist/lightweight-charts.standalone.production.mjs" vendor/lightweight-charts.mjs &&
        cp "$dist/LICENSE" vendor/lightweight-charts.LICENSE.txt &&
        cp "$font/files/inter-latin-wght-normal.woff2" vendor/inter-latin.woff2 &&
        cp "$font/LICENSE" vendor/inter-latin.LICENSE.txt &&
        cp package-lock.json vendor/.installed
    )
}

# --- servers of the cluster ----------------------------------------------------------------------

missing_servers() {
  PATH="$PATH:/usr/sbin:/usr/local/sbin"
  has mariadbd || printf 'mariadb-server '
  has redis-server || printf 'redis-server '
  has nginx || printf 'nginx-light '
  "$VENV/bin/python" -c 'import MySQLdb' 2>/dev/null ||
    printf 'default-libmysqlclient-dev pkg-config gcc python3-dev '
}

servers_or_fail() {
  local missing
  missing=$(missing_servers)
  [ -n "$missing" ] || return 0
  can_use_apt || fail "The cluster needs more packages: run 'sudo apt-get install $missing'."
  apt_install $missing || fail "apt could not install: $missing"
}

venv_or_fail
install_or_fail requirements-embedded.txt
case $SET in
  test) install_or_fail requirements-test.txt ;;
  cluster) servers_or_fail && install_or_fail requirements.txt ;;
esac
fetch_browser_libraries ||
  say "The browser libraries could not be fetched (npm needs its registry): a table stands in the chart's place."
