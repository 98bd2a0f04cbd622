# Every command sets up what it needs: only make and Python >= 3.11 have to be there.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python

# Made again when the requirements change, or when the Python it was made with is gone.
READY := $(VENV)/ready-$(shell cksum < requirements-dev.txt | tr -d ' ')
ifneq ($(shell $(PYTHON) -IS -c 'print("well")' 2> /dev/null),well)
.PHONY: $(READY)
endif

# The audit's own tools, apart from what ships: what they depend on must not pin it.
AUDIT_VENV := .venv-audit
AUDIT_READY := $(AUDIT_VENV)/ready-$(shell cksum < requirements-audit.txt | tr -d ' ')

PORT ?= 8000
export PORT
# Some shells set HOST to the name of the machine: only `make dev HOST=0.0.0.0` counts.
HOST := 127.0.0.1
export HOST
export PYTHONPATH := .:clients/python

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: $(READY) ## Serve Baton on http://localhost:8000/api (PORT=, HOST=0.0.0.0, AWS_ENDPOINT_URL_DYNAMODB=)
	@exec $(PYTHON) -m tools.dev.serve

.PHONY: demo
demo: $(READY) ## Tell the story in the terminal, against a running server or one of its own
	@$(PYTHON) -m tools.demo

.PHONY: test
test: $(READY) ## Run the tests
	@$(PYTHON) -m pytest -n auto --maxprocesses 4

.PHONY: check
check: $(READY) ## Check format, lint, types and layers, and run the tests: what CI runs
	@echo "1/5 format" && $(VENV)/bin/ruff format --check --quiet .
	@echo "2/5 lint" && $(VENV)/bin/ruff check --quiet .
	@echo "3/5 types" && $(VENV)/bin/mypy --no-error-summary
	@echo "4/5 layers" && { told=`$(VENV)/bin/lint-imports 2>&1` || { echo "$$told"; exit 1; }; }
	@echo "5/5 tests" && $(PYTHON) -m pytest -n auto --maxprocesses 4

.PHONY: mutants
mutants: $(READY) ## Take each guard of core/ and stores/ away and see a test fail (SHORT=1: a dozen)
	@$(PYTHON) -m tools.mutants $(if $(SHORT),--short)

.PHONY: prove
prove: $(READY) ## Prove the promises at length, a line of evidence for each (SHORT=1: the short form)
	@$(PYTHON) -m tools.mutants $(if $(SHORT),--short)
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 -m "$(if $(SHORT),promise and not prove,promise or prove)"

.PHONY: format
format: $(READY) ## Put the code, and the page of errors, into shape
	@$(VENV)/bin/ruff check --fix-only --quiet . && $(VENV)/bin/ruff format --quiet . && $(PYTHON) -m tools.errors_page

.PHONY: openapi
openapi: $(READY) ## Write the OpenAPI description from the routes there are, yours too
	@$(PYTHON) -m tools.openapi

.PHONY: package
package: $(READY) ## Build the Lambda zip into build/ and check what is in it
	@$(PYTHON) -m tools.package

.PHONY: plan
plan: $(READY) ## Show what a deployment would change, and its monthly cost (STAGE=, USERS=)
	@STAGE=$(STAGE) USERS=$(USERS) $(PYTHON) -m tools.plan

.PHONY: deploy
deploy: $(READY) ## Deploy a stage to AWS and log in through it (STAGE=dev)
	@$(PYTHON) -m tools.deploy deploy $(STAGE)

.PHONY: bench
bench: $(READY) ## Measure a signed call beside its cryptography, an exchange beside botocore's, a login beside Argon2
	@$(PYTHON) -m bench

.PHONY: bench-count
bench-count: $(READY) ## Count a call's instructions, and fail where they moved (wants valgrind; UPDATE=1 writes them down)
	@$(PYTHON) -m bench.instructions $(if $(UPDATE),--update)

.PHONY: bench-peers
bench-peers: $(READY) ## Measure a rotation beside its peers' (installs them into build/; wants dynoxide, Node.js, PostgreSQL)
	@$(PYTHON) -m bench.peers

.PHONY: bench-growth
bench-growth: $(READY) ## Measure an exchange as devices, accounts and environments grow (wants dynoxide)
	@$(PYTHON) -m bench.growth

.PHONY: cost
cost: $(READY) ## Price a million operations, and a month from a thousand to a hundred million users
	@$(PYTHON) -m bench.cost

.PHONY: dynoxide
dynoxide: $(READY) ## Fetch the DynamoDB engine that counts capacity into build/ (npm, x86_64 Linux)
	@$(PYTHON) -m tools.dev.dynoxide

.PHONY: bench-cold
bench-cold: $(READY) ## Measure the cold start of the packaged zip beside a bare handler
	@$(PYTHON) -m bench.cold

.PHONY: bench-imports
bench-imports: $(READY) ## Show what the first request of each route imports
	@$(PYTHON) -m bench.imports

.PHONY: figures
figures: $(READY) ## Simulate the mechanisms and draw docs/figures/relay.svg (some minutes)
	@$(PYTHON) -m tests.relay.figures

.PHONY: drill
drill: $(READY) ## Restore a backup and prove that nothing of before works (STAGE=dev: in your account)
	@$(PYTHON) -m tools.drill

.PHONY: audit
audit: $(READY) $(AUDIT_READY) ## Audit code, dependencies and templates (STAGE=dev: the live account too; OFFLINE=1)
	@$(PYTHON) -m tools.audit $(if $(OFFLINE),--offline)

.PHONY: doctor
doctor: $(READY) ## Examine settings, clocks, tables, keys and reach, and say what mends each problem (STAGE=dev)
	@$(PYTHON) -m tools.doctor

.PHONY: clean
clean: ## Remove everything that was made here
	@rm -rf $(VENV) $(AUDIT_VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .chalice/deployments
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment with exactly the pinned, hashed requirements.
$(READY):
	@for python in python3 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && break; python=; \
	done; \
	if [ -z "$$python" ]; then echo "Baton needs Python 3.11 or newer, and none is on the PATH." >&2; exit 1; fi; \
	echo "1/2 virtual environment, `$$python --version`" && rm -rf $(VENV) && $$python -m venv $(VENV) && \
	echo "2/2 requirements, pinned and hashed (once; about a minute)" && \
	$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt && touch $@

$(AUDIT_READY):
	@echo "audit tools, pinned and hashed (once; about a minute)" && rm -rf $(AUDIT_VENV) && \
	$(PYTHON) -m venv $(AUDIT_VENV) && \
	$(AUDIT_VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-audit.txt && \
	touch $@
