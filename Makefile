# `make demo` and `make test` each work alone on a machine with Python >= 3.11, a C++ compiler and
# make: the first run creates .venv and installs everything there, later runs start at once.
#
# torch is installed first and by its exact version, because smelt needs the CPU build only. Where
# pip's default torch is a CUDA build (Linux), point pip at CPU wheels through its own settings
# (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, pip.conf): they are honoured here as everywhere.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
WORKERS ?= 2
# Mutations of each seed that the fuzzer of model.smelt tries; 500000 makes a million of the two.
MUTATIONS ?= 100000
ARGS ?=

BIN := $(VENV)/bin
CPP := $(shell find runtime/cpp -name '*.cc' -o -name '*.h' -o -name 'CMakeLists.txt')
CPP_FORMATTED := $(filter %.cc %.h,$(CPP))
# One thread a process: the tests run WORKERS processes side by side.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: demo test models lint format types cpp-test thread-test arm-test bench-peers clean env

demo: env
	$(BIN)/python -m smelt.demo --chat "$$($(BIN)/python tests/models.py smollm2_gguf)" \
	  --sentences "$$($(BIN)/python tests/models.py minilm)" $(ARGS)

test: env
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS) tests

# What the tests prove of each type, and the page that lists it.
models: env
	$(BIN)/python -m tests.proven
	$(BIN)/python -m smelt.cli specs --markdown > docs/models.md

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(CPP_FORMATTED),$(BIN)/clang-format --dry-run --Werror $(CPP_FORMATTED))

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(CPP_FORMATTED),$(BIN)/clang-format -i $(CPP_FORMATTED))

types: env
	$(BIN)/mypy

cpp-test: env
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset sanitize -DSMELT_MUTATIONS=$(MUTATIONS)
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset sanitize
	PATH="$(CURDIR)/$(BIN):$$PATH" ctest --preset sanitize --no-tests=error -j $(WORKERS) $(ARGS)

# Sessions of one model on many threads, under ThreadSanitizer.
thread-test: env
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset tsan
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset tsan
	PATH="$(CURDIR)/$(BIN):$$PATH" ctest --preset tsan --no-tests=error $(ARGS)

# Cross-compiled and emulated where this machine is no ARM; says why where that cannot be had.
arm-test: env
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/arm

# Beside other engines: installs them (docs/benchmarks.md), waits for a quiet machine, takes long.
bench-peers: env
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks --write docs/benchmarks.md $(ARGS)

env: $(VENV)/.installed

# The build runs without isolation, so a change in C++ rebuilds in seconds in the same build folder.
$(VENV)/.installed: pyproject.toml CMakeLists.txt $(CPP) | $(VENV)/.base
	$(BIN)/python -m pip install --no-build-isolation -e '.[torch,onnx,serve,dev]'
	$(BIN)/python -m pip install --no-build-isolation -e '.[tensorrt]' \
	  || echo 'note: tensorrt-rtx does not install on this machine; the tensorrt target is left out'
	touch $@

$(VENV)/.base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: $(PYTHON) is older than 3.11'; echo 'hint: make PYTHON=python3.12 …'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install 'pip>=24' 'scikit-build-core>=0.11' 'nanobind>=2.4' 'cmake>=3.21' ninja
	$(BIN)/python -m pip install '$(TORCH)' || $(BIN)/python -m pip install 'torch>=2.12,<2.14'
	touch $@

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache
