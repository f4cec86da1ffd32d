# `make demo` and `make test` need git, make and Python 3.11 or newer; the rest is set up in .venv.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	echo "$$p" && break; done)
BIN := $(VENV)/bin
RUN := $(BIN)/python -m ecgvision
# Idle threads that spin make everything slower on shared cores.
export OMP_WAIT_POLICY ?= passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports pytest docs bench clean

help:
	@echo 'make demo    turn a drawn Philips report into a 12-lead image'
	@echo 'make test    every check and test'
	@echo 'make docs    the documentation, in docs/_build/html'
	@echo 'make bench   time the conversion against the steps of the study'
	@echo 'make clean   remove all that make has made'

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo 'make: no Python 3.11 or newer found. Install it, or name it: make PYTHON=/path/to/python' >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'make: $(PYTHON) lacks the module venv. On Debian and Ubuntu: apt-get install python3-venv' >&2; \
		exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core
	@mkdir -p demo
	$(RUN) sample --format philips -o demo/philips.pdf --force
	$(RUN) convert demo/philips.pdf --format philips -o demo/out --force
	$(BIN)/python docs/before_after.py demo/philips.pdf demo/out/philips.png demo/before-after.png
	@echo
	@echo 'The report:        demo/philips.pdf'
	@echo 'The 12-lead image: demo/out/philips.png (what is known of it: demo/out/philips.json)'
	@echo 'Before and after:  demo/before-after.png'

# In this order, so that the last line is the one of pytest; `make -k test` runs all of them.
test: lint types imports pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

bench: $(VENV)/.core
	$(BIN)/python benchmarks/convert.py

clean:
	rm -rf $(VENV) build dist demo out docs/_build .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find ecgvision plugins tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
