# Everything lives in .venv; pip and a Python of 3.11 or newer are all it takes.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
ARGS ?=

SOAK ?= 600
QUICK := tests/domain tests/store tests/test_architecture.py tests/flow/pipeline/test_ingest.py \
	tests/flow/pipeline/test_match.py tests/flow/pipeline/test_deliver.py

.PHONY: run test test-quick test-faults check bench clean lock

run: $(VENV)/.run-ready  ## Start the service with the sample listing.
	@exec $(BIN)/paperwire up --sample $(ARGS)

test: $(VENV)/.test-ready  ## All tests, on all cores.
	@$(BIN)/python -m pytest -n auto $(ARGS)

test-quick: $(VENV)/.test-ready  ## In a minute: the domain, the architecture, and each stage on the database.
	@$(BIN)/python -m pytest -n auto $(QUICK) $(ARGS)

test-faults: $(VENV)/.test-ready  ## Every fault, then SOAK seconds of random kills.
	@$(BIN)/python -m pytest tests/faults -m "" --soak $(SOAK) $(ARGS)

check: $(VENV)/.test-ready  ## Style, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test-ready  ## Every benchmark; one JSON line each.
	@for b in benchmarks/[a-z]*.py; do $(BIN)/python $$b $(ARGS) || exit 1; done

# Also when the link in it dangles, since the Python it was made with is gone.
$(BIN)/python:
	@python="$(PYTHON)"; test -n "$$python" || { \
		echo "paperwire needs Python 3.11 or newer with venv, found:" \
			"$$(python3 --version 2>/dev/null || echo no python3)" \
			"(Debian: apt install python3-venv; or name one: make PYTHON=/path/to/python)" >&2; exit 1; }; \
	echo "Setting up $(VENV) with $$python ..."; \
	$$python -m venv --clear --without-pip $(VENV)

# A stamp is written last, so that what was interrupted is done again; ensurepip mends a pip that was cut short.
$(VENV)/.run-ready: requirements.lock pyproject.toml $(BIN)/python
	@echo "Installing paperwire and what it needs (once) ..."
	@$(BIN)/python -m ensurepip --default-pip >/dev/null
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test-ready: requirements-dev.lock $(VENV)/.run-ready
	@echo "Installing what the tests need (once) ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

lock:  ## Renew both lock files (needs uv).
	uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --upgrade -q -o requirements.lock
	uv pip compile pyproject.toml --group build --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header -c requirements.lock -q -o requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
