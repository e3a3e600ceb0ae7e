# Every command of the repository. `make demo` shows it, `make test` proves it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# uv, where the setup had to install it; the rest runs from the environment that uv made.
export PATH := $(PATH):$(CURDIR)/.tools/uv/bin
bin := .venv/bin

# Rings of tests that `make test` runs, and in how many processes.
TESTS ?= tests
JOBS ?= auto

.PHONY: help
help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup:  ## Install what demo, up and test need (uv, Python packages, ffmpeg, PgBouncer, Chromium)
	@services/local/setup.sh test

.PHONY: demo
demo: setup-run  ## Start the platform and publish a sample lecture, or VIDEO=my.mp4
	@$(bin)/academy demo $(if $(VIDEO),"$(VIDEO)")

.PHONY: up
up: setup-run  ## Start the platform
	@$(bin)/academy up

.PHONY: down
down:  ## Stop the platform; its data folder .academy/ stays
	@if [ -x $(bin)/academy ]; then $(bin)/academy down; fi

.PHONY: check
check: setup  ## Formatting, lint, architecture, types
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/lint-imports
	MYPYPATH=tests $(bin)/mypy

.PHONY: test
test: check  ## check, then all tests but those of `make e2e`, with their coverage gates
	$(bin)/pytest -n $(JOBS) --maxprocesses=4 --dist worksteal --cov --cov-report= --coverage-gate --ignore=tests/e2e $(TESTS)

.PHONY: previous-release
previous-release: setup  ## The previous release's API tests on this version's schema
	@$(bin)/python tests/previous_release.py

.PHONY: e2e
e2e: setup-e2e  ## The platform and its operator on a real Kubernetes (the first time compiles it: half an hour)
	ACADEMY_E2E=1 $(bin)/pytest -n $(JOBS) --maxprocesses=2 --dist loadgroup --durations=5 --timeout=3600 tests/e2e/operator tests/e2e/charts
	ACADEMY_E2E=1 $(bin)/pytest -n 0 -v -s --timeout=3600 tests/e2e/cluster tests/e2e/images tests/e2e/platform

.PHONY: cluster-up
cluster-up: setup-e2e  ## Start a Kubernetes with KEDA on this machine, no Docker needed
	@PYTHONPATH=tests $(bin)/python -m cluster up

.PHONY: cluster-down
cluster-down: setup-e2e  ## Stop it; only its cache stays
	@PYTHONPATH=tests $(bin)/python -m cluster down

.PHONY: soak
soak: setup-e2e  ## The drills in full length: hours
	ACADEMY_SOAK=1 $(bin)/pytest -n $(JOBS) --maxprocesses=4 -m slow $(TESTS)
	ACADEMY_SOAK=1 ACADEMY_E2E=1 $(bin)/pytest -n 0 -s --timeout=14400 tests/e2e

.PHONY: setup-e2e
setup-e2e:
	@services/local/setup.sh e2e

.PHONY: bench
bench: setup  ## One benchmark: make bench NAME=ledger_sql ARGS="--rounds 1"
	@PYTHONPATH=tests $(bin)/python tests/bench/$(NAME).py $(ARGS)

.PHONY: setup-run
setup-run:
	@services/local/setup.sh run
