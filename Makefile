PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo quick test soak lint bench wheel clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v < (3, 14) or sys.exit(f"curate needs Python 3.10 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## the whole job once, on a generated pool served by a local web server (demo/)
	$(BIN)/python -m curate.demo demo

quick: $(VENV)/.installed  ## the tests that need no process, server, model or compiler: two minutes
	$(BIN)/python -m pytest -m quick -n 2 --dist loadfile tests

test: $(VENV)/.installed  ## the tests, a quarter of an hour
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile tests curate

soak: $(VENV)/.installed  ## kills, outages and crowds that take a minute each: before a release
	$(BIN)/python -m pytest -m soak -n 2 --dist load tests

lint: $(VENV)/.installed  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.installed  ## every benchmark, one after the other, as one table (about an hour)
	$(BIN)/python benchmarks/table.py

wheel:  ## the wheel, installed in an environment of its own and tried there
	rm -rf build dist
	$(PYTHON) -m venv build/venv
	build/venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps -w dist .
	build/venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build && venv/bin/curate --version && venv/bin/curate list > list.txt && grep -q score.words list.txt

clean:  ## the virtual environment and what the demo made
	rm -rf $(VENV) demo build dist
