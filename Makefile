# `make demo` and `make test` need Python 3.11 to 3.13 and a package index.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check \
  --progress-bar off --quiet
PYTEST_FLAGS ?=
# Processes that share the tests; a file of them stays together.
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -q -rs -n $(WORKERS) --dist loadfile
# On Linux the index of torch's CPU builds saves gigabytes of CUDA.
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all parity notebooks lint format weights docs wheel \
  lock clean

help:
	@echo 'make demo      a talking head from assets/: outputs/demo.mp4'
	@echo 'make test      the tests (minutes)'
	@echo 'make test-all  also the slow ones and parity'
	@echo 'make parity    installs torch and compares with PyTorch modules'
	@echo 'make notebooks runs those of colab/ from top to bottom'
	@echo 'make lint      ruff: rules and format; make format repairs'
	@echo 'make docs      the site of docs/, strictly: site/index.html'
	@echo 'make wheel     wheel and sdist: dist/'
	@echo 'make weights   trains the bundled model on, from where it is'
	@echo 'make lock      resolves requirements*.lock again'
	@echo 'make clean     removes the environment and outputs'

# The first interpreter that runs and is of a supported version. Version
# managers leave names on the path that do not run, so each one is tried.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	      2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'No Python 3.11, 3.12 or 3.13 found; name one with' \
	    'make PYTHON=/path/to/python3.' >&2; exit 2; \
	fi; \
	echo "Making $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'Python has no venv module: on Debian and Ubuntu install' \
	    'python3-venv.' >&2; exit 2; }

# A stamp is written when an installation is whole, so a broken one is redone.
$(VENV)/core.stamp: requirements.lock setup.py pyproject.toml | $(BIN)/python
	@echo 'Installing requirements.lock'
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/core.stamp
	@echo 'Installing requirements-dev.lock'
	@$(PIP) -r requirements-dev.lock
	@touch $@

demo: $(VENV)/core.stamp
	$(BIN)/mdcf generate --image assets/portrait.png \
	  --audio assets/speech.wav --output outputs/demo.mp4

test: $(VENV)/dev.stamp
	$(PYTEST) -m 'not slow and not parity and not gpu' \
	  $(PYTEST_FLAGS)

test-all: $(VENV)/dev.stamp
	$(PYTEST) -m 'not gpu' $(PYTEST_FLAGS)

$(VENV)/parity.stamp: $(VENV)/dev.stamp
	@echo 'Installing torch and transformers'
	@{ $(PIP) --constraint requirements.lock \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[parity]' && \
	  $(BIN)/python -c 'import torch, transformers'; } || { \
	  echo 'torch or transformers is not to be had: parity is not checked.' \
	    'TORCH_INDEX=URL names an index of torch.' >&2; exit 2; }
	@touch $@

parity: $(VENV)/parity.stamp
	$(PYTEST) -m parity $(PYTEST_FLAGS)

notebooks: $(VENV)/dev.stamp
	$(PYTEST) tests/colab $(PYTEST_FLAGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

weights: $(VENV)/dev.stamp
	$(BIN)/python scripts/train_bundled.py --replace

$(VENV)/docs.stamp: setup.py $(VENV)/dev.stamp
	@echo 'Installing what makes the site'
	@$(PIP) --constraint requirements-dev.lock -e '.[docs]'
	@touch $@

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheel: $(BIN)/python
	@$(PIP) build
	$(BIN)/python -m build --quiet

# Versions that are in the files stay unless setup.py forbids them.
lock: $(VENV)/dev.stamp
	@$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --no-annotate --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock' setup.py \
	  --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --no-annotate --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock' --constraints requirements.lock \
	  --extra faces --extra dev setup.py --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) outputs build dist site *.egg-info
