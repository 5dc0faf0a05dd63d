# Sets up an environment, then calls Snakemake, pytest or the benchmark; nothing else lives here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := envs/requirements/workflow.txt
TEST_REQUIREMENTS := envs/requirements/tests.txt
BENCH_REQUIREMENTS := envs/requirements/bench.txt
CONSTRAINTS := envs/requirements/constraints.txt
PIP := $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS)

.PHONY: demo test test-long bench

demo: $(VENV)/workflow.done
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local

test: $(VENV)/tests.done
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -m "not long"

test-long: $(VENV)/tests.done
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest

bench: $(VENV)/bench.done
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local \
		resources/models/teacher/manifest.json results/corpora/python_docs/validation/manifest.json \
		results/students/swapped/manifest.json \
		results/teachers/demo/python_docs/distillation/manifest.json
	for part in teacher_bytes training; do \
		PYTHONPATH=workflow OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false \
			$(BIN)/python benchmarks/$$part.py || exit 1; \
	done

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

$(VENV)/bench.done: $(VENV)/workflow.done $(BENCH_REQUIREMENTS)
	$(PIP) --requirement $(BENCH_REQUIREMENTS)
	touch $@
