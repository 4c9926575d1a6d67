# Everything a contributor, a newcomer or CI types. `make help` lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

GOOGLEAPIS := build/googleapis
STATUS     := $(GOOGLEAPIS)/google/rpc/status.proto
CLIENTS    := build/node/.installed
PROTOS     := $(wildcard proto/prism/v1/*.proto)

# More than two cores: the tests wait more than they compute.
WORKERS ?= 3
PYTEST  := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit test-acceptance-interfaces test-acceptance-redis \
        test-acceptance-nats compliance suite-selftest test-integration test-example coverage metrics-check bench check \
        fmt lint types imports proto proto-check proto-baseline ci clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 30

setup: $(STAMP) $(STATUS) $(CLIENTS) ## Create .venv and everything in it

$(STAMP): pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Prism needs Python 3.11 or newer: install it, or name one with 'make PYTHON=python3.12'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

run: $(STAMP) ## Serve the embedded store; ARGS="--grpc-port 9190" passes flags on
	$(BIN)/python -m prism.bootstrap --driver memstore $(ARGS)

test: setup ## Run every test: unit, acceptance, integration
	$(PYTEST) tests $(ARGS)

test-unit: $(STAMP) $(STATUS) ## Run the unit tests
	$(PYTEST) tests/unit $(ARGS)

test-acceptance-interfaces: $(STAMP) ## Run the acceptance suite on the embedded store, in process and over gRPC
	$(PYTEST) tests/contract/test_memstore.py $(ARGS)

test-acceptance-redis: $(STAMP) ## Run the acceptance suite on a Redis server of its own
	$(PYTEST) tests/contract/test_redis.py $(ARGS)

test-acceptance-nats: $(STAMP) ## Run the acceptance suite on a NATS server of its own
	$(PYTEST) tests/contract/test_nats.py $(ARGS)

compliance: $(STAMP) ## Run the acceptance suite on every backend; report build/compliance.md, and into the README
	$(PYTEST) tests/contract -q -p prism.testing.report --prism-report=build/compliance.json --prism-report-into=README.md $(ARGS)

suite-selftest: $(STAMP) ## Run the acceptance suite on broken backends, each to be caught by its test; ARGS="PrefixesBleed"
	$(BIN)/python -m tests.selftest $(ARGS)

test-integration: setup ## Run real processes against one another
	$(PYTEST) tests/integration $(ARGS)

test-example: $(STAMP) ## Install Prism and examples/driver-sqlite as an outsider would, and test that
	$(PYTEST) tests/integration/outsiders $(ARGS)

coverage: setup ## Run every test and report what they cover
	$(PYTEST) tests --cov --cov-report=term --cov-report=html $(ARGS)

metrics-check: $(STAMP) ## Let promtool look at the metrics of every driver
	@command -v promtool >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus >/dev/null; } || { echo "promtool is missing: on Debian, 'sudo apt install prometheus' brings it" >&2; exit 1; }
	$(BIN)/python -m tests.promtool

bench: $(STAMP) ## Compare the speed with that of others, as ratios; ARGS="--only Get"
	@command -v h2load >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends nghttp2-client >/dev/null; } || { echo "h2load is missing: on Debian, 'sudo apt install nghttp2-client' brings it" >&2; exit 1; }
	$(BIN)/python -m benchmarks $(ARGS)

check: lint types imports proto-check ## What a contributor runs: under a minute
	$(PYTEST) tests/unit tests/contract -m "not slow" $(ARGS)

fmt: $(STAMP) ## Format the code, and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

$(STATUS): $(STAMP)
	@mkdir -p $(@D)
	@cp "$$($(BIN)/python -c 'import google.rpc.status_pb2 as m; print(m.__file__[:-len("_pb2.py")])').proto" $@

# The stock client of another language that the tests talk to a server with.
$(CLIENTS): tests/integration/grpc/node/package.json $(STAMP)
	@mkdir -p $(@D)
	@cp $< $(@D)
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix $(@D) --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@

proto: $(STATUS) ## Generate src/prism/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto -I $(GOOGLEAPIS) --python_out=src --pyi_out=src $(PROTOS)

proto-check: $(STATUS) ## Lint proto/, compare it with the baseline, and see that src/prism/v1 is not stale
	$(BIN)/buf lint
	$(BIN)/buf breaking proto --against proto/baseline.binpb
	@mkdir -p build/proto && rm -rf build/proto/*
	@$(BIN)/python -m grpc_tools.protoc -I proto -I $(GOOGLEAPIS) --python_out=build/proto --pyi_out=build/proto $(PROTOS)
	@for fresh in build/proto/prism/v1/*; do \
	  cmp -s $$fresh src/prism/v1/$${fresh##*/} || { echo "src/prism/v1/$${fresh##*/} is stale: run 'make proto'" >&2; exit 1; }; done

proto-baseline: $(STATUS) ## Accept proto/ as the API from now on; goes with a CHANGELOG entry
	$(BIN)/buf build proto -o proto/baseline.binpb

ci: check test suite-selftest metrics-check ## What CI runs

clean: ## Remove everything that was made, coverage included
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
