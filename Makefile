# petct: `make demo` shows it working, `make test` proves it. Both need Python >= 3.11, make and bash, nothing else.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: install demo demo-clean test check lint bench man sample_data clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PETCT := $(BIN)/petct
JOBS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

install: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("petct needs Python >= 3.11, set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing petct into $(VENV) (a few minutes the first time) ..."
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing petct and its test tools into $(VENV) (a few minutes the first time) ..."
	$(PIP) -e '.[dev]'
	touch $(VENV)/.installed $@

# --- tests -----------------------------------------------------------------------------------------------------------

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m petct_cli.cli.man man --check

check: lint test

man: $(VENV)/.installed
	$(BIN)/python -m petct_cli.cli.man man

bench: $(VENV)/.installed-dev
	$(BIN)/python tests/bench.py

# --- sample data -----------------------------------------------------------------------------------------------------

sample_data: $(VENV)/.installed
	rm -rf sample_data/studies
	$(PETCT) phantom --studies 2 --seed 7 -o sample_data/studies > sample_data/studies.jsonl

# --- the demo: synthetic hospital -> de-identified dataset -> trained model -> honest score ----------------------------

DEMO := demo
TRAIN_STUDIES ?= 1800
TEST_STUDIES ?= 110

include demo.mk

clean: demo-clean
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
