PYTHON ?= python3
export PORT ?= 3000
export EPOCHS WEIGHTS DATA_URL
BIN := .venv/bin

.PHONY: help serve test check bench lock

help:
	@echo "make serve   from nothing to a server on PORT (EPOCHS, WEIGHTS and DATA_URL pass through)"
	@echo "make test    every test that needs no container engine"
	@echo "make check   formatting, lint and types"
	@echo "make bench   serving beside its peers (a quarter of an hour; BENTO is a tag); with WEIGHTS=FILE,"
	@echo "             training beside the tutorial's recipe and exact resumption too (an hour)"

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
	$(if $(WEIGHTS),$(BIN)/python benchmarks/tutorial.py --weights "$(WEIGHTS)")
	$(if $(WEIGHTS),$(BIN)/python benchmarks/resume.py,@echo "training: passed over; it needs WEIGHTS=FILE")

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
