# Everything a fresh machine needs beyond Python (>= 3.11) and make is installed by `make install`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test lint bench notebooks tables clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

# The main job: train, compare, report, export; about 3 minutes of work on 2 cores.
demo: install
	$(BIN)/interlock bin_packing run cut2

test: install
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Side-by-side timings, one after the other, with nothing else running if they shall mean much.
bench: install
	set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

# Executes every notebook from beginning to end; the executed copies are in build/notebooks.
notebooks: install
	mkdir -p build/notebooks
	set -e; for file in notebooks/*.py; do \
	    $(BIN)/jupytext --quiet --to ipynb --execute --output build/notebooks/$$(basename $$file .py).ipynb $$file; done

# Writes the tables of the README files anew from the recorded results.
tables: install
	$(BIN)/python -m interlock.scenarios.tables

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find core domains solvers operations scenarios configs tests benchmarks notebooks src -name __pycache__ -type d -prune -exec rm -rf {} +
