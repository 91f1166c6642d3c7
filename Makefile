# Everything runs in .venv, made on first use with the tested versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

SEED ?= 1
CASES ?= 1000

.PHONY: train test test-slow truth lint generate generate-check bench clean

train: $(VENV)/.train  ## install, then train the quickstart
	$(BIN)/zerotrain train examples/quickstart.yaml --fresh

test: $(VENV)/.dev  ## the whole suite, without the slow sweeps
	$(BIN)/pytest -m "not slow" -n 2

test-slow: $(VENV)/.dev  ## the slow sweeps
	$(BIN)/pytest -m slow -n 2

truth: $(VENV)/.dev  ## does lint say what DeepSpeed does? `make truth SEED=7 CASES=250`
	$(BIN)/python benchmarks/truth.py --seed $(SEED) --cases $(CASES)

lint: $(VENV)/.dev  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

generate: $(VENV)/.dev  ## ds_configs, rule pages and the schema, from their sources
	$(BIN)/python tools/generate.py

generate-check: $(VENV)/.dev  ## fails when something generated is not up to date
	$(BIN)/python tools/generate.py --check

bench: $(VENV)/.dev  ## ratios against a hand-written loop, printed
	$(BIN)/python benchmarks/step_overhead.py
	$(BIN)/python benchmarks/check_speed.py

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/.python
	$(PIP) --editable ".[train]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.python
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
