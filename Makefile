# Two commands: `make ask PROMPT="…"` and `make test`. Neither needs a key, docker or root.
PYTHON ?= python3
PROMPT ?= Write a Python function that reverses a string.
# A prompt is text: make must neither expand the `$` in it nor let the shell read it.
override PROMPT := $(value PROMPT)
export PROMPT
# What is unofficial is named, with author, size and hash, before it is pulled. PULL=--official-only refuses it.
PULL ?= --yes
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help ask install test check format docs bench clean

help:
	@echo 'make ask PROMPT="…"   install, pull the local models, route, answer, show the bill'
	@echo 'make test             install what tests need and run all of them'
	@echo 'make check            format, lint and types only'

ask: $(VENV)/.installed
	@$(BIN)/pointsman models pull $(PULL)
	@$(BIN)/pointsman ask "$$PROMPT" </dev/null

install: $(VENV)/.installed

test: $(VENV)/.tested-with check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

check: $(VENV)/.tested-with
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.tested-with
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/overhead.py --at-most 10
	$(BIN)/python benchmarks/ledger.py

docs: $(VENV)/.tested-with
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'pointsman needs Python 3.11 or newer; `make ask PYTHON=python3.12` names one.'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing pointsman into $(VENV) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(VENV)/.tested-with: pyproject.toml $(VENV)/.installed
	@echo 'Installing what the tests need …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,test]'
	@tests/install-chromium
	@touch $@
