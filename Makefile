# Everything happens in .venv, which `make venv` makes: no root, nothing of the caller's environment.
PYTHON ?= python3
PYTHONS ?= $(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/complete

unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE VIRTUAL_ENV CONDA_PREFIX
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_REQUIRE_VIRTUALENV PIP_PYTHON PIP_NO_BUILD_ISOLATION
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.PHONY: help venv demo test check lint format types arm-wheels lock clean

help:
	@echo "make demo        press buttons in simulation with the policy of this package"
	@echo "make test        the tests"
	@echo "make check       format, lint, types and tests: what CI runs"
	@echo "make venv        only make $(VENV), with PYTHON=$(PYTHON)"
	@echo "make format      rewrite the code in the project's format"
	@echo "make arm-wheels  ask the package index whether a Jetson can install the runtime without a compiler"
	@echo "make lock        write constraints/ anew, for PYTHONS=\"python3.10 ...\""
	@echo "make clean       remove $(VENV) and build/"

venv: $(STAMP)

# The stamp is written last. Without it the folder is from an interrupted run, in which pip may have left half a
# package that it would take for a whole one: start over.
$(STAMP): pyproject.toml setup.py scripts/make_venv.sh $(wildcard constraints/*.txt)
	@PYTHON="$(PYTHON)" sh scripts/make_venv.sh $(VENV) $@

demo: venv
	$(BIN)/vpp-edge demo $(ARGS)

# Those that keep real time run alone, after the others have shared the cores. With ARGS, only what it names runs.
test: venv
ifeq ($(ARGS),)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile -m "not full_size and not live"
	$(BIN)/pytest -m "live and not full_size"
else
	$(BIN)/pytest $(ARGS)
endif

check: lint types test

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# mypy does not see setup.py's mapping of folders to packages, so it is given the packages as links.
types: venv
	@sh scripts/link_types.sh build/types
	$(BIN)/mypy

arm-wheels: venv
	$(BIN)/python scripts/check_arm_wheels.py

lock: venv
	$(BIN)/python scripts/write_constraints.py $(PYTHONS)

clean:
	rm -rf $(VENV) build
