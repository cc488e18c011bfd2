# make demo   the synthetic world, from mp4 files to tables, says at its start how long; make demo-all: all 33 tables
# make test   everything the tests check; make quick: the part that takes two minutes; make quick PKG=tables: one package
# make mlflow browse the runs;  make check  lint and format;  make clean-demo  forget the demo's results

.DEFAULT_GOAL := help
.PHONY: help install demo demo-all demo-fair test quick test-slurm check docs mlflow clean-demo
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || echo 2)
STAMP := $(VENV)/.petvr-installed
SCHED := $(if $(filter-out 0 1,$(CORES)),-n $(CORES) --dist loadgroup,)
PACKAGES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/*/test_*.py)))))
# two more than there are cores: tests on the two private Slurms mostly wait
SCHED_MORE := $(if $(filter-out 0 1,$(CORES)),-n $(shell expr $(CORES) + 2) --dist loadgroup,)

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml src/snakemake_executor_plugin_submitit/pyproject.toml envs/constraints.txt envs/install.sh
	@VENV=$(VENV) envs/install.sh
	@touch $@

install: $(STAMP) ## create .venv with the pinned packages

demo: $(STAMP) ## generate the synthetic world, train, and print the tables
	$(BIN)/petvr warm $(BIN)/snakemake --profile demo --cores $(CORES) all_tables all_figures site
	@$(BIN)/petvr -c demo summary

demo-all: $(STAMP) ## all tables of the four papers on the synthetic world, every implemented row
	$(BIN)/petvr warm $(BIN)/snakemake --profile demo --cores $(CORES) \
		--configfile workflow/demo.yaml workflow/demo_all.yaml -- all_tables all_figures site
	@$(BIN)/petvr -c demo -c workflow/demo_all.yaml summary

demo-fair: $(STAMP) ## six methods under one protocol on the synthetic world, their rates tuned on validation
	$(BIN)/petvr warm $(BIN)/snakemake --profile demo --cores $(CORES) --configfile workflow/demo_fair.yaml -- \
		all_tables all_figures site
	@$(BIN)/petvr -c workflow/demo_fair.yaml summary

test: $(STAMP) ## all tests; those on a private Slurm only where there is one (tests/cluster/install.sh brings it)
	$(BIN)/python -m pytest $(SCHED_MORE)

quick: $(STAMP) ## a subset in two minutes: no whole workflows, not the contract of every method; PKG=tables: tests/tables alone
	@test -z "$(PKG)" || test -d "tests/$(PKG)" || { echo "PKG=$(PKG): no such tests; allowed: $(PACKAGES)" >&2; exit 2; }
	$(BIN)/python -m pytest $(SCHED) -m "not slow and not slurm and not real_geometry" \
		$(if $(PKG),tests/$(PKG),--ignore tests/methods --ignore tests/workflow)

test-slurm: $(STAMP) ## of these, only the executor on a private Slurm
	$(BIN)/python -m pytest tests/cluster -m slurm

check: $(STAMP) ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(STAMP) ## write docs/methods.md, docs/papers.md and docs/probes.md anew from the code
	$(BIN)/petvr docs

mlflow: $(STAMP) ## open MLflow on loopback (CONFIG=demo shows the demo's runs)
	$(BIN)/petvr $(if $(CONFIG),-c $(CONFIG)) mlflow

clean-demo: ## remove results/demo
	rm -rf results/demo
