# Sets up an environment, then calls Snakemake, pytest or the benchmark; nothing else lives here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := envs/requirements/workflow.txt
TEST_REQUIREMENTS := envs/requirements/tests.txt
DOCS_REQUIREMENTS := envs/requirements/docs.txt
BENCH_REQUIREMENTS := envs/requirements/bench.txt
CRATES_REQUIREMENTS := envs/requirements/crates.txt
CONSTRAINTS := envs/requirements/constraints.txt
# The cluster's tests wait most of the time. In the order of the folders, the longest first.
TWO_AT_A_TIME := --numprocesses 2 --dist loadgroup --no-loadscope-reorder --durations 20
PIP := $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS)

.PHONY: demo check test test-long golden docs bench envs pins

demo: $(VENV)/workflow.done
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local

# The fast lane: lint, types, import contracts, unit tests.
check: $(VENV)/tests.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	PYTHONPATH=workflow $(BIN)/lint-imports --no-cache
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest --numprocesses 2 --dist loadfile -m "not long and not slow" tests/unit

test: $(VENV)/tests.done $(VENV)/crates.done $(VENV)/docs.done
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest $(TWO_AT_A_TIME) -m "not long"

test-long: $(VENV)/tests.done $(VENV)/crates.done $(VENV)/docs.done
	PATH="$(CURDIR)/$(BIN):$$PATH" BLD_TEST_WHOLE_DEMO=1 python -m pytest $(TWO_AT_A_TIME)

# For changes that move and rename and are to compute the same: the numbers of the experiments in
# small form, here and at a base commit (GOLDEN_BASE), digit by digit. It prints "the same", or the
# files and columns that differ; with ARGUMENTS=--keep it leaves the folders. The first time both
# are run, in some eight minutes each; then the base is known.
golden: $(VENV)/tests.done
	PATH="$(CURDIR)/$(BIN):$$PATH" python tests/golden/golden.py $(ARGUMENTS)

# The pages of docs/, in site/; without a network.
docs: $(VENV)/docs.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/bench.done
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local \
		resources/models/teacher/manifest.json results/corpora/python_docs/validation/manifest.json \
		results/students/swapped/manifest.json \
		results/teachers/demo/python_docs/distillation/manifest.json
	for part in teacher_bytes training transfer scale; do \
		PYTHONPATH=workflow:tests OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false \
			$(BIN)/python benchmarks/$$part.py || exit 1; \
	done

# The environments of the cluster's jobs, made once where there is internet. torch's builds for GPUs
# are for machines with CUDA alone, and a login node may have none: the variable says which version
# the GPU nodes have (`nvidia-smi` knows).
envs pins: export CONDA_OVERRIDE_CUDA ?= 12.9

envs: $(VENV)/workflow.done
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile slurm --conda-create-envs-only

# Every package of every environment, as solved today, in files that Snakemake takes instead of
# solving (envs/*.pin.txt), even where the environment has been edited since. Other environments
# make every step run anew: pin before the first.
pins: $(VENV)/workflow.done
	rm -f envs/*.pin.txt
	$(MAKE) envs
	platform=$$(conda info --json | sed -n 's/.*"platform": "\([^"]*\)".*/\1/p'); \
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile slurm --list-conda-envs | grep '\.yaml' \
		| while read -r file folder; do \
			conda list --explicit --md5 --prefix "$$folder" > "$${file%.yaml}.$$platform.pin.txt" || exit 1; \
		done
	$(MAKE) envs

# torch comes first, so that what pip has chosen for this machine (a CPU build, say) is kept.
$(VENV)/workflow.done: $(REQUIREMENTS) $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "Setting up $(VENV): a minute or more, once."
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' $(REQUIREMENTS))"
	$(PIP) --requirement $(REQUIREMENTS)
	touch $@

$(VENV)/tests.done: $(VENV)/workflow.done $(TEST_REQUIREMENTS)
	$(PIP) --requirement $(TEST_REQUIREMENTS)
	touch $@

$(VENV)/docs.done: $(VENV)/workflow.done $(DOCS_REQUIREMENTS)
	$(PIP) --requirement $(DOCS_REQUIREMENTS)
	touch $@

$(VENV)/bench.done: $(VENV)/workflow.done $(BENCH_REQUIREMENTS)
	$(PIP) --requirement $(BENCH_REQUIREMENTS)
	touch $@

# RO-Crate's validator wants other versions of packages than the workflow does.
$(VENV)/crates.done: $(VENV)/workflow.done $(CRATES_REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)/crates
	$(VENV)/crates/bin/python -m pip install --quiet --requirement $(CRATES_REQUIREMENTS)
	touch $@
