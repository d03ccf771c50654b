# Everything a person does with a clone of jobd; `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
TEST_PROCESSES ?= 2
BIN := $(VENV)/bin
DEFINITION := setup.cfg setup.py pyproject.toml
PORTABLE := jobd tools examples benchmarks
TYPED := $(PORTABLE) tests

.DEFAULT_GOAL := help
.PHONY: help demo test check bench torture faults powercut fuzz soak simulate clean
.DELETE_ON_ERROR:

help: ## say what there is to make
	@echo 'jobd: make what?'
	@sed -n 's/^\([a-z]*\):.*## /  \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'
	@echo '  PYTHON=python3.13 chooses the interpreter, VENV=DIR where the environment is made.'

demo: $(VENV)/installed ## real work through a real daemon, on all cores
	@$(BIN)/python examples/pipeline/pipeline.py

test: $(VENV)/ready check ## all checks, then all tests with coverage
	@sh tools/system-packages.sh
	@$(BIN)/python tools/run_tests.py --jobs $(TEST_PROCESSES)

check: $(VENV)/ready ## format, lint and types (for Linux, macOS and Windows)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --platform linux $(TYPED)
	$(BIN)/mypy --platform darwin $(PORTABLE)
	$(BIN)/mypy --platform win32 $(PORTABLE)

torture: $(VENV)/ready ## kill a loaded daemon 200 times (CYCLES=200 JOBS=100000 SEED=random)
	@$(BIN)/python -m tests.torture $(CYCLES:%=--cycles %) $(JOBS:%=--jobs %) $(SEED:%=--seed %)

faults: $(VENV)/ready ## run every client through a proxy that spoils its connections (ROUNDS=20 SEED=random)
	@$(BIN)/python -m tests.reliability.faults $(ROUNDS:%=--rounds %) $(SEED:%=--seed %)

powercut: $(VENV)/ready ## cut the power at every call of the job store, for more loads (SEEDS="1 2 3 4 5 6 7 8 9 10")
	@JOBD_POWERCUT_SEEDS="$(or $(SEEDS),1 2 3 4 5 6 7 8 9 10)" $(BIN)/python -m twisted.trial tests.reliability.test_powercut

fuzz: $(VENV)/ready ## give every reader bytes nobody meant to send (SECONDS=600 SEED=random TARGETS=all)
	@$(BIN)/python -m tests.fuzz $(SECONDS:%=--seconds %) $(SEED:%=--seed %) $(TARGETS)
	@sh tools/system-packages.sh
	@JOBD_FUZZ_SECONDS=$(or $(SECONDS),120) $(BIN)/python -m twisted.trial tests.cpp.test_build.FuzzTests

soak: $(VENV)/ready ## a mixed load for a while, and whether anything grows; a job of 10 GB of output (MINUTES=20)
	@$(BIN)/python -m tests.soak $(MINUTES:%=--minutes %)
	@JOBD_OUTPUT_MEGABYTES=10000 $(BIN)/python -m twisted.trial tests.reliability.test_processes.Output

bench: $(VENV)/ready $(VENV)/peers ## measure jobd beside its peers; ARGS="--quick" sees that it works
	@sh tools/system-packages.sh bench
	@$(BIN)/python -m benchmarks $(ARGS)

simulate: $(VENV)/ready ## walk the whole daemon through what can go wrong, in virtual time (RUNS=200 SEED=random STEPS=4000)
	@$(BIN)/python -m tests.simulation $(RUNS:%=--runs %) $(SEED:%=--seed %) $(STEPS:%=--steps %)

clean: ## remove what was made here
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .ruff_cache .hypothesis _trial_temp*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'jobd needs Python 3.10 or later: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && { apt-get update -q && apt-get install -y -q python3-venv; } >/dev/null 2>&1; } || \
	  { echo '$(PYTHON) cannot make environments: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python $(DEFINITION)
	@echo 'installing jobd into $(VENV) ...'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/ready: $(BIN)/python $(DEFINITION)
	@echo 'installing jobd and what its tests need into $(VENV) ...'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/installed

# Without a peer the others are measured all the same.
$(VENV)/peers: $(VENV)/ready
	@echo 'installing the peers that there are for Python into $(VENV) ...'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[bench]' || \
	  echo 'not all of them can be installed here; their rows will say so' >&2
	@touch $@
