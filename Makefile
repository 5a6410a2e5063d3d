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
.PHONY: help venv demo test test-slow test-all test-durations check lint format types wheel arm-wheels lock clean

help:
	@echo "make demo        press buttons in simulation with the policy of this package"
	@echo "make test        the tests, without the slow ones"
	@echo "make test-all    all of them; what each module costs: make test-durations"
	@echo "make check       format, lint, types and \`make test\`; CI runs it, then the slow tests"
	@echo "make venv        only make $(VENV), with PYTHON=$(PYTHON)"
	@echo "make wheel       write the wheel for robots to dist/"
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

# Tests that keep real time run alone, after the others have shared the cores. With ARGS, only what it names runs.
SHARED := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile
TIMES := build/test-durations
test: venv
ifeq ($(ARGS),)
	$(SHARED) -m "not slow and not full_size and not live" --junitxml $(TIMES)/quick.xml
	$(BIN)/pytest -m "not slow and not full_size and live" --junitxml $(TIMES)/quick-live.xml
else
	$(BIN)/pytest $(ARGS)
endif

test-slow: venv
	$(SHARED) -m "slow and not full_size and not live" --junitxml $(TIMES)/slow.xml
	$(BIN)/pytest -m "slow and not full_size and live" --junitxml $(TIMES)/slow-live.xml

test-all: test test-slow

test-durations: venv
	$(BIN)/python benchmarks/test_durations.py --write CONTRIBUTING.md

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

# With the demo policy exported, which a robot cannot do.
wheel: venv
	$(BIN)/python scripts/make_wheel.py dist

arm-wheels: venv
	$(BIN)/python scripts/check_arm_wheels.py

lock: venv
	$(BIN)/python scripts/write_constraints.py $(PYTHONS)

clean:
	rm -rf $(VENV) build
