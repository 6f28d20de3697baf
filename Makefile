# Two commands are all that a new machine needs: `make demo` and `make test`.
SHELL := /bin/bash
# The first that runs (a pyenv shim may not) and can make environments (Debian's python3 alone can't).
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
# uv takes a tenth of pip's time. It does not read pip's settings: the index is handed to it. What it can't do, pip does.
INSTALL = index=$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}; \
	{ $(PIP) uv==0.13.9 && $(BIN)/uv pip install --quiet --python $(BIN)/python $${index:+--default-index "$$index"} $(1); } \
	|| $(PIP) $(1)
READY := .venv/.ready
TOOLS := .venv/.tools
RUNS ?= 20
HISTORIES ?= 1000
LOCK_HISTORIES ?= 2000
EXPORT_STEPS ?= 1
EXPORT_HISTORIES ?= 1000
# What `make check` tests, and `make test` does not.
OF_CHECK := tests/docs tests/infra tests/cli/test_installed.py

# Tests start many processes: without byte code on the disk, each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo dev test test-sql-server check bench browser-test focus-validate crash-test format lock audit sbom clean
.DEFAULT_GOAL := help

help: ## What there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its module venv is needed, and none was" \
		"found (on Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@echo "Setting up .venv with $(PYTHON) …"
	@# Under the same Python, other pins are a matter of what differs, and not of minutes.
	@[ "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V)" ] || rm -rf .venv
	@# Azurite comes meanwhile, to those that need it, where there is Node. What fails of it they try again, and tell.
	@$(if $(filter demo dev test,$(MAKECMDGOALS)),$(PYTHON) -m localdev.azurite --install --if-node >/dev/null &) \
		$(PYTHON) -m venv .venv && { $(call INSTALL,-r requirements.txt); }; code=$$?; wait; exit $$code
	@touch $(READY)

# What only developing needs.
$(TOOLS): $(READY) requirements-dev.txt
	@$(call INSTALL,-r requirements-dev.txt)
	@touch $(TOOLS)

demo: $(READY) ## Two nights over a dozen sample projects, and a lock at 100 %
	@$(BIN)/python -m localdev.demo

dev: $(READY) ## Keeps the demo's parts running, for trying things by hand
	@$(BIN)/python -m localdev.demo --keep

test: $(TOOLS) ## The tests of the app (those of its docs, its package and infra/ are a part of `make check`)
	@$(BIN)/python -m localdev.azurite --install
	@# Once, or each of the workers would compile all tests.
	@test -e .venv/.compiled || $(BIN)/python -m pytest -q --collect-only $(OF_CHECK:%=--ignore %) tests >/dev/null \
		&& touch .venv/.compiled & \
		$(BIN)/python -m localdev.worker_venv; code=$$?; wait; exit $$code
	@# One more than the two cores that there are at least: many tests wait for programs.
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(OF_CHECK:%=--ignore %) tests

check: $(TOOLS) ## Style, types, who may import whom, the docs, the package, and infra/ (where a Bicep compiler is)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup $(OF_CHECK)
	@$(BIN)/python -m localdev.bicep

bench: $(TOOLS) ## The figures of docs/benchmarks.md, measured here
	@$(BIN)/python -m localdev.azurite --install
	@$(BIN)/python -m benchmarks

browser-test: $(TOOLS) ## The pages in Chromium (Debian: apt install chromium), by Playwright and axe-core, which it installs
	@$(call INSTALL,playwright==1.65.2)
	@REQUIRE_BROWSER=1 $(BIN)/python -m pytest -q tests/web/pages/test_browser.py

focus-validate: $(TOOLS) ## FOCUS files by the official validator (where Python 3.12 is; 650 MB), or FILE=october.parquet
	@$(BIN)/python -m localdev.focus_validator $(FILE)

test-sql-server: $(TOOLS) ## What concerns the database, on the SQL Server that TEST_MSSQL_URL names, or on the stand-in
	@$(BIN)/python -m localdev.azurite --install
	@# A server has one database for all the tests: one at a time.
	@TEST_DATABASE=mssql $(BIN)/python -m pytest $(if $(TEST_MSSQL_URL),,-n 3 --dist loadgroup) -k "mssql or (chain or pipeline)" \
		tests/contracts tests/adapters/database tests/pipeline tests/chain

crash-test: $(TOOLS) ## Slow tests; kills the host at random moments, RUNS=20 nights; the app in HISTORIES=1000 odd ones, LOCK_HISTORIES=2000 of locks, EXPORT_HISTORIES=1000 of exports
	@$(BIN)/python -m localdev.azurite --install
	@EVERY_CASE=1 CRASH_RUNS=$(RUNS) $(BIN)/python -m pytest -q -s tests/chain/test_crashes.py tests/chain/test_lock_crashes.py tests/chain/test_exports.py \
		tests/localdev/test_demo_secrets.py
	@EVERY_CASE=1 $(BIN)/python -m pytest -q -n 2 -m "slow or one_database" tests/adapters/database tests/contracts tests/pipeline
	@EVERY_CASE=1 $(BIN)/python -m pytest -q -n 2 -k "every_combination or steps or any_history or life" tests/pipeline/test_lock.py \
		tests/pipeline/test_lock_steps.py tests/pipeline/test_any_history.py tests/contracts/test_budget_life.py
	@EXPORT_STEPS=$(EXPORT_STEPS) $(BIN)/python -m pytest -q tests/pipeline/test_export_crashes.py
	@HISTORIES=$(HISTORIES) $(BIN)/python -m pytest -q -n 2 -k "nights_after or counts_once" tests/pipeline/test_many_histories.py \
		tests/pipeline/test_who_feeds.py
	@LOCK_HISTORIES=$(LOCK_HISTORIES) $(BIN)/python -m pytest -q -n 2 tests/pipeline/test_many_lock_histories.py
	@EXPORT_HISTORIES=$(EXPORT_HISTORIES) $(BIN)/python -m pytest -q -n 2 tests/contracts/test_export_histories.py

format: $(TOOLS) ## Puts the code into shape
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock: $(TOOLS) ## Pins what pyproject.toml asks for
	@$(PIP) uv==0.13.9
	@$(BIN)/uv pip compile pyproject.toml --universal --no-header --no-annotate --quiet -o requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --universal --extra dev -c requirements.txt --no-header --no-annotate --quiet -o requirements-dev.txt

audit: ## Whether a vulnerability is known of a package that is pinned (asks the internet)
	@test -n "$(PYTHON)" && test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit \
		&& .venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@# Strict: a package of which nobody could be asked is no good news.
	@for file in $$(git ls-files '*requirements*.txt'); do echo "$$file"; \
		.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement "$$file" || failed=1; \
	done; exit $${failed:-0}

sbom: $(TOOLS) ## The bill of materials of what is deployed, in build/sbom.json
	@$(BIN)/python -m localdev.sbom

clean: ## Takes away everything that was made here; asks before a database goes
	rm -rf .venv .venv-* .azurite .mypy_cache .ruff_cache .hypothesis build *.egg-info
	@kept=$$(grep -rls --binary-files=text '^SQLite format 3' .local); \
	if [ -n "$$kept" ]; then \
		echo "$$kept"; read -r -p "Delete .local, with this? [y/N] " answer; \
		case "$$answer" in [yY]|[yY]es) ;; *) echo "Kept .local."; exit 0;; esac; \
	fi; rm -rf .local
