# Every target sets up what it needs in .venv, from nothing but make and Python 3.11 or newer.
# It does so once, and again when a lock or pyproject.toml changes.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: demo test oldest ui check bench soak pictures lock clean help
export PYTHON

BIN := .venv/bin
RUNTIME := .venv/.runtime
TOOLS := .venv/.tools
OLDEST := .venv/oldest/.ready
ARGS ?=
SHORT := peers --records 2000 --contestants loom loom:dagster aiohttp litellm

demo: $(RUNTIME) ## Run both example pipelines, offline and free of charge
	@$(BIN)/loom run customer_sentiment review_insights
	@echo
	@echo "What passed          data/out/sentiment_scores.parquet, data/out/review_insights.csv"
	@echo "What did not, and why  $(BIN)/loom quarantine list customer_sentiment"
	@echo "Assets and checks    make ui"
	@echo "The pipelines        pipelines/*.yaml; edit one, then: $(BIN)/loom validate"
	@echo "A real model         export LOOM_MODEL=openai/gpt-4o-mini OPENAI_API_KEY=..., then make demo again"

test: $(TOOLS) ## Run all tests (ARGS="tests/spec -k gate" for some)
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

oldest: $(OLDEST) ## Run what speaks to Dagster with the oldest version that is allowed
	@$(dir $(OLDEST))bin/python -m pytest -n 2 --dist worksteal tests/assets tests/journeys/test_dagster_on_postgres.py $(ARGS)

ui: $(RUNTIME) ## Open Dagster's UI on this project
	@$(BIN)/loom ui

check: $(TOOLS) ## Lint, types, import directions, generated docs
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python docs/generate.py --check

bench: $(RUNTIME) ## Measure side by side, a few minutes (ARGS="must-hold --repeats 3" for more)
	@$(BIN)/python -m benchmarks.compare $(if $(ARGS),$(ARGS),$(SHORT))

soak: $(TOOLS) ## Half an hour of arrivals, kills and outages, and then the books (ARGS="--minutes 3")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

pictures: $(TOOLS) ## Take the pictures of docs/images anew; needs chromium
	@$(BIN)/python -m docs.pictures

lock: $(TOOLS) ## Resolve pyproject.toml anew into the two locks
	@$(BIN)/python .ci/lock.py

clean: ## Remove .venv, .loom and everything that was made
	rm -rf .venv .loom data/out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUNTIME): requirements.lock pyproject.toml
	@.ci/venv requirements.lock
	@touch $@

$(TOOLS): $(RUNTIME) requirements-dev.lock
	@.ci/venv requirements-dev.lock
	@touch $@

$(OLDEST): $(TOOLS) .ci/oldest.txt
	@.ci/oldest
	@touch $@
