# Baton's targets. An upgrade replaces this file: your own targets are in Makefile, which includes it.
# Every command installs its requirements. Only make and Python 3.11 to 3.14 must be installed before.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python

# Created again when the requirements change, or when its Python does not exist any more.
READY := $(VENV)/ready-$(shell cksum < requirements-dev.txt | tr -d ' ')
ifneq ($(shell $(PYTHON) -IS -c 'print("well")' 2> /dev/null),well)
.PHONY: $(READY)
endif

# A separate environment for the audit tools: their dependencies must not change the pins of the application.
AUDIT_VENV := .venv-audit
AUDIT_READY := $(AUDIT_VENV)/ready-$(shell cksum < requirements-audit.txt | tr -d ' ')

LOCKED := --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links

PORT ?= 8000
export PORT
# Some shells set HOST to the name of the machine. Only an argument changes it: `make dev HOST=0.0.0.0`.
HOST := 127.0.0.1
export HOST
export PYTHONPATH := .:clients/python
# Many container images set this variable. With it, no process stores bytecode, so each process compiles all of its
# modules again, and pytest compiles all tests again.
unexport PYTHONDONTWRITEBYTECODE

# Long tests follow each other in the order of the tests. A process that has finished its share therefore takes tests of
# another process. Some tests wait for servers and timers, so there is one process more than processors.
PARALLEL := -n $(shell cores=`getconf _NPROCESSORS_ONLN 2> /dev/null`; echo $$(($${cores:-1} + 1))) --maxprocesses 5 --dist worksteal

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[A-Za-z0-9_.-]+:.*## / { name[++n] = $$1; text[n] = $$2; if (length($$1) > wide) wide = length($$1) } \
	  END { for (i = 1; i <= n; i++) printf "  make %-" wide "s  %s\n", name[i], text[i] }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Make the virtual environment only (each command does it when needed)
	@echo "ok: $(VENV) has the pinned packages. next: make dev"

.PHONY: dev
dev: $(READY) ## Serve localhost:8000/api, reload on change (PORT=, HOST=, TLS=1, AWS_ENDPOINT_URL_DYNAMODB=)
	@exec $(PYTHON) -m tools.dev.serve

.PHONY: demo
demo: $(READY) ## Show login, lost answer and theft in the terminal (uses the server on PORT, or starts one)
	@$(PYTHON) -m tools.demo

.PHONY: test
test: $(READY) ## Run the tests (some minutes; it prints how many)
	@$(PYTHON) -m pytest -p tests.baton.report $(PARALLEL)

.PHONY: test-app
test-app: $(READY) ## Run your own tests only, without those of Baton (some seconds)
	@$(PYTHON) -m pytest tests --ignore=tests/baton

.PHONY: check
check: $(READY) ## Check format, lint, types and layers, then run the tests (some minutes; LONG=1: as CI does)
	@echo "1/5 format" && $(VENV)/bin/ruff format --check --quiet .
	@echo "2/5 lint" && $(VENV)/bin/ruff check --quiet .
	@echo "3/5 types" && $(VENV)/bin/mypy --no-error-summary -n auto
	@echo "4/5 layers" && { told=`$(VENV)/bin/lint-imports --config baton.importlinter.toml 2>&1` || { echo "$$told"; exit 1; }; }
	@echo "5/5 tests (some minutes)" && $(PYTHON) -m pytest -p tests.baton.report $(PARALLEL) \
	  $(if $(LONG),-m "not prove or prove(ci=True)")

.PHONY: mutants
mutants: $(READY) ## Remove each guard and check that a test fails (about an hour; SHORT=1: a dozen)
	@$(PYTHON) -m tools.mutants $(if $(SHORT),--short)
	@$(if $(SHORT),,if command -v node > /dev/null; then node clients/typescript/tests/mutants.js; \
	else echo "skipped: no node, so the TypeScript client has no mutants"; fi)
	@$(if $(SHORT),,if command -v mvn > /dev/null && command -v javac > /dev/null; then $(PYTHON) -m tools.kotlin_mutants; \
	else echo "skipped: no mvn or no JDK, so the Kotlin client has no mutants"; fi)
	@$(if $(SHORT),,if tools/swift.sh have; then $(PYTHON) -m tools.swift_mutants; \
	else echo "skipped: no swift, so the Swift client has no mutants"; fi)

.PHONY: prove
prove: $(READY) ## Run the long proofs, with one line of evidence for each guarantee (long; SHORT=1: some minutes)
	@echo "1/2 mutants"
	@$(PYTHON) -m tools.mutants $(if $(SHORT),--short)
	@echo "2/2 tests"
	@$(PYTHON) -m pytest -p tests.baton.report $(PARALLEL) -m "$(if $(SHORT),guarantee and not prove,guarantee or prove)"

# Options of a short Java process: no second compiler, and garbage collection in one thread. They halve its CPU time.
SHORT_JVM := -XX:TieredStopAtLevel=1 -XX:+UseSerialGC

# OFFLINE=1: Maven downloads nothing. After the first run, the packages are in its local repository.
# In CI (CI=true), a missing tool is a failure.
.PHONY: clients
clients: ## Check the TypeScript, Kotlin and Swift clients (needs Node.js 20, npm, a JDK, Maven, Swift 6)
	@if ! command -v npm > /dev/null; then echo "skipped: no npm, so clients/typescript is not checked"; [ "$$CI" != true ]; exit; fi; \
	mkdir -p build/typescript && cp clients/typescript/package.json clients/typescript/package-lock.json build/typescript/ && \
	echo "1/3 tools, pinned" && (cd build/typescript && npm ci --silent --ignore-scripts --no-audit --no-fund) && \
	echo "2/3 types, also those that an app gets" && package=build/typescript/node_modules/baton-client && rm -rf $$package && \
	tsc="build/typescript/node_modules/.bin/tsc --typeRoots build/typescript/node_modules/@types" && mkdir -p $$package && \
	$$tsc -p clients/typescript && $$tsc -p clients/typescript/samples/expo && cp -R clients/typescript/package.json clients/typescript/src $$package/ && \
	$$tsc -p clients/typescript --noEmit false --emitDeclarationOnly --declaration --rootDir clients/typescript/src --outDir $$package/types && \
	cp clients/typescript/tests/types.ts build/typescript/ && $$tsc --noEmit --strict --exactOptionalPropertyTypes --module nodenext \
	  --target es2022 --lib es2022,dom,dom.iterable --types node build/typescript/types.ts && \
	echo "3/3 tests and size" && node --test --test-reporter=dot clients/typescript/tests/ && echo "ok: clients/typescript" && \
	(cd tests/baton/stock_clients && npm ci --silent --ignore-scripts --no-audit --no-fund) && \
	$(PYTHON) -m pytest tests/baton/wire/test_stock_node.py && echo "ok: AppAuth-JS and oauth4webapi read Baton's documents"
	@if ! command -v mvn > /dev/null || ! command -v javac > /dev/null; then \
	echo "skipped: no mvn or no JDK, so clients/kotlin is not checked"; [ "$$CI" != true ]; exit; fi; \
	echo "compile without warnings, then vectors, flows, storage, transport and quick start" && \
	MAVEN_OPTS="$${MAVEN_OPTS:--Xmx1g $(SHORT_JVM)}" mvn -q -B -T1 $(if $(OFFLINE),-o) "-DargLine=$(SHORT_JVM)" -f clients/kotlin/pom.xml test && \
	cat clients/kotlin/*/target/surefire-reports/*.txt | grep "^Tests run" | sed "s/,.* -- in / in /" && echo "ok: clients/kotlin"
	@if ! tools/swift.sh have; then echo "skipped: no swift, so clients/swift is not checked (make swift-toolchain installs one)"; exit 0; fi; \
	echo "compile, then vectors, flows, storage, transport and quick start" && mkdir -p build && \
	{ tools/swift.sh run clients/swift swift test --scratch-path "$(CURDIR)/build/swift" > build/swift.log 2>&1 || \
	{ grep -E "error:|warning:|✘|Fatal" build/swift.log; tail -n 5 build/swift.log; exit 1; }; } && \
	{ ! grep -E "warning:" build/swift.log || exit 1; } && \
	grep -E "^[a-z_]+\.json: |Test run with" build/swift.log && echo "ok: clients/swift"

# Installs Swift in a separate root in the user's cache folder: two minutes and 3.4 GB, once. Only root can install it.
.PHONY: swift-toolchain
swift-toolchain: ## Install Swift 6 for the Swift client, unless it is on the PATH (Debian, root)
	@tools/swift.sh install

.PHONY: conformance
conformance: $(READY) ## Run the clients as processes, with faults (CLIENT=python, javascript, kotlin, swift)
	@CONFORMANCE=$(or $(CLIENT),all) $(PYTHON) -m pytest -p tests.baton.report $(PARALLEL) -m "" -rs tests/baton/clients/conformance

.PHONY: format
format: $(READY) ## Format the code, and write docs/baton/errors.md and Baton's MANIFEST
	@$(VENV)/bin/ruff check --fix-only --quiet . && $(VENV)/bin/ruff format --quiet .
	@$(PYTHON) -m tools.errors_page && $(PYTHON) -m tools.manifest

# Does not use the virtual environment, which may have the earlier requirements. The development tools are resolved first,
# and their pins constrain the application. In the reverse order, a tool could conflict with a pin of the application.
.PHONY: lock
lock: ## Pin requirements.in and requirements-app.in in one requirements.txt, with hashes (needs uv)
	@command -v uv > /dev/null || { echo "error: uv is not installed. Nothing was changed." \
	  "remedy: install uv (https://docs.astral.sh/uv/getting-started/installation/), and run the command again" >&2; exit 1; }
	@mkdir -p build && { uv pip compile $(LOCKED) requirements-dev.in -o requirements-dev.txt && \
	  uv pip compile $(LOCKED) requirements.in requirements-app.in -c requirements-dev.txt -o requirements.txt; } \
	  2> build/lock.log || { tail -n 12 build/lock.log; echo "error: uv did not find pins for all requirements." \
	  "remedy: change requirements-app.in as the lines above say (build/lock.log has all of them), and run the command again"; exit 1; } >&2
	@echo "ok: requirements.txt and requirements-dev.txt"

.PHONY: upgrade
upgrade: $(READY) ## Replace Baton's files by those of a release, and keep yours (FROM=release folder)
	@$(PYTHON) -m tools.upgrade $(FROM)

.PHONY: upgrade-check
upgrade-check: $(READY) ## Compare your settings, policies, routes and changes with the release (STAGE=prod SINCE=main)
	@$(PYTHON) -m tools.upgrade_check

.PHONY: openapi
openapi: $(READY) ## Write the OpenAPI description of all routes, yours included
	@$(PYTHON) -m tools.openapi

.PHONY: package
package: $(READY) ## Build the Lambda zip into build/ and check its contents
	@$(PYTHON) -m tools.package

.PHONY: plan
plan: $(READY) ## Show what a deployment would change, and its monthly cost (STAGE=dev USERS=10000)
	@STAGE=$(STAGE) USERS=$(USERS) $(PYTHON) -m tools.plan

.PHONY: deploy
deploy: $(READY) ## Deploy a stage to AWS, then log in to it (STAGE=dev)
	@$(PYTHON) -m tools.deploy deploy $(STAGE)

.PHONY: bench
bench: $(READY) ## Compare a signed call with its cryptography, an exchange with botocore, a login with Argon2
	@$(PYTHON) -m bench $(if $(SHORT),--short)

.PHONY: bench-count
bench-count: $(READY) ## Count the instructions of a call; fails if they changed (needs valgrind; UPDATE=1 stores them)
	@$(PYTHON) -m bench.instructions $(if $(UPDATE),--update)

.PHONY: bench-peers
bench-peers: $(READY) ## Compare a token rotation with other products (needs dynoxide, Node.js, PostgreSQL)
	@$(PYTHON) -m bench.peers

.PHONY: bench-growth
bench-growth: $(READY) ## Measure an exchange with more devices, accounts and environments (needs dynoxide)
	@$(PYTHON) -m bench.growth

.PHONY: cost
cost: $(READY) ## Print the AWS cost of a million operations and of a month (UPDATE=1 writes bench/results/cost.*)
	@$(PYTHON) -m bench.cost $(if $(UPDATE),--update)

.PHONY: dynoxide
dynoxide: $(READY) ## Download the DynamoDB engine that counts capacity into build/ (needs npm, x86_64 Linux)
	@$(PYTHON) -m tools.dev.dynoxide

.PHONY: bench-cold
bench-cold: $(READY) ## Compare the cold start of the packaged zip with an empty handler (needs Linux)
	@$(PYTHON) -m bench.cold $(if $(SHORT),--short)

.PHONY: bench-kit
bench-kit: $(READY) ## Measure a World and a phone of the test kit
	@$(PYTHON) -m bench.kit

.PHONY: bench-console
bench-console: $(READY) ## Measure what the unused console costs a request of make dev (COUNT=1: by valgrind too)
	@COUNT=$(COUNT) $(PYTHON) -m bench.watched

.PHONY: bench-imports
bench-imports: $(READY) ## List the modules that the first request of each route imports
	@$(PYTHON) -m bench.imports

.PHONY: figures
figures: $(READY) ## Simulate the mechanisms and draw docs/baton/figures/relay.svg (some minutes)
	@$(PYTHON) -m tests.baton.proofs.relay.figures

.PHONY: browser
browser: $(READY) ## Run the tests in a real browser (needs Node.js, npm and Debian's chromium)
	@command -v npm > /dev/null || { echo "error: npm is not installed. Nothing was run." \
	  "remedy: install Node.js 20 or later with npm, and run the command again" >&2; exit 1; }
	@cd tests/baton/chromium && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
	@BROWSER=required $(PYTHON) -m pytest -p tests.baton.report -n 2 --dist loadfile tests/baton/chromium

.PHONY: pictures
pictures: $(READY) ## Take the pictures of the console (needs what browser needs, and port 8000)
	@command -v npm > /dev/null || { echo "error: npm is not installed. Nothing was run." \
	  "remedy: install Node.js 20 or later with npm, and run the command again" >&2; exit 1; }
	@cd tests/baton/chromium && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
	@$(PYTHON) -m tests.baton.chromium.pictures

.PHONY: console
console: $(READY) ## Open the console of a deployed stage for its operators (STAGE=prod)
	@STAGE=$(STAGE) $(PYTHON) -m tools.stage_console

.PHONY: drill
drill: $(READY) ## Restore a backup and check that no earlier token works (STAGE=dev: in your AWS account)
	@$(PYTHON) -m tools.drill

.PHONY: audit
audit: $(READY) $(AUDIT_READY) ## Audit code, dependencies and templates (STAGE=dev: the AWS account too; OFFLINE=1: no network)
	@$(PYTHON) -m tools.audit $(if $(OFFLINE),--offline)

.PHONY: doctor
doctor: $(READY) ## Examine settings, clocks, tables and keys, and print the remedy for each problem (STAGE=dev)
	@$(PYTHON) -m tools.doctor

.PHONY: clean
clean: ## Remove all generated files and the virtual environments
	@rm -rf $(VENV) $(AUDIT_VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .chalice/deployments \
	  tests/baton/chromium/node_modules tests/baton/stock_clients/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment with exactly the pinned, hashed requirements. Python compiles a module when it is first imported:
# to compile all of them takes as long as the rest, and most are never imported.
$(READY):
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2> /dev/null && break; python=; \
	done; \
	if [ -z "$$python" ]; then echo "Baton needs Python 3.11, 3.12, 3.13 or 3.14 on the PATH." >&2; exit 1; fi; \
	echo "1/2 virtual environment, `$$python --version`" && rm -rf $(VENV) && $$python -m venv $(VENV) && \
	echo "2/2 requirements, pinned and hashed (once; about a minute)" && \
	$(PYTHON) -m pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements-dev.txt && touch $@

# Some of the audit tools have no wheels for Python 3.14 yet.
$(AUDIT_READY):
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2> /dev/null && break; python=; \
	done; \
	if [ -z "$$python" ]; then echo "The audit tools need Python 3.11, 3.12 or 3.13 on the PATH." >&2; exit 1; fi; \
	echo "audit tools, pinned and hashed (once; about a minute)" && rm -rf $(AUDIT_VENV) && \
	$$python -m venv $(AUDIT_VENV) && \
	$(AUDIT_VENV)/bin/python -m pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements-audit.txt && \
	touch $@
