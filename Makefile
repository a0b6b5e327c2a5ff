# `make run` and `make test` need Python 3.11 or newer and nothing else: they set up .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-slow check fix bench bench-gpu docs clean

help:  ## what each verb does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# the package alone, for `make run`
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("textmill needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

# the package with what its tests and checks need
.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

run: .venv/installed  ## set up, then text -> tokenizer -> model -> report, in about five minutes (ARGS="--set corpus=my.txt")
	$(BIN)/textmill run $(ARGS)

test: .venv/installed-dev  ## set up, then every test that takes seconds
	$(BIN)/python -m pytest $(ARGS)

test-slow: .venv/installed-dev  ## the tests that take minutes: kill -9, big files, real vocabularies
	$(BIN)/python -m pytest -m slow $(ARGS)

check: .venv/installed-dev  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/installed-dev  ## mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-dev  ## ours beside the peer, in one run: make bench NAME=encode (no NAME: the list)
	$(BIN)/python -m benchmarks $(NAME) $(ARGS)

bench-gpu: .venv/installed-dev  ## training steps on a CUDA device: tokens a second against transformers, utilisation
	$(BIN)/python -m benchmarks gpu_step $(ARGS)

docs: .venv/installed-dev  ## write the generated parts of docs/ again (command-line help, benchmark table)
	$(BIN)/python -m docs.build

clean:  ## remove .venv and caches; never a run
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
