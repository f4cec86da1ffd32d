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
.PHONY: help demo study-small test lint types imports pytest docs bench clean

help:
	@echo 'make demo    a drawn Philips and a drawn GE report: image, answer, and where the model looked'
	@echo 'make study-small  the study in small, on simulated patients: about ten minutes'
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

$(VENV)/.train: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[train]'
	@touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.core $(VENV)/.train

# The picture of where the model looked needs torch, which takes a minute or two to install once; the
# answer alone would do with the extra "onnx".
demo: $(VENV)/.train
	@mkdir -p demo
	$(RUN) sample --format philips -o demo/philips.pdf --force
	$(RUN) sample --format ge -o demo/ge.pdf --force
	$(RUN) convert demo/philips.pdf --format philips -o demo/out --force
	$(BIN)/python docs/before_after.py demo/philips.pdf demo/out/philips.png demo/before-after.png
	$(RUN) predict demo/philips.pdf demo/ge.pdf -o demo/answers --force
	$(RUN) explain ptbxl-compact demo/philips.pdf -o demo/explained
	$(RUN) explain ptbxl-compact demo/ge.pdf -o demo/explained
	@echo
	@echo 'The reports:       demo/philips.pdf demo/ge.pdf (drawn from a synthetic ECG)'
	@echo 'The 12-lead image: demo/out/philips.png (what is known of it: demo/out/philips.json)'
	@echo 'Before and after:  demo/before-after.png'
	@echo 'The answers:       demo/answers/predictions.csv, predictions.json'
	@echo 'Where it looked:   demo/explained/philips.mi.png, ge.mi.png and so on'

# Everything the study does, on patients that are made up: what comes of it says nothing of medicine.
STUDY := runs/study-small
study-small: $(VENV)/.train
	@rm -rf $(STUDY)
	$(RUN) dataset simulate -o $(STUDY)/cohort --patients 400 --seed 1
	$(RUN) dataset render $(STUDY)/cohort -o $(STUDY)/data --style published-windows --image-px 192 192; \
		test $$? -le 1  # 1: a page was refused, and is named
	$(RUN) dataset split $(STUDY)/data --by study
	$(RUN) dataset stats $(STUDY)/data --tasks zoo/recipes/multi.toml -o $(STUDY)/table-1.html
	$(RUN) train study-small --data $(STUDY)/data -o $(STUDY)/multi
	$(RUN) train xgboost --data $(STUDY)/data -o $(STUDY)/xgboost
	$(RUN) train majority --data $(STUDY)/data -o $(STUDY)/majority
	$(RUN) evaluate $(STUDY)/multi $(STUDY)/xgboost $(STUDY)/majority --data $(STUDY)/data \
		--prevalence 0.08 --cut lvef=40 -o $(STUDY)/report
	$(RUN) explain $(STUDY)/multi --data $(STUDY)/data --row 0 --row 1 -o $(STUDY)/explained
	@echo
	@echo 'Table 1:     $(STUDY)/table-1.html'
	@echo 'The report:  $(STUDY)/report/index.html'
	@echo 'Heat maps:   $(STUDY)/explained'

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
