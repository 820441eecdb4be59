# petct: `make demo` shows it working, `make test` proves it. Both need Python >= 3.11, make and bash, nothing else.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: install trainers demo demo-clean test check lint bench man sample_data clean

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

# What reads the exports of `petct pair --export` in the tests: beside the environment, so that nothing in it changes.
trainers: $(VENV)/trainers/.installed

$(VENV)/trainers/.installed: tools/trainers.txt | $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) -r $<
	touch $@

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
	$(PIP) -e '.[bench]'
	$(BIN)/python tests/bench.py

# --- sample data -----------------------------------------------------------------------------------------------------

sample_data: $(VENV)/.installed
	rm -rf sample_data/studies
	$(PETCT) phantom --studies 3 --seed 7 --ct-grid pet -o sample_data/studies > sample_data/studies.jsonl

# --- the demo: synthetic hospital -> de-identified dataset -> trained model -> honest score ----------------------------

# Held-out studies are DICOM and go the hospital's way; training studies come converted, to spare ten thousands of files.
DEMO := demo
TRAIN_STUDIES ?= 1500
TEST_STUDIES ?= 110
SYSTEMS := petct.jsonl petct-shuffled-images.jsonl pet-threshold.jsonl
METRICS := site_f1,size_mae_mm,size_r,suv_mae,suv_r,bleu4

demo: $(DEMO)/report.html
	@cat $(DEMO)/scores.txt
	@echo "Pages for a person: $(DEMO)/report.html (images and reports), $(DEMO)/scores.html (verdicts and worst cases)"

$(DEMO)/test.jsonl: $(VENV)/.installed
	mkdir -p $(DEMO)
	$(PETCT) phantom --studies $(TEST_STUDIES) --seed 2 --jobs $(JOBS) -o $(DEMO)/hospital > $(DEMO)/hospital.jsonl
	$(PETCT) anonymize $(DEMO)/hospital.jsonl -o $(DEMO)/clean --key-file $(DEMO)/key --new-key --jobs $(JOBS) \
	  | $(PETCT) convert - -o $(DEMO)/vol \
	  | $(PETCT) pair - --overlap 65mm --split test > $@

$(DEMO)/train.jsonl: $(VENV)/.installed
	mkdir -p $(DEMO)
	$(PETCT) phantom --studies $(TRAIN_STUDIES) --seed 1 --as volumes --jobs $(JOBS) -o $(DEMO)/training \
	  | $(PETCT) pair - --overlap 65mm --split random:0:95/5/0 \
	  | $(PETCT) augment - --method reorder,synonyms > $@

$(DEMO)/model.jsonl: $(DEMO)/train.jsonl
	$(PETCT) train $< --jobs $(JOBS) -o $(DEMO)/model > $@

$(DEMO)/threshold.jsonl: $(DEMO)/train.jsonl
	$(PETCT) train $< --recipe pet-threshold --jobs $(JOBS) -o $(DEMO)/threshold > $@

$(DEMO)/petct.jsonl: $(DEMO)/test.jsonl $(DEMO)/model.jsonl
	$(PETCT) generate $< --model $(DEMO)/model > $@

$(DEMO)/petct-shuffled-images.jsonl: $(DEMO)/test.jsonl $(DEMO)/model.jsonl
	$(PETCT) generate $< --model $(DEMO)/model --shuffle-images 1 > $@

$(DEMO)/pet-threshold.jsonl: $(DEMO)/test.jsonl $(DEMO)/threshold.jsonl
	$(PETCT) generate $< --model $(DEMO)/threshold > $@

$(DEMO)/scores.jsonl: $(SYSTEMS:%=$(DEMO)/%)
	cd $(DEMO) && ../$(PETCT) score $(SYSTEMS) --metrics $(METRICS) --html scores.html > $(@F)

$(DEMO)/scores.txt: $(SYSTEMS:%=$(DEMO)/%)
	cd $(DEMO) && ../$(PETCT) score $(SYSTEMS) --metrics $(METRICS) --format table > $(@F)

$(DEMO)/report.html: $(DEMO)/petct.jsonl $(DEMO)/scores.jsonl $(DEMO)/scores.txt
	$(PETCT) gallery $< --scores $(DEMO)/scores.jsonl -o $@ --title "petct demo" \
	  --note "$(TEST_STUDIES) synthetic patients that no model has seen, scored against the lesions that are really there (lesions.json)." \
	  --note "petct: the built-in model. petct-shuffled-images: the same model shown another patient's images: what is left is what it would write without looking. pet-threshold: one SUV threshold and the nearest site, learned from true lesions, which the model never saw." \
	  --note "Controls: template, the best constant text; other patient, somebody else's reference; frequent site, always the commonest; chance, guessing by frequency; self, the reference itself." \
	  > /dev/null

demo-clean:
	rm -rf $(DEMO)

clean: demo-clean
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
