# `make` alone lists the commands. Everything runs in .venv, which is made once and again only when
# constraints.txt or pyproject.toml change. Another Python: make PYTHON=python3.12 book
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
UV := uv==0.13.9
JOBS ?= 2
PORT ?= 8000
PRESET ?= cpu

# Two threads a process on busy cores can be many times slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

# .venv is installed without bytecode: let the first run write what it needs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup book test test-code test-notebooks test-site execute serve lab record gpu experiment bench clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS="$$(printf '\t')" read -r name words; do printf '  make %-10s %s\n' "$$name" "$$words"; done

setup: $(READY) ## make .venv with every pinned requirement

book: $(READY) ## execute every notebook that is out of date, check the book, build it to _build/html
	@$(PY) -m proofbook.publish book

test: test-code test-notebooks test-site ## unit tests, doctests, notebooks against their outputs, lints, strict site build

test-code: $(READY)
	$(PY) -m ruff check attnlib proofbook experiments tests benchmarks book
	$(PY) -m pytest -q -n $(JOBS) --doctest-modules attnlib proofbook experiments tests

# Stored outputs come from a run with hash seed 0: another seed here shows that none depends on set order.
test-notebooks: $(READY)
	PYTHONHASHSEED=1 $(PY) -m pytest -q --nbval book -n $(JOBS) --dist loadfile -p no:cacheprovider

test-site: $(READY)
	$(PY) -m proofbook.publish lint
	$(PY) -m proofbook.publish build --stored --strict

execute: $(READY) ## run every notebook and store its outputs in book/
	@$(PY) -m proofbook.publish execute --in-place

serve: book ## show the built book on a local port (PORT=8000)
	@$(PY) -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

lab: $(READY) ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab book

record: $(READY) ## run the chapters' checks on the CPU and record them
	@$(PY) -m proofbook.ledger record --device cpu

gpu: $(READY) ## run the chapters' checks on CUDA and record them
	@$(PY) -m proofbook.ledger record --device cuda

experiment: $(READY) ## train and test the arms of the length experiment and record them (PRESET=cpu, or gpu)
	@$(PY) -m experiments.length_extrapolation --preset $(PRESET) $(addprefix --device ,$(DEVICE)) --record book/recorded
	@$(PY) -m experiments.known_distances --preset $(PRESET) $(addprefix --device ,$(DEVICE)) --record book/recorded

bench: $(READY) ## measure attnlib against its peers, in one run
	@$(PY) -m benchmarks

clean: ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .hypothesis .ruff_cache

# torch comes by pip, which also finds a wheel kept on disk; uv installs the rest in seconds.
# Wheels only, so no compiler is ever needed.
$(READY): constraints.txt pyproject.toml proofbook/pyproject.toml experiments/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here; name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "error: this book needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % tuple(sys.version_info[:2]))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; install it (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	@echo "setting up $(VENV): torch first, the largest download, then the rest"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -qq --disable-pip-version-check $(UV)
	@$(PY) -m pip install -qq --disable-pip-version-check --no-compile --only-binary :all: --constraint constraints.txt torch setuptools
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --only-binary :all: --no-build-isolation --constraint constraints.txt --editable . --editable "proofbook[publish]" --editable experiments --group dev
	@touch $@
