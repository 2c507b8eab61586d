# Every way to set up, run and prove Regatta. `make help` lists them.

PYTHON ?= python3
PY = .venv/bin/python
STAMP = .venv/.stamp
TORCH = torch==2.13.0
QUIET = --quiet --disable-pip-version-check

.DEFAULT_GOAL = help
.PHONY: help setup demo up doctor test check unit bench openapi lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## install everything into .venv; again only after a change of what is pinned

# torch goes first, so that nothing else chooses a build with the libraries of GPUs.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Regatta needs Python 3.11 or later; say which: make PYTHON=python3.11'; exit 1; }
	@echo 'Setting up .venv, some minutes the first time ...'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install $(QUIET) -c requirements.lock $(TORCH)
	$(PY) -m pip install $(QUIET) -c requirements.lock -e '.[local,dev]'
	@touch $(STAMP)

demo: $(STAMP) ## start the portal and train a small model on a local cluster (EXIT=1: then stop)
	$(PY) -m regatta.cli demo $(if $(EXIT),--exit)

up: $(STAMP) ## run the portal until Ctrl-C
	$(PY) -m regatta.cli up

doctor: $(STAMP) ## check the set-up and the data
	$(PY) -m regatta.cli doctor

# The browser's driver keeps an event loop running, so its tests have a process of their own.
test: check ## all gates and all tests
	$(PY) -m pytest --ignore=tests/bench --ignore=tests/browser
	$(PY) -m pytest tests/browser

check: $(STAMP) ## the gates: ruff, mypy, import-linter, migrations
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) .venv/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run

unit: $(STAMP) ## the tests that touch nothing, for every save
	$(PY) -m pytest --quiet tests/unit

bench: $(STAMP) ## every measurement, one JSON line each
	@for file in tests/bench/bench_*.py; do $(PY) "$$file" || exit 1; done

bench-%: $(STAMP) ## one of them: tests/bench/bench_<name>.py
	@$(PY) tests/bench/bench_$*.py

openapi: $(STAMP) ## write the API's contract, whose diff is what a change of the API is
	$(PY) manage.py export_openapi_schema --api apps.config.api.api --indent 1 --sorted \
	  --output tests/integration/api/openapi.json

lock: ## pin the newest versions that pyproject.toml allows
	rm -rf .venv/lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install $(QUIET) $(TORCH)
	.venv/lock/bin/python -m pip install $(QUIET) '.[local,dev]'
	.venv/lock/bin/python -m pip freeze --exclude regatta > requirements.lock
	rm -rf .venv/lock

clean: ## remove .venv and caches; data under .regatta stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
