# The engine behind these targets is Snakemake (see Snakefile); make only prepares the environment and names the goals.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PROFILE ?= quick# smoke, quick, cpu, long or paper: how long experiments train
EXPERIMENT ?= mnist# what `make reproduce` trains
SCHEDULER ?= local# local or slurm: where jobs run, see profiles/
PARAMETERS ?=# a file of notebooks' parameters for the whole book, see its page Rerun
PORT ?= 8000# of `make serve`
PYTHON ?= python3 python3.13 python3.12 python3.11# the first one that will do makes the environment

BIN := .venv/bin
READY := .venv/.ready
BOOK := build/book/_build/html
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Where it is set, each of a hundred processes would compile torch anew, which takes it 3 to 5 seconds.
unexport PYTHONDONTWRITEBYTECODE
# A run that was killed holds nobody up (see bitslice/book/engine.py).
SNAKEMAKE = python -m bitslice.book.engine --profile profiles/$(SCHEDULER) --config profile=$(PROFILE) experiment=$(EXPERIMENT) \
  $(if $(FULL),full=1) $(if $(PARAMETERS),parameters=$(PARAMETERS)) --

.PHONY: help book pdf test slow figures reproduce crossbar verify zoo archive serve bench lock format clean

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

book: $(READY) ## Train the live experiment, execute every notebook, build the book
	@$(SNAKEMAKE) book
	@echo "The book is at $(BOOK)/index.html"

pdf: book ## Print the book into build/bitslice.pdf, where Chromium is
	@python -m bitslice.book.pdf

test: $(READY) ## Run every check: style, types, imports, tests, coverage
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports
	@OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

slow: $(READY) ## Tests that take long: kills at a hundred random moments, 10,000 damaged inputs of each kind
	@python -m pytest --no-cov -m slow
	@python -m pytest --no-cov --hypothesis-profile=slow tests/test_fuzz.py

figures: $(READY) ## Regenerate all figures
	@$(SNAKEMAKE) figures
	@echo "The figures are in figures/"

reproduce: $(READY) ## Train every run of EXPERIMENT; at the paper's size with PROFILE=paper
	@$(SNAKEMAKE) reproduce $(if $(filter mnist,$(EXPERIMENT)),book)
	@echo "The runs are in build/runs/$(EXPERIMENT)/$(PROFILE)/"

crossbar: $(READY) ## Simulate every released network on crossbars; reports in build/simulations
	@$(SNAKEMAKE) crossbar
	@echo "The reports are in build/simulations/"

verify: $(READY) ## Compute every number anew and print one table; all simulations with FULL=1; writes book/verify.json
	@$(SNAKEMAKE) verify
	@bitslice verify $(if $(FULL),--full)

zoo: $(READY) ## Map other people's networks again, a trained transformer among them; writes book/zoo.json, book/minilm.json
	@bitslice zoo
	@python -m bitslice.lab.minilm

archive: book ## Put book, figures, records and lock into one file, with a description and checksums
	@bitslice archive

serve: book ## Show the book on loopback
	@python -m http.server $(PORT) --bind 127.0.0.1 --directory $(BOOK)

bench: $(READY) ## Run the benchmarks; writes build/bench.json
	@python -m benchmarks.train_step
	@python -m benchmarks.crossbar

lock: $(READY) ## Renew requirements.lock from pyproject.toml
	@uv pip compile pyproject.toml --extra book --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file requirements.lock

format: $(READY) ## Format the code
	@ruff check --fix --quiet . && ruff format --quiet .

clean: ## Remove everything generated but the environment and the data
	@rm -rf build figures .snakemake

# Scripts in an environment name its folder, and a failure in the middle leaves one without pip: then it is made anew.
ifneq ($(shell [ -x $(BIN)/python ] && [ -x $(BIN)/pip ] && grep -sqF " $(CURDIR)/.venv" .venv/pyvenv.cfg && echo fit),fit)
.PHONY: .venv/pyvenv.cfg
endif
.venv/pyvenv.cfg:
	@rm -rf .venv
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	  "$$python" -m venv .venv && exit 0; rm -rf .venv; done; \
	  echo "bitslice needs Python 3.11 or newer with its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1

# uv installs the lock file much faster than pip; its own pin and hashes stand in the same file.
# The kernels in C are compiled with the package.
$(READY): .venv/pyvenv.cfg requirements.lock pyproject.toml $(wildcard bitslice/native/*.[ch])
	@echo "Installing the environment into .venv (once)"
	@sed -n '/^uv==/,/^[^ ]*==/{/^uv==/p;/^ /p}' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
