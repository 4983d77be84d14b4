# Set-up, the main job, the tests. The environment is made again only if the pins or the project's requirements change.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test lint data clean

run: $(READY)
	$(BIN)/fractal run data/factuality.toml

# Two processes, a file each at a time: tests are single-threaded, and the slow files come first. Hundreds of processes
# import the same modules: their bytecode is kept, whatever the shell says.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

data: $(READY)
	$(BIN)/pytest -m data

$(READY): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
	touch $@

clean:
	rm -rf $(VENV) .fractal
