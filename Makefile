# Two commands matter: `make demo` shows the main job on a real cluster, `make test` runs every test. Both set up what
# they need: Linux, root, Python 3.11, Go and make are all that must be there.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp-$(shell cat requirements/dev.txt pyproject.toml | sha256sum | cut -c1-16)

.PHONY: setup demo down test test-fast lint bench bench-rollout bench-scaling generate lock clean

setup: $(STAMP)

# The hashed lock decides every package; the project itself is installed in place, with the locked build backend.
$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml
	@echo "== setting up $(VENV) =="
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/.stamp-*
	touch $@

demo: setup
	@$(BIN)/python -m examples.digits.demo

down: setup
	@$(BIN)/python -m devcluster down --name demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: lint
	$(BIN)/pytest tests/unit tests/property tests/envoy

# Two workers: tests/conftest.py says which tests share one.
test: lint
	$(BIN)/pytest tests -n 2

# What is compared with lives in an environment of its own.
$(VENV)/bench/.stamp: requirements/bench.txt $(STAMP)
	$(PYTHON) -m venv $(VENV)/bench
	$(BIN)/uv pip sync --python $(VENV)/bench/bin/python --require-hashes requirements/bench.txt
	touch $@

bench: setup $(VENV)/bench/.stamp
	$(BIN)/python -m tests.bench.exports
	$(BIN)/python -m tests.bench.stores $(VENV)/bench/bin/python

# Rollouts by the thousand, ours beside the published rules of others: about 40 minutes.
bench-rollout: setup
	$(BIN)/python -m tests.bench.rollout.rollout_table --runs 2000

# Scaling policies beside the optimum, 42 traces of six hours: about 40 minutes of two cores.
bench-scaling: setup
	$(BIN)/python -m tests.bench.scaling.scaling_table --seeds 3

# Everything that is generated from something else in this repository.
generate: setup
	$(BIN)/tidegate crd > crds/modeldeployments.tidegate.dev.yaml
	$(BIN)/python -m charts.generate

LOCK := $(BIN)/uv pip compile --quiet pyproject.toml --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock:
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(LOCK) --extra operator --output-file requirements/operator.txt
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(LOCK) --extra store --extra oci --extra sign \
		--output-file requirements/packager.txt
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(LOCK) --extra observer --output-file requirements/observer.txt
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(LOCK) --group dev --extra operator --extra torch --extra sklearn \
		--extra xgboost --extra lightgbm --extra keras --extra mlflow --extra oci --extra sign --extra observer \
		--extra simulate --output-file requirements/dev.txt
	env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --group pyproject.toml:bench \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --output-file requirements/bench.txt
	grep -A200 '^uv==' requirements/dev.txt | awk 'NR>1 && /^[a-z]/{exit} {print}' > requirements/uv.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
