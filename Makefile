PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One process a core, one thread each: tiny tensors spend their time waiting for other threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: quickstart test test-slow lint

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

# Train a tiny FocalMRE on synthetic posts and test it: minutes on two CPU cores, nothing but the packages is fetched.
quickstart: $(VENV)/installed
	rm -rf outputs/quickstart
	$(BIN)/python train.py configs/quickstart.yaml

test: $(VENV)/installed lint
	$(PYTEST) -m "not slow"

# What takes minutes: whole trainings.
test-slow: $(VENV)/installed
	$(PYTEST) -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
