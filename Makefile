# Everything runs in .venv, which is made on demand: a target installs what it needs, once, and again when the
# requirements, the pins or the message definitions change. PYTHON chooses the interpreter that .venv is made with,
# SECONDS how long the drive of the demo is, BENCH which benchmarks are run (all without), TESTERS how many processes test.
PYTHON ?= python3
SECONDS ?= 10
BENCH ?=
TESTERS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
REQUIREMENTS := setup.py constraints.txt
INTERFACES := tools/build_interfaces.py $(wildcard interfaces/*/package.xml interfaces/*/msg/*.msg)

# A stamp is written after its last step, so an interrupted installation is taken up again.
RUN := $(VENV)/.installed-run
TEST := $(VENV)/.installed-test
LINT := $(VENV)/.installed-lint

PEERS := $(VENV)/.installed-peers

.PHONY: help setup demo test lint format bench clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(RUN) $(TEST) $(LINT) ## Install everything into .venv

demo: $(RUN) ## Make a drive, play it to the node, show what it publishes (SECONDS=60 for a minute)
	$(PY) demo/run.py --seconds $(SECONDS)

test: $(TEST) ## Run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses $(TESTERS) --dist loadfile

lint: $(LINT) ## Check format, style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(LINT) ## Format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(PEERS) ## Measure, beside other systems (BENCH="decode drawing" for some of it)
	$(PY) benchmarks/run.py $(BENCH)

clean: ## Remove what was built and written, but not .venv
	rm -rf build install log dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(RUN): $(REQUIREMENTS) $(INTERFACES)
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info < (3, 14) else "panoptic_ros needs Python 3.10 to 3.13 (make PYTHON=python3.12 ...); $(PYTHON) is " + sys.version.split()[0])'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $(VENV)/COLCON_IGNORE
	@echo "Installing into $(VENV); the first time this loads several GB (PyTorch) and takes minutes ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ros,training,evaluation]'
	@$(PY) tools/build_interfaces.py
	@touch $@

$(PEERS): $(RUN) benchmarks/requirements.txt
	@echo "Installing what is measured beside ours ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -r benchmarks/requirements.txt
	@touch $@

$(TEST): $(RUN)
	@echo "Installing what the tests need ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(LINT): $(RUN)
	@echo "Installing what the checks need ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lint]'
	@mkdir -p $(VENV)/mypy && ln -sfn ../../training $(VENV)/mypy/panoptic_training
	@touch $@
