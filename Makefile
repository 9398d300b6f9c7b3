# Needs python3 with pip, and nothing else; everything is installed into .venv, at the versions in
# constraints.txt. `make` alone lists what there is.

PYTHON ?= python3
# Worker processes for the tests.
WORKERS ?= 2
# The same on a GPU: what takes long is Triton's compiler; each takes half a GiB of the GPU's memory.
GPU_WORKERS ?= 8

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input --constraint constraints.txt
# A notice of the theme about its own future.
export NO_MKDOCS_2_WARNING := 1
CODE := $(wildcard src tests tools benchmarks examples)
ACTIVATIONS := relu,leaky_relu,elu,selu,gelu,silu,mish,hardswish,softplus,softsign,tanh,sigmoid
BENCHED := relu relu6 leaky_relu elu selu celu gelu "gelu(approximate=tanh)" silu mish softplus softsign tanh sigmoid \
	logsigmoid tanhshrink softshrink hardshrink hardsigmoid hardswish

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-gpu check format docs pages bench bench-gpu claims exhaustive clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# The environment. A stamp says what was installed; a second call starts at once.

$(PY):
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(PY)
	@echo "Installing softknee and what it needs into $(VENV) (a few minutes the first time)"
	@$(PIP) --editable '.[compare]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(PY)
	@echo "Installing softknee and the tools of its development into $(VENV) (a few minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp

run: $(VENV)/run.stamp ## compare twelve activations on digits; the report goes to runs/first
	@$(VENV)/bin/softknee compare --data digits --activations "$(ACTIVATIONS)" --seeds 10 --depth 2,12 --lr 0.001,0.003 --out runs/first

test: $(VENV)/dev.stamp ## run the tests
	@$(PY) -m pytest --numprocesses $(WORKERS) -m "not exhaustive"

test-gpu: $(VENV)/dev.stamp ## run the GPU kernels' tests on a GPU, over the whole catalogue; eight minutes
	@TRITON_INTERPRET=0 SOFTKNEE_GPU_MINUTES=7 SOFTKNEE_GPU_REPORT=benchmarks/results/gpu-tests.jsonl \
		$(PY) -m pytest --numprocesses $(GPU_WORKERS) --quiet -m "not exhaustive" -W ignore::DeprecationWarning tests/gpu

check: $(VENV)/dev.stamp ## format, lint, types, generated files, documentation: change nothing
	@$(PY) -m ruff format --quiet --check $(CODE)
	@$(PY) -m ruff check --quiet $(CODE)
	@$(PY) -m mypy --no-error-summary
	@$(PY) tools/generate.py --check
	@$(PY) -m mkdocs build --quiet --strict

format: $(VENV)/dev.stamp ## format the code, repair what can be repaired, write the generated files
	@$(PY) -m ruff check --quiet --fix-only $(CODE)
	@$(PY) -m ruff format --quiet $(CODE)
	@$(PY) tools/generate.py

docs: $(VENV)/dev.stamp ## build the documentation into site/
	@$(PY) -m mkdocs build --quiet --strict
	@echo "Open site/index.html"

pages: docs ## look at the documentation's pages in a browser (some of them: PAGES="gelu learn"; more: PAGES=--help)
	@$(PY) tools/crawl.py $(PAGES)

bench: $(VENV)/dev.stamp ## measure against torch; the results go to benchmarks/results
	@$(VENV)/bin/softknee bench $(BENCHED) --repetitions 7 --out benchmarks/results/forward-cpu.jsonl

claims: $(VENV)/run.stamp ## measure every claim of the ledger again (continues in runs/claims) and report contradictions
	@$(VENV)/bin/softknee claims run --all

bench-gpu: $(VENV)/dev.stamp ## measure on a GPU; eight minutes; the results go to benchmarks/results
	@TRITON_INTERPRET=0 $(PY) benchmarks/gpu.py

exhaustive: $(VENV)/dev.stamp ## run the tests that take hours, too
	@$(PY) tests/exhaustive.py
	@$(PY) tests/exhaustive32.py
	@SOFTKNEE_TESTS=exhaustive $(PY) -m pytest --numprocesses $(WORKERS) --deselect tests/laws/test_exhaustive.py::test_every_16_bit_input

clean: ## remove what was built and measured here, .venv included; runs/ stays
	@rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
