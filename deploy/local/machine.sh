# What the scripts beside this one know about the machine they run on. Sourced, not run.
# Plain bash 3.2, which is what macOS has.

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Run a command as root, where that is possible: as root, or with sudo, which may ask a person.
can_be_root() {
  [ "$(id -u)" = 0 ] || { has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_use_apt() { has apt-get && can_be_root; }

# Install Debian packages without starting the servers in them: they would take the default ports.
# What says so goes again, however this ends; one that a killed run has left behind is ours, too.
POLICY=/usr/sbin/policy-rc.d
OURS="# Openbell: while make installs packages"
apt_install() (
  say "Installing from Debian: $*"
  if [ ! -e "$POLICY" ] || grep -qxF "$OURS" "$POLICY"; then
    trap 'as_root rm -f "$POLICY"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\n%s\nexit 101\n' "$OURS" | as_root tee "$POLICY" >/dev/null &&
      as_root chmod +x "$POLICY"
  fi
  apt_get_install "$@" || { as_root apt-get update -qq && apt_get_install "$@"; }
)
apt_get_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
