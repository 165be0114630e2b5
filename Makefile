# Everything a person does with Openbell. GNU make 3.81 and bash 3.2 suffice.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# What of the settings may stand on make's command line: make run PORT=9000 FEED=lean …
# What does not stand there is not exported: an empty PORT is no port.
SAID := HOST PORT OPENBELL_HOME FEED DATA DATE START SPEED SEED STEPPED FILL_MODEL EXECUTION_SHARDS
$(foreach name,$(SAID),$(if $($(name)),$(eval export $(name))))

PYTHON := .venv/bin/python
B := hot_reads stampede hit_rate replica_share portfolio settlement acceptance fill_latency
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

.PHONY: help setup run cluster cluster-status cluster-down smoke test test-long bench bench-streams tools lint fix lock clean

help: ## Explain every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run takes HOST, PORT, OPENBELL_HOME, SEED, STEPPED=1, and for a recorded day"
	@echo "  FEED=lean DATA=../shared/lean DATE=2013-10-07 SPEED=60; .env.example lists the rest."

setup: ## Install what running needs, into .venv
	@deploy/local/setup.sh embedded

run: setup ## Install, start the platform in one process, print how to use it
	@$(PYTHON) -m config.launcher

cluster: ## Start the whole topology on this machine: MariaDB, replicas, Redis, nginx, all processes
	@deploy/local/setup.sh cluster
	@$(PYTHON) -m deploy.local.cluster up

cluster-status: ## Show the cluster's processes and who owns what
	@$(PYTHON) -m deploy.local.cluster status

cluster-down: ## Stop the cluster; what it stored stays
	@$(PYTHON) -m deploy.local.cluster down

smoke: tools ## Trade through a running platform and check what it says: make smoke URL=…
	@$(PYTHON) -m deploy.local.smoke $(URL)

test: ## Install what tests need, lint, run the suite; T=path runs one part of it
	@deploy/local/test.sh $(T)

test-long: ## The same with the full counts: crash points, long stalls, thousands of pairs
	@OPENBELL_TEST_LONG=1 deploy/local/test.sh $(T)

bench: tools ## Measure what we publish, one figure after the other; B=hot_reads measures one
	@benchmarks/run.sh $(B)

bench-streams: tools ## What a delivered message costs, beside other servers of WebSockets
	@benchmarks/run.sh streams full_path

tools:
	@deploy/local/setup.sh test

lint: tools ## Check style, imports between layers and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@$(PYTHON) -m mypy

fix: tools ## Repair what can be repaired by itself
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: ## Pin the requirement files and browser libraries anew (needs uv and npm)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) -c requirements.txt requirements-embedded.in -o requirements-embedded.txt
	$(LOCK) -c requirements.txt requirements-test.in -o requirements-test.txt
	$(LOCK) requirements-node.in -o requirements-node.txt
	cd deploy/browser && npm install --package-lock-only

clean: ## Remove what was installed and built; what Openbell stored (.openbell) stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf deploy/browser/node_modules deploy/browser/vendor
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
