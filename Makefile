# The commands of this repository. Each sets up what it needs; a second time that takes a second.
#
#   make run     the example app on a server of its own: http://127.0.0.1:3000
#   make test    everything that proves it
#   make check   formatting, lint, types
#
# Needs Python 3.11+ (with venv), Node 20+ and npm. No root, no other package manager.

.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# Downloads go on beside the engine's compilation.
MAKEFLAGS += --jobs=4

# The first interpreter that is new enough; override with `make PYTHON=/path/to/python3.12 setup`.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NPM_CI := npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
UV_VERSION := 0.13.9

# A stamp is written after the step it stands for, and is newer than everything the step read.
VENV := .venv/.stamp-venv
RUNTIME := .venv/.stamp-runtime
DEVELOPMENT := .venv/.stamp-development
ENGINE := .venv/.stamp-engine
CHAT := docs/examples/chat/node_modules/.stamp
TEST_CLIENTS := tests/npm/node_modules/.stamp
BENCH_PEERS := tests/bench/node_modules/.stamp
ENGINE_SOURCES := $(wildcard functions/engine/*.py functions/engine/*.[ch] functions/engine/*.json \
	functions/engine/prelude/*.*js functions/engine/prelude/*/*.js)

.PHONY: help setup setup-dev run test check bench bench-peers chaos machine mutants soak sim lock clean

help:
	@sed -n '3,5s/^# *//p' Makefile

setup: $(ENGINE) $(CHAT)

setup-dev: setup $(DEVELOPMENT) $(TEST_CLIENTS)

run: setup
	@exec $(BIN)/python docs/examples/chat/run.py

test: setup-dev
	$(BIN)/python -m tests all

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup-dev
	$(BIN)/python -m tests.bench

chaos: setup-dev
	$(BIN)/python -m tests chaos

machine: setup-dev
	$(BIN)/python -m tests.machine

mutants: setup-dev
	$(BIN)/python -m tests.mutants --report docs/mutants.md

bench-peers: setup-dev $(BENCH_PEERS)
	$(BIN)/python -m tests.bench peers

# make sim SEEDS=<first>-<last>
SEEDS ?= 1-1000
sim: $(DEVELOPMENT)
	$(BIN)/python -m tests sim $(SEEDS)

# make soak MINUTES=<of load> KILLS=<of each store's writer> CASES=<of each long random test>; 0 leaves one out
MINUTES ?= 60
KILLS ?= 1000
CASES ?= 100000
soak: setup-dev
	$(BIN)/python -m tests soak --minutes $(MINUTES) --kills $(KILLS) --cases $(CASES) \
	--report docs/soak.md

# --- setting up -------------------------------------------------------------------------------------

$(VENV): | node
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON to one." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make virtual environments: install its venv \
	package (Debian: python3-venv), or set PYTHON to another one." >&2; exit 1; }
	@touch $@

$(RUNTIME): $(VENV) requirements.lock pyproject.toml
	@echo "Installing Python packages ..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.lock
	@echo "Installing the development's Python packages ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(ENGINE): $(RUNTIME) $(ENGINE_SOURCES)
	@echo "Building the JavaScript engine ..."
	@$(BIN)/python -m functions.engine.build
	@touch $@

$(CHAT): docs/examples/chat/package-lock.json | node
	@echo "Installing the example's npm packages ..."
	@cd docs/examples/chat && $(NPM_CI)
	@touch $@

$(TEST_CLIENTS): tests/npm/package-lock.json | node
	@echo "Installing the tests' npm packages ..."
	@cd tests/npm && $(NPM_CI)
	@touch $@

$(BENCH_PEERS): tests/bench/package-lock.json | node
	@echo "Installing the peers' npm packages ..."
	@cd tests/bench && $(NPM_CI)
	@touch $@

.PHONY: node
node:
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
	|| { echo "Node.js 20 or newer is needed." >&2; exit 1; }
	@command -v npm >/dev/null || { echo "npm is needed." >&2; exit 1; }

# --- keeping ----------------------------------------------------------------------------------------

# Resolves again, so that both locks move together. Everything is pinned by hash, for every platform.
lock:
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/pip -q install uv==$(UV_VERSION); }
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; \
	compile="build/lock/bin/uv pip compile pyproject.toml --quiet --generate-hashes --universal \
	--fork-strategy fewest --python-version 3.11 --extra engine"; \
	$$compile --output-file requirements.lock && \
	$$compile --extra dev --constraint requirements.lock --output-file requirements-dev.lock

# What can be made again. The data folder .tidelog is not touched.
clean:
	rm -rf .venv build dist *.egg-info functions/engine/build .mypy_cache .ruff_cache .pytest_cache
	rm -rf docs/examples/chat/node_modules docs/examples/chat/dist docs/examples/chat/convex/_generated
	rm -rf tests/npm/node_modules tests/bench/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
