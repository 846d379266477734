# `make` lists the targets. The first call of one installs what it needs into .venv; later calls do no set-up.
PYTHON ?= python3.11
K ?= 5
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro test lint format gate report recipe learning-curve seeds serve publish readme bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/runtime .dvc/plots.html ## run the pipeline and print the fine-tuned model beside every baseline
	@python -m finetune.base.params
	@dvc repro
	@python -m finetune.summary

test: .venv/development lint ## lint, then run all tests
	@pytest

lint: .venv/development ## check style and format
	@ruff check .
	@ruff format --check .

format: .venv/development ## mend style and format
	@ruff check --fix .
	@ruff format .

gate: .venv/runtime ## compare metrics/ with the thresholds in params.yaml, with AGAINST=main also with that branch
	@python -m finetune.gate $(if $(AGAINST),--against '$(AGAINST)')

report: .venv/runtime ## write report.html about the last run, with AGAINST=main beside that branch
	@python -m finetune.report $(if $(AGAINST),--against '$(AGAINST)')

recipe: .venv/runtime ## put a recipe into params.yaml: make recipe NAME=imdb-distilbert
	@python -m finetune.recipe $(NAME)

learning-curve: .venv/runtime ## train on 250, 500, … all rows and draw how the score grows
	@python -m finetune.learning_curve

seeds: .venv/runtime ## train with several seeds and tell how far the scores differ: make seeds K=5
	@python -m finetune.seeds $(K)

serve: .venv/runtime ## answer over HTTP with the exported model, and try it in a browser: make serve PORT=8001
	@python -m finetune.serve $(if $(PORT),--port '$(PORT)')

publish: .venv/publish ## send the exported model to TO=hf://owner/name, s3://bucket/key or a folder, if the gate holds
	@python -m finetune.publish '$(TO)' $(if $(PRIVATE),--private)

readme: .venv/development ## renew README's numbers, picture and list of modules from the default run
	@python -m docs.readme

bench: .venv/development ## measure speed and memory beside what bounds them
	@python -m benchmarks

clean: ## remove .venv; data, models and DVC's cache stay
	@rm -rf .venv

# A set-up that was broken off leaves no stamp, so it is done again.
.venv/runtime: requirements.txt requirements-export.txt requirements-report.txt requirements-serve.txt constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or name yours: make PYTHON=python3" >&2; exit 1; }
	@echo "Installing the pinned versions into .venv (some minutes, once)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt -r requirements-export.txt -r requirements-report.txt -r requirements-serve.txt -c constraints.txt
	@touch $@

# With the chart libraries in it, so that `dvc plots show` needs no network.
.dvc/plots.html: .venv/runtime
	@python -m finetune.plots_page

.venv/publish: .venv/runtime requirements-publish.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-publish.txt -c constraints.txt
	@touch $@

.venv/development: .venv/publish requirements-dev.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@
