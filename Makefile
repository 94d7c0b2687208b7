# What a person types. Needs Python 3.11 or newer, make and a package registry, and nothing else.

PYTHON = python3
VENV = .venv

BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed

# An option of the command line for a variable given to make: $(call option,PORT,--port)
option = $(if $(filter command,$(origin $(1))),$(2) '$($(1))')

.PHONY: help run test check conformance clean
.DEFAULT_GOAL := help

help:
	@echo 'make run          serve FHIR with a demo network; PORT=8123 HOST=0.0.0.0 DATA=directory to choose'
	@echo 'make test         run the tests; ARGS="-k name" to choose'
	@echo 'make check        lint, format, types, layers'
	@echo 'make conformance  write conformance/definitions anew'
	@echo 'make clean        remove what was built; data is kept'
	@echo
	@echo 'PYTHON=python3.12 names the Python to use, VENV=directory where its packages are kept.'

run: $(INSTALLED)
	@exec $(BIN)/fhir-server serve --demo \
	  $(call option,HOST,--host) $(call option,PORT,--port) $(call option,DATA,--data)

# Each worker has a store of its own; a MongoDB that is given is shared, so that one worker uses it alone.
test: $(INSTALLED)
	@exec $(BIN)/python -m pytest -n $(if $(MONGODB_URI),0,auto) --dist worksteal $(ARGS)

check: $(INSTALLED)
	@echo 'ruff check' && $(BIN)/ruff check --quiet .
	@echo 'ruff format' && $(BIN)/ruff format --check --quiet .
	@echo 'mypy' && $(BIN)/mypy
	@echo 'lint-imports' && $(BIN)/lint-imports

conformance: $(INSTALLED)
	@$(BIN)/fhir-server conformance

clean:
	@rm -rf '$(VENV)' build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@rm -rf tests/clients/node_modules
	@find fhir_server tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 || true)"; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || { echo 'Creating $(VENV)'; $(PYTHON) -m venv '$(VENV)'; }
	@echo 'Installing the server and its tools into $(VENV) (once)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,dev]'
	@touch $@
