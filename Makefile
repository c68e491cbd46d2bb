# Works on a machine with Python 3.11 and nothing else: .venv is made on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
DEMO_STEPS := 6
# Compiled modules are kept: without, every process compiles rb2v and its tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-gpu-interpreted gpu-check lint format bench docs clean

# Installed anew when the project's dependencies change.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# One shell for all steps: it counts them, and measures how long they take together. --out comes first, to be named.
# Comparisons and training have one process each, and so run side by side.
demo: $(VENV)/.installed
	@set -e; trap wait EXIT; start=$$(date +%s); n=0; \
	step() { n=$$((n + 1)); echo "[$$n/$(DEMO_STEPS)] $$1 to $$3, $$(($(DEMO_STEPS) - n)) more to go"; \
		$(BIN)/rb2v "$$@"; }; \
	compare() { name=$$1; shift; $(BIN)/rb2v align --out $(DEMO)/compared/$$name --paper --take street_test "$$@" \
		--raw-dir $(DEMO)/raw --calibration $(DEMO)/calibration.json; }; \
	step simulate --out $(DEMO)/raw; \
	step calibrate --out $(DEMO)/calibration.json --raw-dir $(DEMO)/raw; \
	step align --out $(DEMO)/aligned --raw-dir $(DEMO)/raw --calibration $(DEMO)/calibration.json; \
	echo "beside steps 4 and 5: align to $(DEMO)/compared as in the paper, and with one thing changed after another"; \
	(set -e; compare paper; compare linear-light --response srgb; \
		compare robust-colors --response srgb --color-fit robust) > $(DEMO)/compared.txt 2>&1 & comparing=$$!; \
	step build-shards --out $(DEMO)/shards --aligned $(DEMO)/aligned; \
	step train-hypercut --out $(DEMO)/hypercut --shards $(DEMO)/shards; \
	wait $$comparing || { cat $(DEMO)/compared.txt; exit 1; }; \
	step benchmark --out $(DEMO)/report --shards $(DEMO)/shards --run $(DEMO)/hypercut --aligned $(DEMO)/aligned \
		--calibration $(DEMO)/calibration.json --raw-dir $(DEMO)/raw --truth $(DEMO)/truth \
		--compare paper=$(DEMO)/compared/paper --compare linear-light=$(DEMO)/compared/linear-light \
		--compare robust-colors=$(DEMO)/compared/robust-colors; \
	seconds=$$(($$(date +%s) - start)); \
	echo "The demo took $$((seconds / 60)) min $$((seconds % 60)) s; its report: $(DEMO)/report/report.html"

# As many processes as cores, up to eight; one that is done takes tests from another. No threads beside these, and the
# same draws of hypothesis in every run.
test: lint
	OMP_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1 $(BIN)/pytest -q --hypothesis-profile ci \
		--numprocesses logical --maxprocesses 8 --dist worksteal

# The kernels for CUDA in Triton's interpreter, which needs no GPU; installs Triton (290 MB) beside the rest.
test-gpu-interpreted: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[gpu-test]'
	OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/interpolation/test_cdfi_triton.py

# For a machine with a GPU, and whatever python has PyTorch for it: make gpu-check PYTHON=python3 ARGUMENTS=--dry-run
gpu-check:
	$(PYTHON) -c 'import rb2v' 2>/dev/null || $(PYTHON) -m pip install --quiet --editable '.[dev]'
	$(PYTHON) tests/benchmarks/gpu_check.py --out gpu_check $(ARGUMENTS)

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_constants.py rb2v
	$(BIN)/python .ci/check_words.py

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed
	for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

# The tools of the site come with the first build; a build itself needs no network.
$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

clean:
	rm -rf $(DEMO) gpu_check site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
