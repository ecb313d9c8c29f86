# make demo    set up .venv if needed, run the main job, end with the path of report.html
# make test    set up what is missing, run every test (the slow ones fetch weights once into the cache)
# make coverage   the same, with the lines that no test runs; it takes about a quarter longer
# make check   lint, types and the fast tests
# make lint    lint and types alone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-fast coverage check lint format clean

# Tests run in two processes of one thread each: their models are tiny, and threads would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

demo: $(VENV)/.runtime
	$(BIN)/steadfast demo --out runs/demo

test: $(VENV)/.dev
	$(PYTEST)

test-fast: $(VENV)/.dev
	$(PYTEST) -m "not slow"

coverage: $(VENV)/.dev
	$(PYTEST) --cov=steadfast --cov-report=term-missing:skip-covered

check: lint test-fast

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Steadfast needs Python 3.11 or newer; call make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone: asked for together with the others, pip might take a build with CUDA.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .coverage
