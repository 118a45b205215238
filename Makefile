# make demo   export the shipped model with a parity verdict, then draw a skeleton on a real photo
# make test   everything a change has to pass: lint, types, tests
# make bench  the paired CPU benchmark (idle machine, please)
#
# Each makes or reuses the virtual environment in .venv. Choose another Python with PYTHON=python3.12;
# on Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves the CUDA packages of torch.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints-dev.txt
OUT := demo-out

.PHONY: demo test bench clean

demo: $(VENV)/.export
	$(BIN)/edgepose export mitpose-lite -o $(OUT)/mitpose-lite.onnx
	$(BIN)/edgepose run $(OUT)/mitpose-lite.onnx --source edgepose/samples/000000239537.jpg \
	    --boxes edgepose/samples/boxes.json --save $(OUT)/player.jpg --jsonl $(OUT)/player.jsonl
	@echo "see $(OUT)/player.jpg and $(OUT)/player.jsonl"

test: $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/cpu_pairs.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One stamp an extra: pip runs again only when the packaging files change.
$(VENV)/.%: $(VENV)/bin/python pyproject.toml constraints-dev.txt
	$(PIP) -e ".[$*]"
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist .pytest_cache .mypy_cache .ruff_cache
