# Everything happens in .venv; nothing else needs to be prepared but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := demo

.PHONY: demo test check slow bench docs clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py $(DEMO)

test: check
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/ruff format --check -q src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)
	$(BIN)/python docs/generate.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[video,dask,study,roi,serve,seg,pacs,test,bench]"
	touch $(STAMP)

clean:
	rm -rf .venv $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
