# make demo | make test | make lint: each sets up all it needs (git, make and python3 >= 3.11 are enough).
#
# The virtual environment is rebuilt only when pyproject.toml changes: .venv/.ready is the stamp.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=

.PHONY: demo test lint clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo   run the main job: logistic regression, simulated and real (picture in build/)"
	@echo "make test   run the tests (ARGS='-k data' passes options on to pytest)"
	@echo "make lint   ruff"
	@echo "make clean  remove the virtual environment and what was built"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "rushlight needs Python 3.11 or newer; name one by: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	    { rm -rf $(VENV); echo "python3 cannot make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[scipy,viz,dev]'
	@$(BIN)/python -m compileall -q rushlight
	@touch $@

demo: $(READY)
	@mkdir -p build
	$(BIN)/rushlight run examples/logistic_regression.py --plot build/logistic_regression.png $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
