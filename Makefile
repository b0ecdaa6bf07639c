# Each target sets up all it needs from a bare clone: a virtual environment in .venv, and for the slow ends more in .venvs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
EXAMPLES ?= 20000
QUICK := tests/core tests/formats/test_forms.py tests/catalog/test_getters.py tests/fetch/test_protocol.py \
	tests/fetch/test_origins.py tests/views/test_links.py tests/operations/test_reads.py

.PHONY: help demo quick test test-all test-slow test-images faults fuzz mutants lint format manifests benchmark tools clean

help:
	@echo "make demo        the main job against a stand-in for Figshare, in a minute"
	@echo "make quick       the tests of the pure packages and of a real prefetch, in under a minute once installed"
	@echo "make test        the tests, in a few minutes, on all cores"
	@echo "make test-all    the tests and the slow ends: the package index, the real antspynet, other people's OCI tools"
	@echo "make test-images images of the real antspynet, built and run by Docker and Singularity, in half an hour"
	@echo "make faults      commands killed at every call that changes the disk, and the power cut behind each, in some minutes"
	@echo "make fuzz        every command with EXAMPLES (20000) of arguments, settings and files that nobody would write"
	@echo "make mutants     300 changes of the code, drawn by lot: do the tests see them? in two hours"
	@echo "make lint        ruff, mypy, import-linter"
	@echo "make benchmark   antscache beside the tools people would use instead"
	@echo "make manifests   the shipped manifests, anew from the package index"

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/demo.sh

quick: $(INSTALLED)
	$(BIN)/pytest -q -n auto $(QUICK) $(PYTEST)

test: $(INSTALLED)
	$(BIN)/pytest -n auto $(PYTEST)

test-slow: $(INSTALLED) tools
	$(BIN)/pytest -m "slow and not images" -n auto --dist loadgroup $(PYTEST)

test-all: $(INSTALLED) tools
	$(BIN)/pytest -m "not images" -n auto --dist loadgroup $(PYTEST)

test-images: $(INSTALLED) tools
	tools/with_engines.sh $(BIN)/pytest -m images --durations 20 $(PYTEST)

faults: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m faults $(FAULTS)

fuzz: $(INSTALLED)
	ANTSCACHE_TESTS_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -n auto --timeout 0 tests/cli/test_fuzz.py $(PYTEST)

# Cosmic Ray has an environment of its own: the tests do not need it.
mutants:
	[ -x .venvs/mutants/bin/cosmic-ray ] || { $(PYTHON) -m venv .venvs/mutants \
		&& .venvs/mutants/bin/python -m pip install --quiet --disable-pip-version-check 'cosmic-ray>=8.4'; }
	.venvs/mutants/bin/python tools/mutants.py $(MUTANTS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

manifests: $(INSTALLED)
	$(BIN)/python tools/generate_manifests.py

benchmark: $(INSTALLED)
	PYTHON="$(PYTHON)" tools/install_benchmarked.sh
	$(BIN)/python -m benchmarks $(BENCHMARK)

# Other people's OCI tools; where they cannot be installed, the tests that need them are skipped and say so.
tools:
	@tools/install_engines.sh

clean:
	rm -rf .venv .venvs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
