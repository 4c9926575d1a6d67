# Everything a contributor, a newcomer or CI types. `make help` lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
SERVER := $(VENV)/.serving
STAMP  := $(VENV)/.installed
ARGS   ?=
LOCKS  := deploy/locks

GOOGLEAPIS := build/googleapis
STATUS     := $(GOOGLEAPIS)/google/rpc/status.proto
CLIENTS    := build/node/.installed
PROTOS     := $(wildcard proto/prism/v1/*.proto)

# More than two cores: the tests wait more than they compute.
WORKERS ?= 4
PYTEST  := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Tests start hundreds of processes, which would all compile the same modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup tools run demo test test-in-ci test-unit test-drivers test-patterns test-acceptance-interfaces \
        test-acceptance-sqlite test-acceptance-redis test-acceptance-nats compliance suite-selftest many-gateways mutants test-integration attack attack-short soak \
        test-example clients matrix matrix-short coverage coverage-floors coverage-acceptance-interfaces coverage-integration dashboard \
        observability-check page-check package release lock docs bench check fmt lint types imports proto \
        proto-check proto-baseline ci clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 34

setup: $(SERVER) ## Create .venv with what serving needs: Prism and its drivers

tools: $(STAMP) $(STATUS) $(CLIENTS) ## Add everything that tests and checks need

# uv takes a third of the time that pip takes, but does not read pip's settings: where they name an index,
# pip installs, and so it does where uv fails. `once` asks the system when a value is needed, and not again.
once = $(eval $(1) := $(shell $(2)))$($(1))
HAS_PIP = $(call once,HAS_PIP,$(PYTHON) -m pip --python $(PYTHON) --version >/dev/null 2>&1 && echo yes)
PIP_INDEX = $(call once,PIP_INDEX,$(PYTHON) -m pip config list 2>/dev/null | grep -E "[.](index-url|no-index)=")
PIP = $(if $(HAS_PIP),$(PYTHON) -m pip --python $(BIN)/python,$(BIN)/python -m pip) install --quiet --disable-pip-version-check --no-compile
UV = $(if $(PIP_INDEX),false,$(BIN)/python -m uv pip install --quiet --python $(BIN)/python)
install = { $(UV) $(1) 2>/dev/null || $(PIP) $(1); }

SERVING := '.[nats,redis]'

define environment
@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Prism needs Python 3.11 or newer: install it, or name one with 'make PYTHON=python3.12'" >&2; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(if $(HAS_PIP),--without-pip) $(VENV)
@rm -rf $(VENV)/lib/python3*/site-packages/prism-[0-9]*.dist-info  # its name before it was prism-kv
@$(if $(PIP_INDEX),,$(PIP) --only-binary uv uv 2>/dev/null || :)
endef

$(SERVER): pyproject.toml
	@echo "installing Prism and its drivers into $(VENV), once: some 100 MB" >&2
	$(environment)
	@$(call install,pip --editable $(SERVING))
	@touch $@

# LOCKED=1 installs the exact versions of deploy/locks, as CI does.
$(STAMP): pyproject.toml
	@echo "installing the development tools into $(VENV), once: some 1.1 GB, a few minutes" >&2
	$(environment)
	@$(if $(LOCKED),$(call install,--require-hashes -r $(LOCKS)/development.txt))
	@$(call install,--upgrade pip)
	@$(call install,--editable '.[dev]')
	@touch $(SERVER) $@

# Where `make run` keeps its keys.
DATA ?= data
SERVED = $(if $(findstring --driver,$(ARGS)),,--driver sqlite --sqlite-path $(DATA)/prism.db)

run: $(SERVER) ## Serve the SQLite file data/prism.db; ARGS="--driver memstore" passes flags on
	@mkdir -p $(DATA)
	@$(BIN)/python -m prism.bootstrap $(SERVED) $(ARGS)

demo: $(SERVER) ## Show a proxy with three patterns, one of which is killed
	$(BIN)/python -m examples.demo

test: tools ## Run every test: unit, acceptance, integration
	$(PYTEST) tests $(ARGS)

# Thousands of tests share two cores with the processes that they start. A test that fails in CI runs
# again by itself, and both results are printed.
test-in-ci: tools
	$(PYTEST) tests $(ARGS) || { [ $$? = 1 ] && echo "The tests that failed run again, one at a time:" && \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -v tests $(ARGS); }

test-unit: $(STAMP) $(STATUS) ## Run the unit tests
	$(PYTEST) tests/unit $(ARGS)

# What each driver has tests of its own for, beside the suite that all of them pass.
DRIVERS := memstore sqlite redis nats remote
DRIVER_TESTS := tests/contract tests/integration/backends \
  $(wildcard $(DRIVERS:%=tests/unit/%) $(DRIVERS:%=tests/integration/%))

test-drivers: tools ## Run every driver's tests, and the acceptance suite on its backend
	$(PYTEST) $(DRIVER_TESTS) $(ARGS)

test-patterns: test-drivers ## The same by another name

test-acceptance-interfaces: $(STAMP) ## Run the acceptance suite on the embedded store, at every level
	$(PYTEST) tests/contract/test_memstore.py $(ARGS)

test-acceptance-sqlite: $(STAMP) ## Run the acceptance suite on SQLite files, at every level
	$(PYTEST) tests/contract/test_sqlite.py --every-level $(ARGS)

test-acceptance-redis: $(STAMP) ## Run the acceptance suite on a Redis server of its own
	$(PYTEST) tests/contract/test_redis.py --every-level $(ARGS)

test-acceptance-nats: $(STAMP) ## Run the acceptance suite on a NATS server of its own
	$(PYTEST) tests/contract/test_nats.py --every-level $(ARGS)

compliance: $(STAMP) ## Run the acceptance suite on every backend, at every level; write docs/compliance.md
	$(PYTEST) tests/contract --every-level -q -p prism.testing.report --prism-report=build/compliance.json --prism-report-into=docs/compliance.md $(ARGS)

suite-selftest: $(STAMP) ## Run the acceptance suite on broken backends, each to be caught by its test; ARGS="PrefixesBleed"
	$(BIN)/python -m tests.selftest $(ARGS)

many-gateways: $(STAMP) ## Run three gateways on one Redis and one NATS with 10,000 increments, 2,000 races and long histories
	$(BIN)/python -m pytest -v tests/contract/many_gateways.py $(ARGS)

mutants: $(STAMP) ## Change our own code in one place at a time, to see which changes no test notices; ARGS="redis --sample 50"
	$(BIN)/python -m tests.mutants $(ARGS)

test-integration: tools ## Run real processes against one another
	$(PYTEST) tests/integration $(ARGS)

attack: $(STAMP) ## Attack servers and proxies, and judge what others notice; ARGS="--short --only NAME"
	$(BIN)/python -m tests.attack $(ARGS)

attack-short: $(STAMP) ## Run one attack of each kind, with limits that hold on a busy machine
	$(BIN)/python -m tests.attack --short

SECONDS ?= 600

soak: $(STAMP) ## Load three drivers with faults every few seconds, for SECONDS; memory must stay flat
	$(BIN)/python -m tests.attack.soak $(SECONDS)

test-example: $(STAMP) ## Install Prism and examples/driver-files as an outsider would, and test that
	$(PYTEST) tests/integration/outsiders $(ARGS)

clients: $(STAMP) ## Run unmodified Redis clients of other projects against servers; ARGS="--write" renews their table
	@command -v redis-benchmark >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends redis-tools >/dev/null; } || { echo "redis-cli and redis-benchmark are missing: on Debian, 'sudo apt install redis-tools' brings them" >&2; exit 1; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.clients $(ARGS)

matrix: $(STAMP) ## Run tests on every server, Python and set of dependencies; ARGS="--only redis7" for some
	$(BIN)/python -m tests.matrix $(ARGS)

matrix-short: $(STAMP) ## Run quick tests on the oldest and on the newest of everything
	$(BIN)/python -m tests.matrix --short $(ARGS)

# Processes that tests start are measured too. The pages are under htmlcov/.
COVERED := --cov --cov-report=html --cov-report=json:build/coverage.json

coverage: ## Run every test, print what they cover by package, and hold that to its floors
	$(MAKE) test ARGS="$(COVERED) --cov-report= $(ARGS)"
	$(BIN)/python -m tests.floors build/coverage.json

# What covers most in the least time: the floors hold with these alone. `make test` judges the results
# of the same tests; coverage makes them slow enough to miss a time limit now and then.
QUICKLY := tests/unit tests/integration/cli tests/integration/administration/test_commands.py \
  tests/integration/test_reloading.py \
  tests/contract/test_memstore.py::TestOverGrpc \
  $(patsubst %,tests/contract/test_%.py::TestInProcess,memstore sqlite redis redis_cluster nats)

coverage-floors: tools ## Hold the floors of coverage with the tests that cover most in the least time
	$(PYTEST) $(QUICKLY) --cov --cov-report= --cov-report=json:build/coverage.json $(ARGS) || [ $$? = 1 ]
	$(BIN)/python -m tests.floors build/coverage.json

coverage-acceptance-interfaces: ## What the acceptance suite covers on the embedded store
	$(MAKE) test-acceptance-interfaces ARGS="$(COVERED) --cov-report=term:skip-covered $(ARGS)"

coverage-integration: ## What real processes against one another cover
	$(MAKE) test-integration ARGS="$(COVERED) --cov-report=term:skip-covered $(ARGS)"

dashboard: $(STAMP) ## Write deploy/grafana/dashboard.json from its code
	$(BIN)/python -m deploy.grafana

observability-check: $(STAMP) ## Let a real Prometheus scrape every driver, and hold dashboard and alerts against it
	@command -v promtool >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus >/dev/null; } || { echo "promtool is missing: on Debian, 'sudo apt install prometheus' brings it" >&2; exit 1; }
	promtool check config deploy/prometheus/prometheus.yml
	promtool check config --syntax-only deploy/compose/prometheus.yml
	promtool test rules deploy/prometheus/tests/*.yml
	$(BIN)/python -m pytest -q tests/unit/deploy tests/monitoring/live.py $(ARGS)

page-check: $(STAMP) ## Look at the pages for people in Chromium
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || { echo "chromium is missing: on Debian, 'sudo apt install chromium' brings it" >&2; exit 1; }
	$(BIN)/python -m tests.chromium $(ARGS)

package: $(STATUS) ## Build wheel, sdist and the .proto files into dist/; install and run them in an empty environment
	$(BIN)/python -m tests.package $(ARGS)

release: package ## Build wheel, sdist and a bill of materials (CycloneDX) into dist/
	@rm -rf build/release && $(PYTHON) -m venv --without-pip build/release
	@$(BIN)/python -m pip --python build/release/bin/python install --quiet --require-hashes -r $(LOCKS)/server.txt
	@$(BIN)/python -m pip --python build/release/bin/python install --quiet --no-deps dist/*.whl
	@$(BIN)/cyclonedx-py environment build/release/bin/python --output-reproducible --output-file $$(ls dist/prism_kv-*.tar.gz | sed 's/\.tar\.gz$$/.cdx.json/')
	@ls dist

# Exact versions with hashes, for every platform and every Python that is supported.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-emit-index-url --custom-compile-command 'make lock'

lock: $(STAMP) ## Write the exact versions for the image and CI into deploy/locks
	$(COMPILE) pyproject.toml --extra jwt --extra nats --extra redis -o $(LOCKS)/server.txt $(ARGS)
	echo hatchling | $(COMPILE) - -o $(LOCKS)/build.txt $(ARGS)
	$(COMPILE) pyproject.toml --extra dev -o $(LOCKS)/development.txt $(ARGS)

docs: $(STAMP) $(STATUS) ## Build the documentation, strictly, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## Compare the speed with that of others, as ratios; ARGS="--only Get"
	@command -v h2load >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends nghttp2-client >/dev/null; } || { echo "h2load is missing: on Debian, 'sudo apt install nghttp2-client' brings it" >&2; exit 1; }
	@command -v redis-benchmark >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -qq -y --no-install-recommends redis-tools >/dev/null; } || echo "redis-benchmark is missing, and so are the rows of the Redis port: on Debian, 'sudo apt install redis-tools' brings it" >&2
	$(BIN)/python -m benchmarks $(ARGS)

check: lint types imports proto-check ## What a contributor runs: all that is quick
	$(PYTEST) tests/unit tests/contract -m "not slow" $(ARGS)

fmt: $(STAMP) ## Format the code, and fix what can be fixed automatically
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(STAMP) ## Check format and style, of tests, examples and benchmarks too
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

# Generated code runs with the protobuf of its protoc and with later ones: an old protoc, which would not
# install beside the protobuf of a server, lets applications have an old protobuf.
PROTOC := $(BIN)/uv run --quiet --isolated --no-project --python $(BIN)/python --with grpcio-tools==1.64.3 \
  python -m grpc_tools.protoc

proto: $(STATUS) ## Generate src/prism/v1 from proto/
	$(PROTOC) -I proto -I $(GOOGLEAPIS) --python_out=src --pyi_out=src $(PROTOS)

proto-check: $(STATUS) ## Lint proto/, compare it with the baseline, and see that src/prism/v1 is not stale
	$(BIN)/buf lint
	$(BIN)/buf breaking proto --against proto/baseline.binpb
	@mkdir -p build/proto && rm -rf build/proto/*
	@$(PROTOC) -I proto -I $(GOOGLEAPIS) --python_out=build/proto --pyi_out=build/proto $(PROTOS)
	@for fresh in build/proto/prism/v1/*; do \
	  cmp -s $$fresh src/prism/v1/$${fresh##*/} || { echo "src/prism/v1/$${fresh##*/} is stale: run 'make proto'" >&2; exit 1; }; done

proto-baseline: $(STATUS) ## Accept proto/ as the API from now on; goes with a CHANGELOG entry
	$(BIN)/buf build proto -o proto/baseline.binpb

ci: lint types imports proto-check test-in-ci matrix-short clients attack-short coverage-floors suite-selftest observability-check page-check package release lock docs ## What CI runs

clean: ## Remove everything that was made, coverage included
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
