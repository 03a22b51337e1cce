# make setup | check | test | demo | bench | proto | qemu-tutorial (as root, slow).  Everything goes into .venv; nothing outside the tree is touched.
PYTHON ?= python3
VENV ?= .venv
SETUP ?= $(VENV)/.ready
BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest

.PHONY: setup check lint test unit demo bench proto qemu-tutorial clean

setup: $(SETUP)

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lint: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(SETUP)
	$(PYTEST) -q -n auto -m "not netns and not slow and not alone"

check: lint unit

test: lint
	$(PYTEST) -q -n auto -m "not netns and not alone"
	$(PYTEST) -q -m "netns or alone"

demo: $(SETUP)
	$(BIN)/python -m cli demo

bench: $(SETUP)
	$(BIN)/python -m benchmarks

proto: $(SETUP)
	$(BIN)/python proto/generate.py

# Debian's kernel and systemd in two emulated machines: docs/qemu-tutorial.md.
qemu-tutorial: $(SETUP)
	$(BIN)/python -m tests.qemu

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
