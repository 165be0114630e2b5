#!/usr/bin/env bash
# Installs what the benchmarks measure us against: .venv-peers and benchmarks/peers/node_modules.
set -euo pipefail
cd "$(dirname "$0")/.."

LOCK=benchmarks/requirements-peers.txt
if ! cmp -s "$LOCK" .venv-peers/installed.txt; then
  echo "Installing FastAPI, uvicorn and socketify into .venv-peers"
  .venv/bin/python -m venv .venv-peers
  .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$LOCK"
  cp "$LOCK" .venv-peers/installed.txt
fi
if ! cmp -s benchmarks/peers/package-lock.json benchmarks/peers/node_modules/.installed.json; then
  echo "Installing Fastify, ioredis and ws into benchmarks/peers/node_modules"
  npm ci --silent --prefix benchmarks/peers
  cp benchmarks/peers/package-lock.json benchmarks/peers/node_modules/.installed.json
fi
