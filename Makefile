# Everything runs in .venv, made on first use with the tested versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

SEED ?= 1
CASES ?= 1000
CLUSTER ?= cluster

.PHONY: train test test-slow test-cluster truth parity lint generate generate-check bench clean

train: $(VENV)/.train  ## install, then train the quickstart
	$(BIN)/zerotrain train examples/quickstart.yaml --fresh

test: $(VENV)/.dev  ## the whole suite, without the slow sweeps
	$(BIN)/pytest -m "not slow and not cluster" -n 2 --dist worksteal

test-slow: $(VENV)/.dev  ## the slow sweeps
	$(BIN)/pytest -m "slow and not cluster" -n 2 --dist worksteal

test-cluster: $(VENV)/.dev  ## against the real parts, after `tests/cluster/setup.sh`, as root
	$(BIN)/pytest -m "$(CLUSTER)" -rs tests/cluster

truth: $(VENV)/.dev  ## does lint say what DeepSpeed does? `make truth SEED=7 CASES=250`
	$(BIN)/python benchmarks/truth.py --seed $(SEED) --cases $(CASES)

parity: $(VENV)/.dev  ## do all layouts learn what one plain rank learns? `make parity ONLY=tp`
	$(BIN)/python benchmarks/parity.py $(ONLY)

lint: $(VENV)/.dev  ## style, types, who may import whom, and the Dockerfiles
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile docker/Dockerfile.cpu

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
