# make demo | test | soak | lint | bench: each makes the virtual environment that it needs first.
# PYTHON chooses the interpreter (3.11 or newer), VENV the place, PYTEST_ARGS and SOAK_ARGS what else they are told, WORKERS how many tests run at once.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Most of a scenario is waiting, so a core serves more than one at a time.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(2 * (os.cpu_count() or 1))")
SOAK_ARGS ?= --seconds 1800 --database both
BIN := $(VENV)/bin

RUNTIME := $(VENV)/.runtime-stamp
DEVELOPMENT := $(VENV)/.development-stamp

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint bench docs venv lock clean

help:
	@echo "make demo    the bridge between three simulated platforms, explained as it happens"
	@echo "make test    the tests (PostgreSQL: SYNCD_TEST_POSTGRES=postgresql://…)"
	@echo "make soak    half an hour of people, kills and failures on each database (SOAK_ARGS=\"--seconds 60\")"
	@echo "make lint    style, types, layers"
	@echo "make bench   messages a second on this machine"
	@echo "make docs    the lists of tests in docs/guarantees.md"
	@echo "make venv    only the virtual environment, with everything for development"
	@echo "make lock    requirements*.txt anew from pyproject.toml"
	@echo "make clean   removes the virtual environment and all caches"

demo: $(RUNTIME)
	$(BIN)/syncd demo

test: $(DEVELOPMENT)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

soak: $(DEVELOPMENT)
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEVELOPMENT)
	$(BIN)/python benchmarks/relay.py

docs: $(DEVELOPMENT)
	$(BIN)/python -m tests.docs.naming

venv: $(DEVELOPMENT)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The locked requirements hold the build backend too, so that building the package needs nothing that is not locked.
$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOPMENT): requirements-dev.txt requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(RUNTIME)

# Made with the oldest Python that is supported; the same files serve the newer ones.
COMPILE := pip-compile --quiet --upgrade --allow-unsafe --generate-hashes --strip-extras \
	--no-header --no-annotate --no-emit-options
LOCK := $(VENV)-lock

lock:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "make lock needs Python 3.11")'
	$(PYTHON) -m venv --clear $(LOCK)
	$(LOCK)/bin/python -m pip install --quiet pip-tools
	$(LOCK)/bin/$(COMPILE) --extra postgres --extra speed --build-deps-for editable \
		-o $(LOCK)/requirements.txt pyproject.toml
	(echo "-r requirements.txt"; $(PYTHON) -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")') \
		> $(LOCK)/requirements-dev.in
	cd $(LOCK) && bin/$(COMPILE) -o requirements-dev.txt requirements-dev.in
	(echo "# What syncd runs on, extras included, and what builds it. Made by: make lock"; \
		cat $(LOCK)/requirements.txt) > requirements.txt
	(echo "# All of requirements.txt and what development needs. Made by: make lock"; \
		cat $(LOCK)/requirements-dev.txt) > requirements-dev.txt
	! grep -nE '://|^--|@ ' requirements.txt requirements-dev.txt
	rm -rf $(LOCK)

clean:
	rm -rf $(VENV) $(LOCK) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
