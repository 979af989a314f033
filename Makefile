# Two commands matter: `make demo` shows the gate at work, `make test` checks it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: ## Run the gate before a shop database, and say what to try
	@scripts/venv.sh demo
	@$(BIN)/python -m taskgate.demo

.PHONY: demo-tour
demo-tour: ## Try every outcome without a person; fail if one is not as promised
	@scripts/venv.sh demo
	@$(BIN)/python -m taskgate.demo tour

.PHONY: demo-clean
demo-clean: ## Remove the demo's database, recordings and state
	@scripts/demo-clean.sh

.PHONY: setup
setup: ## Make .venv with everything development needs
	@scripts/venv.sh dev

.PHONY: lint
lint: setup ## Style, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ruff check --config scripts/sans-io.toml --no-cache \
	  src/taskgate/protocols src/taskgate/sql src/taskgate/policy src/taskgate/masking
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: setup ## Lint, then every test against real servers
	@scripts/system-packages.sh postgresql-15 openssh-server openssh-client rsync git \
	  ansible-core putty-tools
	@{ command -v node && command -v npm; } >/dev/null || scripts/system-packages.sh nodejs npm
	@scripts/system-packages.sh simplesamlphp php-cli php-xml php-mbstring \
	  chromium chromium-driver
	@$(MAKE) lint
	@scripts/pytest.sh

.PHONY: format
format: setup ## Lay the code out as lint wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

BENCH = $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
.PHONY: bench
bench: setup ## Measure the gate beside other ways; QUICK=1 takes minutes, ONLY=ssh one part
	@scripts/system-packages.sh postgresql-15 pgbouncer openssh-server openssh-client rsync
	@if scripts/compile.sh; then \
	  $(BIN)/python -m bench --compiled build/compiled $(BENCH); \
	else $(BIN)/python -m bench $(BENCH); fi

.PHONY: compile
compile: setup ## Compile the hot modules into build/compiled (needs a C compiler)
	@scripts/compile.sh
	@echo "PYTHONPATH=$$PWD/build/compiled .venv/bin/taskgate ... runs with them"

.PHONY: test-drivers
test-drivers: setup ## psycopg's and asyncpg's own suites, direct and through the gate
	@scripts/system-packages.sh postgresql-15
	@$(BIN)/python -m tests.drivers

.PHONY: test-long
test-long: setup ## The tests that take minutes
	@scripts/system-packages.sh postgresql-15
	@scripts/pytest.sh -m long

.PHONY: test-explore
test-explore: setup ## The property tests on examples that nobody has tried yet
	@TASKGATE_HYPOTHESIS=explore scripts/pytest.sh $$(grep -rl 'from hypothesis' tests)

.PHONY: clean-room
clean-room: ## demo-tour and test in a fresh Debian 12 (root only)
	@scripts/clean-room.sh
