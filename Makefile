# Targets for users (`make run`) and for those who change edge: `make one` for one test, `make check` for a quick answer,
# `make test` for all of it.
#
# Stamps live in .venv, so that a second `make build` does nothing and `rm -rf .venv` starts afresh.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
NATIVE := $(wildcard native/*.pxd native/*/*.pyx native/*/*.pxd native/*/*.h) setup.py
ARGS ?=
SANITIZED := build/sanitized

.PHONY: regions build run one check test prove interop lint bench wire clean help dev sanitize sanitized-copy
.DELETE_ON_ERROR:

help:
	@echo "make run     build what is missing, then start edge (ARGS='-c edge.yaml --workers 4')"
	@echo "make regions three regions and etcd on this machine, until Ctrl-C"
	@echo "make one     one test file or test: make one T=tests/native/test_breaker.py"
	@echo "make check   lint, types, floors, and the tests of units, configuration and native code (about a minute)"
	@echo "make test    lint, types, floors, native code under sanitizers, and every test suite (under 15 minutes)"
	@echo "make prove   tests that take long or prove what fails rarely; neither make test nor CI runs them"
	@echo "make interop clients, servers and conformance suites of other projects (ARGS='curl connect' for some)"
	@echo "make build   virtual environment, dependencies, compiled code"
	@echo "make lint    ruff, mypy and the floors, nothing else"
	@echo "make bench   CPU per request beside Envoy, HAProxy and nginx (10 minutes)"
	@echo "make wire    edge/wire from protos/, after a change there"
	@echo "make clean   remove everything that was built, the virtual environment too"

build: $(VENV)/.built

run: build
	@exec $(VENV)/bin/edge run $(ARGS)

regions: build
	@exec $(VENV)/bin/edge demo regions --stay

# Two test processes per CPU, because most tests mostly wait; at most eight, because the longest files set the time
# then. Tests that measure run alone (tests/conftest.py).
PROCESSES ?= $(shell n=$$(($$(nproc) * 2)); echo $$((n < 8 ? n : 8)))
SHARED = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

one: dev
	@test -n "$(T)" || { echo "name a test: make one T=tests/native/test_breaker.py" >&2; exit 2; }
	$(PY) -m pytest -q $(ARGS) $(T)

check: lint
	$(PY) -m pytest -q $(SHARED) tests/unit tests/config tests/native

# The sanitized run comes first, so that the last line is pytest's count of everything.
test: dev sanitize
	$(PY) -m pytest -q $(SHARED) tests

# Without ARGS, mutated TLS and HTTP/2 run a second time, against the sanitized copy.
prove: dev sanitized-copy
	$(PY) -m pytest -q -m prove $(ARGS) tests
	@test -n "$(ARGS)" || \
	  PYTHON=$(CURDIR)/$(PY) SANITIZED=$(CURDIR)/$(SANITIZED) TESTS=tests/integration/test_mutated_wires.py LIMIT=14400 \
	  sh deploy/sanitized.sh -m prove -o log_cli=true

lint: dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

wire: dev
	$(PY) -m protos.generate

interop: dev
	@PYTHONPATH=.:tests/integration $(PY) -m tests.interop $(ARGS)

bench: dev $(VENV)/.bench
	$(PY) -m bench.macro $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f native/*/*.c native/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how it is built -------------------------------------------------------------------------------------------

$(VENV)/.made:
	@set -e; python=$$(sh deploy/prepare.sh); \
	  test -x $(PY) || { echo "creating $(VENV) with $$python"; "$$python" -m venv $(VENV); }
	@$(PIP) install -c constraints.txt 'setuptools>=77' wheel 'Cython>=3.2'
	@touch $@

# An editable install puts `edge` on the path, installs the runtime dependencies and those of the demos, and compiles
# native/ in place.
$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing dependencies and compiling native/ (a minute or two, once)"
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[sim]'
	@touch $@ $(VENV)/.built

$(VENV)/.built: $(VENV)/.installed $(NATIVE)
	@$(PY) setup.py --quiet build_ext --inplace
	@touch $@

dev: build $(VENV)/.dev

# The requirements of an extra, one a line; installing edge[dev] instead would compile everything once more.
EXTRA = $(PY) -c 'import sys, tomllib; \
  extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
  print("\n".join(line for name in sys.argv[1:] for line in extras[name]))'

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.built
	@echo "installing the tools for tests and lint"
	@$(EXTRA) dev > $(VENV)/dev.txt && $(PIP) install -c constraints.txt -r $(VENV)/dev.txt
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/.built
	@$(EXTRA) bench > $(VENV)/bench.txt && $(PIP) install -c constraints.txt -r $(VENV)/bench.txt
	@touch $@

# --- native code under AddressSanitizer and UBSan, in a copy so that the normal build stays as it is -----------

$(SANITIZED)/.built: $(NATIVE) | $(VENV)/.built
	@echo "compiling native/ under sanitizers (once per change)"
	@rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	@cp -pR native $(SANITIZED)/
	@cp setup.py pyproject.toml README.md $(SANITIZED)/
	@find $(SANITIZED) -name '*.so' -delete
	@cd $(SANITIZED) && EDGE_SANITIZE=address,undefined $(CURDIR)/$(PY) setup.py --quiet build_ext --inplace
	@touch $@

# What runs against the copy is copied each time, for it may have changed.
sanitized-copy: $(SANITIZED)/.built
	@rm -rf $(SANITIZED)/edge $(SANITIZED)/tests && cp -r edge tests $(SANITIZED)/ && cp native/*.md $(SANITIZED)/native/

sanitize: dev sanitized-copy
	@PYTHON=$(CURDIR)/$(PY) SANITIZED=$(CURDIR)/$(SANITIZED) sh deploy/sanitized.sh $(SHARED)
