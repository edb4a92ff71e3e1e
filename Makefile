# make demo    set up, train two methods on the embedded corpus, compare them, also as report.html; rerun: trains nothing
# make test    set up, then run all tests
# make test-chaos   kill processes at random moments; N=500: so many drawn kills alone; ONLY=137: one; test-all: all tests
# make test-matrix   the tests that touch Ray, torch and transformers, with the oldest and the newest versions allowed
# make check   ruff, ruff format, mypy --strict, pytest: required for every change
# make leaderboard     run what is missing of jobs/leaderboard/full.yaml (days), and write docs/leaderboard.md; SMALL=1: hours
# make bench   measure speed; nothing is asserted
# make bench-scale  count the requests and dollars of 1,000 trials in a bucket
# make docs    build the documentation site into site/; fails on a warning
# make audit   the site in a headless browser: axe-core (by npm), requests to elsewhere, widths, colour schemes
# make clean   remove environments and caches, but not the store
#
# PYTHON=python3.12 selects the interpreter of the environments; TEST_PROCESSES=4 runs as many files of tests at once.

PYTHON ?= python3
BIN := .venv/bin
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

export RAY_USAGE_STATS_ENABLED ?= 0
export RAY_TRAIN_HEALTH_CHECK_INTERVAL_S ?= 0.2
export TOKENIZERS_PARALLELISM ?= false
test test-chaos check bench: export HF_HUB_OFFLINE = 1

.PHONY: demo docs test test-chaos test-all test-matrix test-versions check leaderboard leaderboard-page bench bench-scale audit clean

demo: .venv/ready
	$(BIN)/raycner run jobs/demo.yaml method.name=finetuning
	$(BIN)/raycner run jobs/demo.yaml
	$(BIN)/raycner report
	$(BIN)/raycner report --html report.html

test: .venv/ready-dev .venv-swift/ready
	$(PYTEST)

test-chaos: .venv/ready-dev .venv-swift/ready
	RAYCNER_DRILLS=$(N) RAYCNER_DRILL_ONLY=$(ONLY) \
		$(BIN)/python -m pytest -m chaos $(if $(N)$(ONLY),tests/drills/test_drawn_drills.py,tests/drills tests/test_fuzz_*.py)

test-all: test test-chaos

# The oldest and the newest versions that pyproject.toml allows, each in an environment of its own. The oldest are written
# out; the newest are what pip finds without constraints.
OLDEST = ray==2.60.0 torch==2.13.0 transformers==5.0.0
MATRIX_TESTS = tests/test_encoders.py tests/test_encoder_families.py tests/test_heads.py tests/test_export.py tests/test_plan.py \
	tests/test_ray.py

test-matrix:
	$(MAKE) test-versions ENVIRONMENT=.venv-oldest VERSIONS='$(OLDEST)'
	$(MAKE) test-versions ENVIRONMENT=.venv-newest

test-versions:
	test -x $(ENVIRONMENT)/bin/python || $(PYTHON) -m venv $(ENVIRONMENT)
	$(ENVIRONMENT)/bin/python -m pip install --quiet --upgrade --editable '.[dev]' $(VERSIONS)
	$(ENVIRONMENT)/bin/python -m pip list 2>&1 | grep -E '^(ray|torch|transformers) '
	HF_HUB_OFFLINE=1 $(ENVIRONMENT)/bin/python -m pytest $(MATRIX_TESTS)

check: .venv/ready-dev .venv-swift/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

# OVERRIDES are for all jobs: OVERRIDES='store=s3://bucket/store --parallel 8'. leaderboard-page runs nothing.
BOARD = jobs/leaderboard/$(if $(SMALL),small,full).yaml

leaderboard: .venv/ready
	$(BIN)/raycner leaderboard $(BOARD) $(OVERRIDES) --run
	$(MAKE) leaderboard-page

leaderboard-page: .venv/ready
	$(BIN)/raycner leaderboard jobs/leaderboard/full.yaml $(filter-out --%,$(OVERRIDES)) --markdown > docs/leaderboard.md

bench: .venv/ready-dev
	$(BIN)/python tests/benchmarks/peers.py
	$(BIN)/python tests/benchmarks/run.py
	$(BIN)/python tests/benchmarks/search.py
	$(BIN)/python tests/benchmarks/corpus_size.py
	$(BIN)/python tests/benchmarks/decoding.py
	$(BIN)/python tests/benchmarks/growth.py

bench-scale: .venv/ready-dev
	$(BIN)/python tests/benchmarks/scale.py

docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/ready-docs
	$(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html; with its search: $(BIN)/python -m http.server --directory site"

audit: docs
	test -f node_modules/axe-core/axe.min.js || npm install --no-save axe-core
	$(BIN)/python tests/audit_site.py site

clean:
	rm -rf .venv .venv-swift .venv-oldest .venv-newest build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# An environment is ready when its stamp is newer than its inputs.
.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing raycner into .venv: minutes the first time, most of them for torch"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/ready-docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

# S3 servers for the tests of the store, Swift and moto, separate from raycner's own packages.
.venv-swift/ready: constraints.txt
	test -x .venv-swift/bin/python || $(PYTHON) -m venv .venv-swift
	.venv-swift/bin/python -m pip install --quiet --only-binary=:all: --constraint constraints.txt swift 'moto[s3]' flask flask-cors
	@touch $@
