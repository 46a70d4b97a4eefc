# `make` alone lists the commands. Everything runs in .venv, which is made once and again only when what it is made
# from changes: requirements/, npm's lockfile and the three pyproject.toml. Another Python:
# make PYTHON=python3.12 VENV=.venv312 book
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
JOBS ?= 2
PORT ?= 8000
PRESET ?= cpu
SMOKE_TESTS := tests/attnlib/test_partition.py tests/attnlib/test_sparsity.py tests/proofbook/derive/test_shown.py \
	tests/proofbook/ledger/test_evidence.py tests/test_packaging.py tests/experiments/test_carry_over.py

# Two threads a process on busy cores can be many times slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

# .venv is installed without bytecode: let the first run write what it needs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup book test test-lint test-code test-notebooks test-site test-web smoke coverage execute serve lab record gpu \
	pdf offline student \
	experiment bench dist hooks lock lowest newest clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with every pinned requirement

book: $(READY) ## execute every notebook that is out of date, check the book, build it to _build/html
	@$(PY) -m proofbook book

test: test-lint test-code test-notebooks test-site test-web ## format, types, layers, unit tests, doctests, notebooks against their outputs, strict site build, the site in a browser

test-lint: $(READY) ## format, lints, types and layers alone, in seconds
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

test-code: $(READY)
	$(PY) -m pytest -q -n $(JOBS) --doctest-modules attnlib proofbook experiments tests --ignore tests/web

# Stored outputs come from a run with hash seed 0: another seed here shows that none depends on set order.
test-notebooks: $(READY)
	PYTHONHASHSEED=1 $(PY) -m pytest -q --nbval book -n $(JOBS) --dist loadfile -p no:cacheprovider

test-site: $(READY)
	$(PY) -m proofbook check --jobs $(JOBS)
	$(PY) -m proofbook lint
	$(PY) -m proofbook build --stored --strict

test-web: $(READY) ## the site that test-site built, in the system's Chromium; skipped where there is none
	$(PY) -m pytest -q -n $(JOBS) --dist worksteal --confcutdir tests/web -p no:cacheprovider -rs tests/web

# What tells soonest whether another Python will do: exact numerics, proofs, and a chapter against its stored outputs.
smoke: $(READY) ## two minutes of the tests, for another Python: make PYTHON=python3.14 VENV=.venv314 smoke
	$(PY) -m pytest -q -n $(JOBS) -p no:cacheprovider $(SMOKE_TESTS)
	PYTHONHASHSEED=1 $(PY) -m pytest -q -p no:cacheprovider --nbval book/8829-entropy-normalization.ipynb

coverage: $(READY) ## branch coverage of attnlib, proofbook.ledger and proofbook.publish; fails below 95 %
	$(PY) -m pytest -q -n $(JOBS) --doctest-modules --cov attnlib proofbook tests --ignore tests/web

execute: $(READY) ## run every notebook and store its outputs in book/
	@$(PY) -m proofbook execute --in-place

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

pdf: book ## print the book into _build/editions, with the system's Chromium (Debian's package chromium)
offline: book ## pack the site into _build/editions, to unpack and open without a server
student: book ## the book without its solutions, and a rubric of all exercises, into _build/editions
pdf offline student:
	@$(PY) -m proofbook edition $@

# Without isolation the pinned setuptools builds; the wheel is built from the unpacked sdist, so neither is stale.
dist: $(READY) ## build and check what can be published, attnlib and proofbook, into _build/dist
	$(PY) -m build --no-isolation --outdir _build/dist .
	$(PY) -m build --no-isolation --outdir _build/dist proofbook
	$(PY) -m twine check --strict _build/dist/*

hooks: $(READY) ## for this clone: lint before each commit, diffs of notebooks by cell, blame past the formatting
	$(PY) -m pre_commit install
	git config diff.jupyternotebook.command "$(abspath $(VENV))/bin/git-nbdiffdriver diff"
	git config merge.jupyternotebook.driver "$(abspath $(VENV))/bin/git-nbmergedriver merge %O %A %B %L %P"
	git config merge.jupyternotebook.name "merge notebooks by cell"
	git config blame.ignoreRevsFile .git-blame-ignore-revs

# The pins that are there stay where they can; `make lock UPGRADE=--upgrade` takes the newest of everything.
lock: export UV_CUSTOM_COMPILE_COMMAND := make lock
lock: $(VENV)/bin/uv ## write requirements/ anew, after a change of what a pyproject.toml asks for (needs a network)
	$(COMPILE) --group bootstrap --output-file requirements/bootstrap.txt
	$(COMPILE) --constraint requirements/torch.txt --constraint requirements/limits.txt \
		--excludes requirements/not-locked.txt --no-emit-package torch \
		--no-emit-package attnlib --no-emit-package proofbook --group dev --extra publish \
		--output-file requirements/lock.txt pyproject.toml proofbook/pyproject.toml experiments/pyproject.toml
	$(PY) -m proofbook.publish.npm --lock

COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--only-binary :all: --generate-hashes --no-annotate $(UPGRADE)

# The bounds in the pyproject.toml, tried: an environment of its own, the lowest versions (or the newest) that they admit.
# An old release that warns of another's newer one is right all the same; of the newest a warning is the news.
# What the projects came to is held while the tests' tools are installed. Python 3.11's venv brings a setuptools that is
# older than those tools ask for: replaced with them, it took a newer PyTorch along.
lowest: RESOLUTION := lowest-direct
lowest: WARNINGS := -o filterwarnings=default
lowest: ## unit tests on the lowest versions that the projects admit (needs a network)
newest: RESOLUTION := highest
newest: ## unit tests on the newest versions that there are (needs a network)
lowest newest:
	$(PYTHON) -m venv --clear _build/$@
	_build/$@/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	_build/$@/bin/uv pip install --quiet --python _build/$@/bin/python --only-binary :all: --resolution $(RESOLUTION) \
		--upgrade-package setuptools --editable . --editable "proofbook[publish]" --editable experiments
	_build/$@/bin/uv pip freeze --quiet --python _build/$@/bin/python --exclude-editable > _build/$@/projects.txt
	_build/$@/bin/uv pip install --quiet --python _build/$@/bin/python --only-binary :all: --constraint _build/$@/projects.txt \
		--group test --group package
	_build/$@/bin/python -m pytest -q -n $(JOBS) -p no:cacheprovider $(WARNINGS) tests/attnlib tests/proofbook tests/experiments

clean: ## remove what was built; .venv stays
	rm -rf _build build .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache

# Wheels only, so no compiler is ever needed; each is the one the lock names, by its hash. torch comes by pip, which
# also finds a wheel kept on disk, and comes without a hash, because its build differs by machine.
$(READY): $(VENV)/bin/uv requirements/lock.txt requirements/torch.txt proofbook/publish/packages/package-lock.json \
		pyproject.toml proofbook/pyproject.toml experiments/pyproject.toml
	@echo "setting up $(VENV): PyTorch is the largest download"
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --only-binary :all: --no-deps --require-hashes --requirement requirements/lock.txt
	@$(PIP) --requirement requirements/torch.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable . --editable proofbook --editable experiments
	@$(PY) -m proofbook.publish.npm
	@touch $@

# One Python laid over another's environment mixes the two, so another version starts from nothing.
$(VENV)/bin/uv: requirements/bootstrap.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here; name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "error: this book needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % tuple(sys.version_info[:2]))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; install it (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	@test "$$($(PY) -V 2>/dev/null)" = "$$($(PYTHON) -V)" \
		|| $(PYTHON) -m venv $$(test ! -f $(VENV)/pyvenv.cfg || echo --clear) $(VENV)
	@$(PIP) --require-hashes --requirement requirements/bootstrap.txt
	@touch $@

PIP = $(PY) -m pip install -qq --disable-pip-version-check --no-compile --only-binary :all:
