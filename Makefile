# Each target builds its own .venv first; PYTHON picks the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart quickstart-small install test test-all lint format clean

# The main job: a sweep and its page. Run it again after an interruption: it goes on.
quickstart: install
	$(BIN)/scaling sweep --config=configs/quickstart.py --out=runs/quickstart
	$(BIN)/scaling report runs/quickstart

# Every part of it in three minutes, too small to say anything.
quickstart-small: install
	$(BIN)/scaling sweep --config=configs/quickstart.py:small --out=runs/quickstart-small
	$(BIN)/scaling report runs/quickstart-small

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

test: install
	$(BIN)/python -m pytest tests -n 2 --dist loadgroup

test-all: install
	$(BIN)/python -m pytest tests -n 2 --dist loadgroup -m 'slow or not slow'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
