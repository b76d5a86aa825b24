# make study: the paper's two sweeps on the embedded data, and the report.   make test: the tests.

PYTHON ?= $(or $(shell command -v python3.11 || command -v python3.12 || command -v python3.13),python3)
BIN := .venv/bin
STUDY := runs/paper_digits

# Any release will do; it is never pinned, since on Linux the usual build brings gigabytes of CUDA.
TORCH ?= torch

# The sources of the installation; touching either installs anew.
INSTALLED := .venv/.installed

.PHONY: help install bench-install study test lint bench clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+: +##' $(MAKEFILE_LIST) | sed 's/:.*## */	/' | expand -t 16

install: $(INSTALLED)   ## everything but the extras bench and cuda, into .venv

$(INSTALLED): pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "needs Python 3.11 or newer: make install PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[prepare,ray,search,dev]'
	touch $@

# A trial that failed is a part of the report, so the report is written all the same; make then fails.
study: install   ## the paper's two sweeps on the embedded digits, into runs/paper_digits, with its report
	@code=0; $(BIN)/sqzx sweep run sweeps/studies/paper_digits.toml --out $(STUDY) || code=$$?; \
	if [ $$code -le 1 ]; then \
		$(BIN)/sqzx plot $(STUDY) --out $(STUDY)/figures || code=$$(( code ? code : 1 )); \
		echo "The report:"; $(BIN)/sqzx report $(STUDY) --out $(STUDY)/report.html || code=$$(( code ? code : 1 )); \
	fi; exit $$code

test: install    ## all tests, on two processes
	$(BIN)/pytest -n 2 --dist worksteal

lint: install    ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --python .venv

bench-install: install   ## PyTorch, too: what is raced and what the networks are compared with (TORCH=torch)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[bench]' '$(TORCH)'

bench: bench-install   ## speed, side by side with plain Flax, PyTorch and Optuna; 1,000 counts against networks
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.agreement 1000

clean:           ## remove the installation and what tests leave; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
