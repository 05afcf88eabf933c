PYTHON ?= python3
export PORT ?= 3000
export EPOCHS WEIGHTS DATA_URL
BIN := .venv/bin

.PHONY: help serve test check bench heroku-test lock

help:
	@echo "make serve   from nothing to a server on PORT (EPOCHS, WEIGHTS and DATA_URL pass through)"
	@echo "make test    every test that needs no container engine"
	@echo "make check   formatting, lint and types"
	@echo "make bench   serving beside its peers (a quarter of an hour; BENTO is a tag); with WEIGHTS=FILE,"
	@echo "             training beside the tutorial's recipe and exact resumption too (an hour)"
	@echo "make heroku-test  the container image, as a dyno runs it (needs Docker; half an hour with FULL=1)"

serve: $(BIN)/installed
	@sh quickstart.sh

test: $(BIN)/installed
	$(BIN)/python -m pytest

check: $(BIN)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

BENTO ?= ant_bee_classifier:latest
bench: $(BIN)/installed data/train
	$(BIN)/python benchmarks/serving.py "$(BENTO)" --figure serving.png
	$(if $(WEIGHTS),$(BIN)/python benchmarks/training.py --weights "$(WEIGHTS)")
	$(if $(WEIGHTS),$(BIN)/python benchmarks/resume.py,@echo "training: passed over; it needs WEIGHTS=FILE")

# With CHECKPOINT=FILE and DATA=FOLDER, that model and those pictures.
heroku-test: $(BIN)/installed
	@docker info >/dev/null 2>&1 || { echo "error: no Docker engine answers: start one" >&2; exit 1; }
	$(BIN)/python -m pytest tests/heroku/container

data/train:
	sh get_data.sh

# requirements.txt: what a bento installs, pinned for every platform and Python that we support.
lock: $(BIN)/installed
	$(BIN)/python -m pip install --quiet uv
	(sed '/^[^#]/d' requirements.txt; $(BIN)/uv pip compile pyproject.toml --universal \
	    --python-version 3.11 --no-annotate --no-header --quiet) > requirements.new
	mv requirements.new requirements.txt

$(BIN)/installed: pyproject.toml requirements.txt install.sh
	@PYTHON="$(PYTHON)" sh install.sh
	@touch $@
