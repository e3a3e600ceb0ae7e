# Every command of the repository. `make demo` shows it, `make test` proves it.
SHELL := /bin/bash

.PHONY: check
check:  ## Formatting, lint, architecture, types
	uv run --frozen --extra dev ruff format --check .
	uv run --frozen --extra dev ruff check .
	uv run --frozen --extra dev lint-imports
	MYPYPATH=tests uv run --frozen --extra dev mypy
