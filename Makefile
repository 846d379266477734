# `make` lists the targets. The first call of a target installs its requirements into .venv; later calls skip the set-up.
PYTHON ?= python3.11
K ?= 5
FOLDS ?= 5
TRIALS ?= 20
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Values go to Python through the environment: `value` keeps make from running $(shell …) in them, and the recipes' double
# quotes keep the shell from reading them as code.
VALUES := AGAINST NAME K FOLDS TRIALS SET RAY PORT TO PRIVATE PULL
$(foreach name,$(VALUES),$(eval override $(name) := $$(value $(name))))
export $(VALUES)

.DEFAULT_GOAL := help
.PHONY: help repro pull push test test-cluster lint format gate report recipe learning-curve seeds folds search variations serve publish cluster readme bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/runtime .dvc/plots.html ## run the pipeline and compare the fine-tuned model with every baseline
	@python -m finetune.preflight
	@if [ -n "$$PULL" ]; then python -m finetune.share check; fi
	@dvc --wait-for-lock repro $${PULL:+--pull}
	@python -m finetune.summary

pull: .venv/publish ## fetch from the DVC remote what colleagues ran; then `make repro PULL=1` runs none of it again
	@python -m finetune.share pull

push: .venv/publish ## send the results of all runs to the DVC remote
	@python -m finetune.share push

test: .venv/development lint ## lint, then run all tests
	@pytest

test-cluster: .venv/development .venv/cluster ## run the tests that need Ray
	@pytest -n 0 tests/cluster

lint: .venv/development ## check style and format
	@ruff check .
	@ruff format --check .

format: .venv/development ## fix style and format
	@ruff check --fix .
	@ruff format .

gate: .venv/runtime ## compare metrics/ with the thresholds in params.yaml; AGAINST=main also compares with that branch
	@python -m finetune.gate $${AGAINST:+"--against=$$AGAINST"}

report: .venv/runtime ## write report.html about the last run; AGAINST=main compares it with that branch
	@python -m finetune.report $${AGAINST:+"--against=$$AGAINST"}

recipe: .venv/runtime ## put a recipe into params.yaml: make recipe NAME=imdb-distilbert
	@python -m finetune.recipe -- "$$NAME"

learning-curve: .venv/runtime ## train on 64, 250, 500, … all rows and plot the score
	@python -m finetune.learning_curve

seeds: .venv/runtime ## train with several seeds and report the spread of the scores: make seeds K=5
	@python -m finetune.seeds -- "$$K"

folds: .venv/runtime ## cross-validate, for few rows: every row is tested once: make folds FOLDS=5
	@python -m finetune.cross_validation -- "$$FOLDS"

search: .venv/search ## try other settings with Optuna and propose the best: make search TRIALS=20
	@python -m finetune.search $${RAY:+"--ray=$$RAY"} -- "$$TRIALS"

variations: .venv/runtime ## train with a list of other settings: make variations SET=train.lr=1e-5,3e-5,1e-4
	@python -m finetune.variations $${RAY:+"--ray=$$RAY"} "-S$$SET"

serve: .venv/runtime ## serve the exported model over HTTP, with a page to try it: make serve PORT=8001
	@python -m finetune.serve $${PORT:+"--port=$$PORT"}

publish: .venv/publish ## publish the exported model to TO=hf://owner/name, s3://bucket/key or a folder, if the gate passes
	@python -m finetune.publish $${PRIVATE:+--private} -- "$$TO"

cluster: .venv/cluster ## install Ray, for `--ray`, on a machine of a cluster
	@:

readme: .venv/development ## update the docs (numbers, picture, list of modules) from the default run
	@python -m docs.readme

bench: .venv/development ## measure speed and memory against a baseline or the hardware's limit
	@python -m benchmarks

clean: ## remove .venv; data, models and DVC's cache stay
	@rm -rf .venv

# An interrupted set-up leaves no stamp, so the next call repeats it.
.venv/runtime: requirements.txt requirements-export.txt requirements-report.txt requirements-serve.txt constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or name yours: make PYTHON=python3" >&2; exit 1; }
	@echo "Installing the pinned versions into .venv (some minutes, once)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt -r requirements-export.txt -r requirements-report.txt -r requirements-serve.txt -c constraints.txt
	@touch $@

# The page contains the chart libraries, so `dvc plots show` needs no network.
.dvc/plots.html: .venv/runtime
	@python -m finetune.plots_page

.venv/publish: .venv/runtime requirements-publish.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-publish.txt -c constraints.txt
	@touch $@

.venv/search: .venv/runtime requirements-search.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-search.txt -c constraints.txt
	@touch $@

# Work on a cluster mostly reads and writes S3.
.venv/cluster: .venv/publish requirements-cluster.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-cluster.txt -c constraints.txt
	@touch $@

.venv/development: .venv/publish .venv/search requirements-dev.txt
	@.venv/bin/python -m pip install --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@
