# Everything runs in .venv, which the first target makes. `make help` says what there is.

SHELL := bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := _build/html
READER := $(VENV)/.book
STAMP := $(VENV)/.installed

# One thread each (the matrices are small), no bars in stored outputs; and the kernel of this
# environment, whatever kernels the user has elsewhere. (A backend of matplotlib named here would
# keep figures off the pages.)
unexport MPLBACKEND
export OMP_NUM_THREADS ?= 1
export TQDM_DISABLE := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export JUPYTER_PREFER_ENV_PATH := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport JUPYTER_PATH PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install locked pages book test check quick lint style types unit live browser nbval proofs
.PHONY: processor processors lab notebooks clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "dalearn needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(VENV)/etc/ipython  # a kernel speaks to this machine only, and need not warn of it
	@echo '{"IPKernelApp": {"log_level": 40}}' > $(VENV)/etc/ipython/ipython_kernel_config.json

# A reader needs the book's tools and what compares notebooks; the rest of the tests' is 0.6 GB.
# Of 16 000 modules a quarter is ever imported: Python compiles each when it is.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
INSTALL := $(PIP) -c constraints.txt
$(READER): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[book]" pytest nbval
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[book,test]"
	@touch $(READER) $@

# What CI installs: files whose hashes are in requirements.lock, and torch, whose build is a choice.
$(VENV)/.locked: requirements.lock pyproject.toml constraints.txt | $(BIN)/python
	@sed '/^# only for the extra bench/,$$d' requirements.lock > $(VENV)/lock.txt
	$(PIP) --require-hashes --no-deps -r $(VENV)/lock.txt
	$(INSTALL) torch
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $(READER) $(STAMP) $@
install: $(STAMP)  ## make .venv and install the package, the book's tools and the tests'

locked: $(VENV)/.locked  ## the same, from files whose hashes are known (requirements.lock)

pages: $(READER)  ## run each page that changed, once, and compare its `check` cells
	@$(BIN)/python book/execute_pages.py --compare

book: pages  ## build the site into _build/html
	$(BIN)/jupyter-book build book --config _config.yml --path-output . -W -n --keep-going -q
	@echo "The book is at file://$(CURDIR)/$(SITE)/index.html"

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Each part of `make test` leaves what it printed in $(LOGS), so that the end can repeat how it went.
LOGS := _build/logs
TEE = 2>&1 | tee $(LOGS)/$@.log
$(LOGS):
	@mkdir -p $@

types: $(STAMP) | $(LOGS)
	$(BIN)/pyright $(TEE)

lint: style types  ## style and types

UNIT = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
unit: $(STAMP) | $(LOGS)  ## every test that needs neither the site nor a browser
	nice -n 5 $(UNIT) -m "not browser and not site" $(TEE)

# The files are named: importing all others to find no test in them takes a quarter of a minute.
SITES := tests/browser tests/test_book.py tests/test_execution.py tests/test_site_pages.py
browser: book | $(LOGS)  ## the built site, in a real Chromium
	$(BIN)/python -m pytest -m "browser or site" $(SITES) $(TEE)

# nbval with its own kernel, on pages that take seconds; `make nbval` runs them all so.
LIVE := book/how-to-use.ipynb book/learning/coming-from-torchda.ipynb
live: $(STAMP) | $(LOGS)
	DALEARN_STATIC=0 $(BIN)/python -m pytest --nbval --nbval-current-env -W default $(LIVE) $(TEE)

nbval: $(STAMP)  ## run every notebook live and compare its `check` cells
	DALEARN_STATIC=0 $(BIN)/python -m pytest --nbval --nbval-current-env -W default \
	  -n 2 --dist loadfile book

proofs: $(STAMP)  ## the slow tests at the lengths of the papers, all of them: ten minutes
	DALEARN_PROOFS=1 $(UNIT) -m proof

# The pages come first, two at a time: what waits for them is the longest path. Then the site and its
# tests have a core, and the other tests what is left (`nice`). At the end, how each part went.
test: style pages | $(LOGS)  ## everything that CI runs
	@rm -f $(LOGS)/*.log
	@$(MAKE) --no-print-directory -j2 -k -o pages --output-sync=target browser unit live types; status=$$?; \
	for log in $(LOGS)/*.log; do echo "$$(basename $$log .log): $$(tail -n 1 $$log)"; done; exit $$status

check: style  ## style, types and quick tests: three and a half minutes on two cores
	@$(MAKE) --no-print-directory -j2 -k --output-sync=target types quick
quick: $(STAMP)
	$(UNIT) -m "not slow and not proof and not browser and not site"

# Arithmetic as on a processor of 2004: no AVX, no FMA, in OpenBLAS, NumPy, torch and MKL alike.
AGED := OPENBLAS_CORETYPE=Prescott NPY_DISABLE_CPU_FEATURES=X86_V3 ATEN_CPU_CAPABILITY=default \
  MKL_CBWR=COMPATIBLE

processor: $(STAMP)  ## a few oracles and one page in the arithmetic of another processor: seconds
	$(AGED) $(BIN)/python -m pytest -q tests/test_oracles.py -m "not slow"
	$(AGED) DALEARN_STATIC=0 $(BIN)/python -m pytest -q --nbval --nbval-current-env -W default \
	  book/variational/coming-from-adao.ipynb

processors: $(STAMP)  ## quick tests and every `check` cell under two others: most of an hour
	$(AGED) $(UNIT) -m "not slow and not browser and not site"
	$(AGED) $(MAKE) nbval
	OPENBLAS_CORETYPE=Sandybridge OMP_NUM_THREADS=2 $(MAKE) nbval

lab: $(READER)  ## JupyterLab on the chapters
	@$(BIN)/jupytext-config \
	  --settings-file $(VENV)/etc/jupyter/labconfig/default_setting_overrides.json \
	  set-default-viewer markdown myst
	env -u TQDM_DISABLE -u OMP_NUM_THREADS $(BIN)/jupyter lab \
	  $(if $(filter 0,$(shell id -u)),--allow-root) --ServerApp.root_dir=book \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None

notebooks: $(READER)  ## write the notebook beside each page that changed
	$(BIN)/python book/make_notebooks.py

clean:  ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
