# make demo     the main job: the lost issues of a small pool and of a real project
# make test     the whole suite, with coverage
# make check    all that CI runs
# make nightly  the second tier: what takes long or needs foreign packages
# Each sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LITTLE_LOOPS := little-loops==1.47.0

.PHONY: demo test lint types check nightly bench clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# A venv of its own: the project whose lost issues the demo finds stays out of the suite's.
DEMO := .venv-demo

demo: $(DEMO)/.installed
	$(DEMO)/bin/python examples/demo.py

$(DEMO)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --editable . '$(LITTLE_LOOPS)'
	touch $@

test: $(STAMP)
	$(BIN)/python -m coverage erase
	$(BIN)/python tools/suite.py
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage report --include='pytest_littleloops/reference/*' --fail-under=100 --format=total
	$(BIN)/python -m coverage report --include='pytest_littleloops/harness/*' --fail-under=95 --format=total

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check:
	bash .ci/run

nightly: $(STAMP)
	$(BIN)/python tools/nightly.py

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv* .coverage* .pytest_cache .mypy_cache .ruff_cache
