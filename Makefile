PYTHON ?= python3
export PORT ?= 3000
export EPOCHS WEIGHTS DATA_URL
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help serve test test-all check bench heroku-test tools ray trainers lock

help:
	@echo "make serve        from nothing to a server on PORT (EPOCHS, WEIGHTS and DATA_URL pass through)"
	@echo "make test         the tests, in five minutes on two cores"
	@echo "make test-all     the slow ones, too"
	@echo "make check        formatting, lint, types and imports"
	@echo "make bench        serving beside its peers (twenty minutes; BENTO is a tag); with WEIGHTS=FILE,"
	@echo "                  training beside its peers (make trainers) and exact resumption too (an hour)"
	@echo "make heroku-test  the container image, as a dyno runs it (needs Docker; half an hour with FULL=1)"
	@echo "make tools ray    what the tests of aws/, kubernetes/ and antbee.batch on Ray need beside that"

serve: .venv/train.installed
	@sh scripts/quickstart.sh

test: .venv/dev.installed
	$(PYTEST) -m "not slow"

test-all: .venv/dev.installed
	$(PYTEST)

check: .venv/dev.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

BENTO ?= ant_bee_classifier:latest
bench: .venv/bench.installed data/train
	$(BIN)/python benchmarks/serving.py "$(BENTO)" --figure serving.png
	$(if $(WEIGHTS),$(BIN)/python benchmarks/training.py --weights "$(WEIGHTS)")
	$(if $(WEIGHTS),$(BIN)/python benchmarks/resume.py,@echo "training: passed over; it needs WEIGHTS=FILE")

# With CHECKPOINT=FILE and DATA=FOLDER, that model and those pictures.
heroku-test: .venv/dev.installed
	@docker info >/dev/null 2>&1 || { echo "error: no Docker engine answers: start one" >&2; exit 1; }
	$(BIN)/python -m pytest tests/heroku/container

data/train:
	sh get_data.sh

# requirements.txt: what a bento installs, pinned for every platform and Python that we support.
lock: .venv/dev.installed
	$(BIN)/python -m pip install --quiet uv
	(sed '/^[^#]/d' requirements.txt; $(BIN)/uv pip compile pyproject.toml --universal \
	    --python-version 3.11 --no-annotate --no-header --quiet) > requirements.new
	mv requirements.new requirements.txt

# train, dev or bench: each has what the one before it has.
.venv/%.installed: pyproject.toml requirements.txt scripts/install.sh
	@PYTHON="$(PYTHON)" sh scripts/install.sh $*
	@touch $@

# Apart from .venv: what the tests of other people's systems need, those of antbee.batch on Ray, and
# what benchmarks/training.py compares train.py with.
tools ray trainers: %: .venv-%/installed
.venv-%/installed: pyproject.toml requirements.txt scripts/install.sh
	@PYTHON="$(PYTHON)" sh scripts/install.sh $*
	@touch $@
