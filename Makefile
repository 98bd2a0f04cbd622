# Every command sets up what it needs: only make and Python >= 3.11 have to be there.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/ready
PORT ?= 8000
export PORT
export PYTHONPATH := .:clients/python

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: $(READY) ## Serve Baton on http://localhost:8000/api (PORT=, AWS_ENDPOINT_URL_DYNAMODB=)
	@exec $(PYTHON) -m tools.dev.serve

.PHONY: demo
demo: $(READY) ## Tell the story in the terminal, against a running server or one of its own
	@$(PYTHON) -m tools.demo

.PHONY: test
test: $(READY) ## Run the tests
	@$(PYTHON) -m pytest -n 2

.PHONY: check
check: $(READY) ## Format, lint, types, layers, tests: what CI runs
	@echo "format" && $(VENV)/bin/ruff format --check --quiet .
	@echo "lint" && $(VENV)/bin/ruff check --quiet .
	@echo "types" && $(VENV)/bin/mypy --no-error-summary
	@echo "layers" && $(VENV)/bin/lint-imports > build/layers.txt || { cat build/layers.txt; exit 1; }
	@echo "tests" && $(PYTHON) -m pytest -n 2

.PHONY: format
format: $(READY) ## Put the code into shape
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format --quiet . ; $(PYTHON) -m tools.errors_page

.PHONY: package
package: $(READY) ## Build the Lambda zip into build/ and check what is in it
	@$(PYTHON) -m tools.package

.PHONY: bench
bench: $(READY) ## Measure a signed call beside its cryptography
	@$(PYTHON) -m bench.calls

.PHONY: clean
clean: ## Remove everything that was made here
	@rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .chalice/deployments .chalice/venv

# A virtual environment with exactly the pinned, hashed requirements; made again when they change.
$(READY): requirements-dev.txt
	@found=; for python in python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "Baton needs Python 3.11 or newer, and none is on the PATH." >&2; exit 1; fi; \
	echo "1/2 virtual environment, `$$found --version`" && rm -rf $(VENV) && $$found -m venv $(VENV) && \
	echo "2/2 requirements, pinned and hashed (once; about a minute)" && \
	$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@mkdir -p build && touch $(READY)
