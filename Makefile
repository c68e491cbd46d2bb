# Works on a machine with Python 3.11 and nothing else: .venv is made on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
ALIGN_AS_PAPER = $(BIN)/rb2v align --paper --take street_test --raw-dir $(DEMO)/raw --calibration $(DEMO)/calibration.json

.PHONY: demo test lint format bench clean

# Installed anew when the project's dependencies change.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/rb2v simulate --out $(DEMO)/raw
	$(BIN)/rb2v calibrate --raw-dir $(DEMO)/raw --out $(DEMO)/calibration.json
	$(BIN)/rb2v align --raw-dir $(DEMO)/raw --calibration $(DEMO)/calibration.json --out $(DEMO)/aligned
	$(ALIGN_AS_PAPER) --out $(DEMO)/compared/paper
	$(ALIGN_AS_PAPER) --response srgb --out $(DEMO)/compared/linear-light
	$(ALIGN_AS_PAPER) --response srgb --color-fit robust --out $(DEMO)/compared/robust-colors
	$(BIN)/rb2v build-shards --aligned $(DEMO)/aligned --out $(DEMO)/shards
	$(BIN)/rb2v train-hypercut --shards $(DEMO)/shards --out $(DEMO)/hypercut
	$(BIN)/rb2v benchmark --shards $(DEMO)/shards --run $(DEMO)/hypercut --aligned $(DEMO)/aligned \
		--calibration $(DEMO)/calibration.json --raw-dir $(DEMO)/raw --truth $(DEMO)/truth \
		--compare paper=$(DEMO)/compared/paper --compare linear-light=$(DEMO)/compared/linear-light \
		--compare robust-colors=$(DEMO)/compared/robust-colors --out $(DEMO)/report

# As many processes as cores, up to eight; one that is done takes tests from another. No threads beside these, and the
# same draws of hypothesis in every run.
test: lint
	OMP_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1 $(BIN)/pytest -q --hypothesis-profile ci \
		--numprocesses logical --maxprocesses 8 --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_constants.py rb2v

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed
	for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
