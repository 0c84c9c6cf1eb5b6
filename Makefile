# Everything runs in .venv, which the first target makes. Needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SET_UP := .venv/.set-up
SET_UP_DEV := .venv/.set-up-dev

# A process for each core, at most four; a file's tests stay together, for they share what they train.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile

# Small enough for two cores in a few minutes; the images are phantoms.
DEMO := brain-mri-small --run demo --set data.path=null --set data.kaggle=null \
	--set data.phantom.patients=12 --set data.phantom.size=96 --set 'data.phantom.slices=[20,28]' \
	--set 'preprocess.size=[96,96]' --set train.epochs=20

.PHONY: help setup demo test test-slow check format bench docs page clean

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(SET_UP_DEV) ## Set up .venv with everything that work on Medloom needs

demo: $(SET_UP) ## From nothing to a measured, packaged model, on phantom images
	$(BIN)/medloom run $(DEMO)

test: $(SET_UP_DEV) ## Run the quick tests
	$(PYTEST) -m "not slow"

test-slow: $(SET_UP_DEV) ## Run the tests that take longer
	$(PYTEST) -m slow

check: $(SET_UP_DEV) ## Check format, style, types and the import contract
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(SET_UP_DEV) ## Format the code and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(SET_UP_DEV) ## Measure this machine: one report
	$(BIN)/python benchmarks/run_all.py

docs: $(SET_UP_DEV) ## Write docs/recipe.md and docs/recipe.schema.json
	$(BIN)/python -m medloom.recipe.reference docs

page: ## Build the page that a server shows; needs Node.js
	cd src/medloom/serving/page && npm ci && npm run build

clean: ## Remove the virtual environment
	rm -rf .venv

# torch first, by itself: pip then keeps it and never reaches for another build.
$(SET_UP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(PIP) $$(grep '^torch==' constraints.txt)
	$(PIP) --editable '.[train,serve]'
	touch $@

$(SET_UP_DEV): $(SET_UP)
	$(PIP) --editable '.[train,serve,client,parquet,traces,openvino,kaggle,track,tune,dev]'
	touch $@
