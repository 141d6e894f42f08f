# The two commands of the README; each sets up everything it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PLACE ?=
FAST := not ray and not s3 and not mlflow and not e2e

.PHONY: demo test check lint style types fast lowest bench cluster-up cluster-down clean

demo: $(READY)
	$(BIN)/speechprompt demo demo

# The whole suite, or a part of it: make test PLACE=workers/tuning
test: $(READY)
	$(BIN)/python -m pytest tests/$(PLACE)

# All that needs neither a Ray nor a server, side by side.
check: $(READY)
	$(MAKE) --jobs=3 lint fast

lint: style types

style: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

fast: $(READY)
	$(BIN)/python -m pytest -m "$(FAST)" --hypothesis-profile=quick --ignore=tests/end_to_end

# The same with the lowest versions that pyproject.toml allows, but for torch.
lowest:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct --extra dev \
		--constraints constraints.txt --output-file $(VENV)/lowest.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/lowest.txt --editable '.[dev]'
	$(BIN)/python -m pytest -m "$(FAST)"

bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

cluster-up: $(READY)
	$(BIN)/python -m infra.local_cluster up

cluster-down: $(READY)
	$(BIN)/python -m infra.local_cluster down

clean:
	rm -rf $(VENV) demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
