# `make help` lists what there is. Everything runs in .venv, installed from the versions in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Workers of the test suite; each is bound to one thread where it trains.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all smoke check bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# torch is named so that pip takes the pinned version and nothing newer.
.venv/base: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0 --editable .
	@touch $@

.venv/dev: .venv/base
	$(PIP) torch==2.13.0 --editable '.[dev]'
	@touch $@

.venv/bench: .venv/dev
	$(PIP) torch==2.13.0 --editable '.[bench]'
	@touch $@

install: .venv/base ## make .venv and install nnopt in it

demo: .venv/base ## train five optimizers on handwritten digits and compare them (a minute)
	$(BIN)/nnopt train configs/digits_optimizers.yaml
	@echo
	@echo "The picture: runs/digits-optimizers/convergence.png. Next:"
	@echo "  $(BIN)/nnopt compare adam sgd --plot adam_sgd.png"
	@echo "  $(BIN)/nnopt init && $(BIN)/nnopt train start.yaml"

test: .venv/dev ## the tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-all: .venv/dev ## the tests, also those that take long
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

smoke: .venv/base ## train every file in configs/ for a few steps
	$(BIN)/python tests/smoke.py

check: .venv/dev ## lint, format and types
	$(BIN)/ruff check nnopt tests
	$(BIN)/ruff format --check nnopt tests
	$(BIN)/mypy

bench: .venv/bench ## time nnopt beside the loops one would write or pick (quiet machine, twenty minutes)
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove .venv and caches; runs stay
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
