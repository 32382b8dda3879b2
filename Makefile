# `make` alone says what there is. Everything is set up from a bare checkout: Python 3.11+ is all that must be there.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UNMASK_HOME ?= $(CURDIR)/.unmask
KEEP ?=
# Which order the tests come in: the same everywhere, so that one that passes here passes there. SEED=$RANDOM draws another.
SEED ?= 818954523
ROOT = $(filter 0,$(shell id -u))
SETUP := $(VENV)/.set-up

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports unit chaos images bench models clean lock schema system

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(SETUP) ## Run the main job end to end on embedded parts (KEEP=1: stay up afterwards)
	$(BIN)/unmask demo $(if $(KEEP),--keep)

test: $(SETUP) system models ## Every test: unit, contract, conformance, integration, browser, a short chaos run; as root the images too
	$(BIN)/python -m pytest tests/unit tests/contract tests/conformance tests/integration tests/browser tests/chaos $(if $(ROOT),tests/images) \
		--randomly-seed=$(SEED)
	@$(if $(ROOT),,echo "Left out, as they need root: the images (sudo make images)")

check: lint types imports unit ## What has to be green before a commit: lint, types, import rules, fast tests

lint: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(SETUP)
	$(BIN)/mypy pipeline

imports: $(SETUP)
	$(BIN)/lint-imports

unit: $(SETUP)
	$(BIN)/python -m pytest -q tests/unit tests/contract

chaos: $(SETUP) system models ## Break everything at random for ten minutes under load, on three brokers; writes docs/chaos.*
	$(BIN)/python -m tests.chaos.run --brokers 3 --minutes 10 --uploads 3000 --report docs

images: $(SETUP) ## Build the images of worker and console, and run them (as root; buildah and mmdebstrap come by apt)
	@bash .lock/system images $(PYTHON)
	$(BIN)/python -m pytest tests/images

bench: $(SETUP) system models ## Measure the targets and write docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks.run

models: $(SETUP) ## Assemble the Triton model repository
	$(BIN)/unmask models build

schema: $(SETUP) ## Write the JSON Schemas and the AsyncAPI document again
	$(BIN)/python -m pipeline.events.schema

lock: $(SETUP) ## Resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -q -o .lock/requirements.txt
	$(BIN)/uv pip compile .lock/bootstrap.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -q -o .lock/bootstrap.txt

clean: ## Remove what was built and fetched here
	rm -rf $(VENV) .unmask .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f models/*/1/model.onnx
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SETUP): pyproject.toml .lock/requirements.txt .lock/bootstrap.txt .lock/system
	bash .lock/system demo $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .lock/bootstrap.txt
	$(BIN)/uv pip install --quiet --require-hashes -r .lock/requirements.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

system: # What the tests need beside Python: Java 17 and Maven (Apache Kafka), ffmpeg (benchmark), Chromium (the console's pages), buildah
	@bash .lock/system test $(PYTHON)
