# make demo   set everything up, train a small model on real English, print samples
# make test   set everything up, run every test
# make book   set everything up, run every chapter of the course, render them: build/book/index.html
# make bench  set everything up, measure the speed of everything (BENCH="--quick": in a minute)
# make tasks  set everything up, train every task, write a table: benchmarks/results/ (half an hour)
#
# Everything is installed into a virtual environment in this folder (VENV).

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BOOK = build/book
PACKAGING = setup.py pyproject.toml MANIFEST.in
C_SOURCES = $(wildcard csrc/*.c csrc/*.h)

.PHONY: demo test book bench tasks pretrained clean
.DEFAULT_GOAL = demo

demo: $(VENV)/installed
	$(BIN)/minillm demo

# The tests start hundreds of programs, so Python keeps what it has compiled, whatever the environment.
test: $(VENV)/installed-test
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist worksteal

book: $(VENV)/installed-book
	$(BIN)/python -m minillm.course.book --output $(BOOK)

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks $(BENCH)

tasks: $(VENV)/installed
	$(BIN)/python -m benchmarks.tasks $(TASKS)

# Retrain the models that ship in minillm/pretrained (an hour).
pretrained: $(VENV)/installed
	$(BIN)/python -m minillm.cli.pretrained pydoc-tiny
	$(BIN)/python -m minillm.cli.pretrained pydoc-small

# An editable install: changes in minillm/ take effect at once, changes in csrc/ trigger a rebuild.
$(VENV)/installed: $(VENV)/created $(PACKAGING) $(C_SOURCES)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/installed-book: $(VENV)/created $(PACKAGING) $(C_SOURCES)
	$(BIN)/pip install --quiet --editable ".[book]"
	@touch $(VENV)/installed $@

$(VENV)/installed-test: $(VENV)/created $(PACKAGING) $(C_SOURCES)
	$(BIN)/pip install --quiet --editable ".[test]"
	@touch $(VENV)/installed $(VENV)/installed-book $@

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "minillm needs Python 3.10 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "no venv module: on Debian or Ubuntu, 'apt install python3-venv python3-dev'"; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info minillm/kernels/_c_*
