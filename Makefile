# `make run` and `make test` are the two commands (docs/decisions say why there is no more to it).
# Another Python than the first one found: make run PYTHON=python3.12
PYTHON ?= python3
PYTEST_ARGS ?=

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
# Written last, so that an install that was broken off is done again.
RUNTIME := .venv/runtime-is-installed
DEV := .venv/dev-is-installed

.DEFAULT_GOAL := help
.NOTPARALLEL:
# A .venv whose Python went with a system upgrade is made anew.
ifneq ($(wildcard $(RUNTIME)),)
ifneq ($(shell $(BIN)/python -c 'import pip; print("works")' 2>/dev/null),works)
.PHONY: $(RUNTIME)
endif
endif
.PHONY: help setup setup-dev run test test-all lint format check bench screenshots soak drill openapi fuzz lock dist clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' Makefile

setup: $(RUNTIME) ## Make .venv with what the appliance needs
setup-dev: $(DEV) ## Make .venv with what tests and linters need as well

run: setup ## Start the appliance; stop it with Ctrl-C
	@exec $(BIN)/python app.py serve

test: setup-dev ## Run the tests, in minutes; PYTEST_ARGS="tests/unit/config/test_loading.py -x" runs some
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST_ARGS)

test-all: setup-dev ## Run all tests, the long ones too: kills at every step, random walks, every page, provider and store
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: setup-dev ## Check style, types and which module may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-dev ## Bring the code into the house style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

check: lint test-all ## lint, then all tests: what CI runs

bench: setup-dev ## Measure ourselves beside others, in turns, into bench/results.json; ONLY="api pages" measures some, QUICK=1 coarsely
	@$(BIN)/python -m bench $(ONLY) $(if $(QUICK),--quick)

soak: setup-dev ## Everything at once under SIGKILL for ten minutes, then hold rows, objects, quota and events against each other; SOAK_SECONDS
	@SOAK_SECONDS=$(or $(SOAK_SECONDS),600) $(BIN)/python -m pytest -q -s tests/faults/test_soak.py

drill: setup-dev ## Back up under load, kill it, restore elsewhere, compare byte for byte, for five minutes; DRILL_SECONDS
	@DRILL_SECONDS=$(or $(DRILL_SECONDS),300) $(BIN)/python -m pytest -q -s tests/faults/test_backup_drill.py

screenshots: setup-dev ## Take a picture of every page of the dashboard into build/screenshots; those of the README anew
	@$(BIN)/python -m tests.dashboard.screenshots

openapi: setup-dev ## Write docs/openapi.json and openapi-sdk.json anew from a running appliance
	@UPDATE_OPENAPI=1 $(BIN)/python -m pytest -q tests/acceptance/test_openapi.py -k copy

fuzz: setup-dev ## Hold the running API against its own document for long; FUZZ_EXAMPLES=1000 sets how long
	@FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),500) $(BIN)/python -m pytest -q --timeout 7200 tests/acceptance/test_openapi.py -k keeps

# hatchling builds the editable install: it has to be pinned as well. The dev lock is held to the runtime lock's versions.
lock: ## Write the two lock files anew after a change in pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && \
	$(PYTHON) -m venv "$$tool" && "$$tool/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	compile="$$tool/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header" && \
	printf 'hatchling>=1.27\neditables>=0.5\n' | $$compile $(UPGRADE) pyproject.toml - -o requirements.lock && \
	$$compile $(UPGRADE) -c requirements.lock pyproject.toml --group dev -o requirements-dev.lock

dist: setup-dev ## Make dist/ from the lock files: one executable file with everything in it, wheel, wheelhouse, SBOM, checksums
	@$(BIN)/python -m distribution

clean: ## Remove .venv and caches; data/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info tests/browser/npm/node_modules bench/companion/node_modules
	find . -name __pycache__ -type d -not -path './data/*' -exec rm -rf {} +

$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1)' || { \
	  echo 'UploadKit needs Python 3.11 or newer; $(PYTHON) is' "$$($(PYTHON) --version 2>&1)." \
	       'Name another: make PYTHON=python3.11 $(or $(MAKECMDGOALS),setup)' >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo 'Installing pinned packages into .venv ...'
	@$(PIP_INSTALL) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@echo 'Installing what tests and linters need ...'
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@
