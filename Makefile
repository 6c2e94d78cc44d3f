# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv and installs the lock into it.
# torch's CPU build on Linux: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV ?= $(BIN)/uv
SOURCE := pyproject.toml requirements/cuda.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL_SELF := $(PIP) install --quiet --no-deps --no-build-isolation -e .

.PHONY: demo test thorough letter notebooks notebook-pages docs lint format install lock lowest stress check-lock clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.runtime: requirements/runtime.txt $(SOURCE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "reluopt needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements/runtime.txt
	$(INSTALL_SELF)
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(PIP) install --quiet -r requirements/dev.txt
	$(INSTALL_SELF)
	@touch $@

install: $(VENV)/.runtime  ## make .venv and install reluopt

demo: $(VENV)/.runtime  ## train on breast_cancer, watch the patterns drift, certify (under a minute after installation)
	$(BIN)/reluopt train breast_cancer --out runs/demo --replace
	$(BIN)/reluopt certify runs/demo

test: $(VENV)/.dev  ## the whole test suite
	$(BIN)/python -m pytest -n 2

thorough: $(VENV)/.dev  ## the test suite with every count in full: thousands of damaged files, hundreds of random problems
	RELUOPT_THOROUGH=1 $(BIN)/python -m pytest -n 2

letter: $(VENV)/.dev  ## follow README and tutorial to the letter: every command and script in them, in an empty folder
	$(BIN)/python tests/letter.py

notebooks: $(VENV)/.dev  ## run the notebooks from top to bottom (a cell may take 180 s)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout=180 notebooks

docs:  ## the documentation in site/, made in .venv-docs; a warning is an error
	$(MAKE) VENV=.venv-docs .venv-docs/.docs
	.venv-docs/bin/mkdocs build --strict

notebook-pages:  ## run the notebooks and write them, with what they print and draw, as pages of the documentation
	$(MAKE) VENV=.venv-docs .venv-docs/.docs
	.venv-docs/bin/python -m pip install --quiet -c requirements/all.txt nbconvert ipykernel pandas
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) PATH=$(CURDIR)/.venv-docs/bin:$$PATH .venv-docs/bin/jupyter nbconvert \
	  --to markdown --CoalesceStreamsPreprocessor.enabled=True --execute --ExecutePreprocessor.timeout=600 --output-dir docs/notebooks notebooks/*.ipynb
	sed -i.bak -E 's#(/[^ /]+)+/tmp[^ /]+/##g; s#^!\[png\]#![figure]#' docs/notebooks/*.md && rm docs/notebooks/*.bak

$(VENV)/.docs: requirements/docs.txt $(SOURCE)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements/docs.txt
	@touch $@

lint: $(VENV)/.dev  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev  ## resolve every package anew and write requirements/*.txt (or: make lock UV=uv with any uv)
	UV=$(UV) $(BIN)/python requirements/lock.py make

check-lock: $(VENV)/.dev  ## is what is installed what the lock says, and nothing else?
	$(BIN)/python requirements/lock.py check dev

lowest:  ## the tests, but for the slow ones, on the lower bounds of pyproject.toml, in .venv-lowest (Python 3.11 or 3.12)
	$(MAKE) VENV=.venv-lowest .venv-lowest/.lowest
	.venv-lowest/bin/python -m pytest -n 2 -m "not slow"

$(VENV)/.lowest: requirements/lowest.txt $(SOURCE)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements/lowest.txt
	$(INSTALL_SELF)
	@touch $@

# Other linear algebra kernels, other numbers of threads, another order of the tests: nothing may depend on them.
KERNELS ?= Haswell Sandybridge Prescott
THREADS ?= 1 2
TIMES ?= 1
stress: $(VENV)/.dev  ## the test suite on several processors' kernels (OpenBLAS), with 1 and 2 threads, in random order
	set -e; for round in $$(seq $(TIMES)); do for kernel in "" $(KERNELS); do for threads in $(THREADS); do \
	  echo "round $$round: OPENBLAS_CORETYPE=$$kernel, $$threads thread(s)"; \
	  $${kernel:+env OPENBLAS_CORETYPE=$$kernel} env OMP_NUM_THREADS=$$threads OPENBLAS_NUM_THREADS=$$threads \
	    $(BIN)/python -m pytest -n 2 -p randomly; \
	done; done; done

clean:  ## remove what the other commands made
	rm -rf $(VENV) .venv-lowest .venv-docs site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
