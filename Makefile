# Everything that a developer runs. Each target makes what it needs; the first run downloads from
# PyPI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_FLAGS ?= -n 3

SOURCES := pyproject.toml setup.py MANIFEST.in README.md \
	$(shell find src -name '*.py' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \
	-o -name '*.pxi' -o -name '*.c' -o -name '*.h' -o -name '*.def')

.PHONY: help demo test test-debug test-system test-faults faults-docs test-ports lint lint-python \
	lint-c lint-metadata lint-workflows sanitize failover fuzz fuzz-corpus valgrind wheels \
	test-wheels \
	system-packages install-check sdist check-dist sbom bench bench-all bench-large bench-figures \
	bench-check bench-rust bench-peers bench-jobs clean

help:
	@echo "make demo           build; run a real scheduler, kill it, and prove nothing was lost"
	@echo "make test           build, then run the tests, as any user (minutes)"
	@echo "make test-debug     the queue's tests over a build with assertions (minutes)"
	@echo "make test-system    the tests that need root, strace, servers or file systems of their own;"
	@echo "                    make system-packages installs the programs"
	@echo "make failover       100 fail-overs on etcd and 40 on PostgreSQL with Patroni, as root, and"
	@echo "                    a table (an hour); FAILOVER_FLAGS='etcd --part 0.1' does less"
	@echo "make test-faults    the long tests of the fault model, and a table of their trials;"
	@echo "                    make faults-docs writes the table into docs/"
	@echo "make test-ports     the C core for other systems and processors: compiled for all, run"
	@echo "                    under wine and qemu"
	@echo "make lint           lint-python: ruff, mypy, the type stubs against the modules; lint-c: C"
	@echo "                    warnings as errors; lint-metadata: what the index reads;"
	@echo "                    lint-workflows: zizmor, actionlint and shellcheck (needs Go)"
	@echo "make sanitize       the C core's tests under the address and undefined-behaviour"
	@echo "                    sanitizers, its threads and self-test under the thread sanitizer"
	@echo "make fuzz           each fuzz target for FUZZ_SECONDS (default 60), and a table;"
	@echo "                    make fuzz-corpus keeps the findings"
	@echo "make valgrind       the fuzz corpora, the core's self-test and the threads' stress"
	@echo "                    programs under memcheck"
	@echo "make wheels         the source distribution and the wheels of all systems, into dist/;"
	@echo "                    WHEELS=cp314-win builds those with that in their tags"
	@echo "make test-wheels    the tests that apply over each wheel, in a Python of its own system"
	@echo "make bench          the quick benchmarks (minutes); make bench-peers and bench-rust"
	@echo "                    compare with other stores and the Rust crates, bench-jobs with"
	@echo "                    other job queues"
	@echo "make bench-all      all benchmarks, as long series (half an hour); make bench-large"
	@echo "                    replays 100 M events; make bench-figures draws"
	@echo "make bench-check    instructions a command, against benchmarks/instructions.json"
	@echo "make system-packages  what the targets need besides Python, make and a C compiler"
	@echo "                    (Debian, as root); NEEDS='TEST FUZZ' installs for some of them only"
	@echo "make install-check  wheel, sdist and editable install in new environments, with"
	@echo "                    PYTHON=... (default python3); WAYS=editable for that alone"
	@echo "make sdist          the source distribution, in dist/; make check-dist checks what is there"
	@echo "                    as the index does; make sbom lists what an installation of it holds"
	@echo "make clean          remove what was built"

# Debian's names; make demo and make test need BUILD_PACKAGES only. NEEDS says for which of these
# lists make system-packages is called.
BUILD_PACKAGES := python3-venv python3-dev gcc libc6-dev
CLANG_PACKAGES := clang
TEST_PACKAGES := strace e2fsprogs xfsprogs mount util-linux
STORES_PACKAGES := postgresql etcd-server iproute2 util-linux
VALGRIND_PACKAGES := valgrind
FUZZ_PACKAGES := clang-14 libclang-rt-14-dev llvm-14 $(VALGRIND_PACKAGES)
PORTS_PACKAGES := wine wine64 qemu-user
# llvm takes debug symbols apart, maven fetches interpreters.
WHEELS_PACKAGES := $(PORTS_PACKAGES) llvm maven
NEEDS ?= TEST STORES FUZZ WHEELS
SYSTEM_PACKAGES ?= $(foreach need,$(NEEDS),$(or $($(need)_PACKAGES),$(error NEEDS: no $(need))))
# For bench-rust only, so NEEDS lacks them. It needs Rust 1.89 or newer, which has to come
# from elsewhere if Debian's is older.
RUST_PACKAGES := cargo rustc
# For bench-jobs only, too.
JOBS_PACKAGES := redis-server postgresql
CARGO ?= cargo

# BENCH_DIRECTORY, where benchmarks write, should be on the disk to measure. BENCH_FLAGS are further
# options of all benchmarks, BENCH_FLAGS_name of one (BENCH_FLAGS_scale='--runs 1000 10000').
BENCH_DIRECTORY ?= build
BENCH_FLAGS ?=
BENCH = $(BIN)/python -m benchmarks.$(1) --directory $(BENCH_DIRECTORY) \
	--json build/bench/$(or $(2),$(1)).json $(BENCH_FLAGS) $(BENCH_FLAGS_$(1))

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

# The package is installed, not linked: tests and demo run what a user gets. Files that an earlier
# build has collected, and that are no longer there, would be installed with it.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	@rm -rf build/lib* build/*/lib*
	$(BIN)/python -m pip install --quiet '.[cli]'
	@touch $@

$(VENV)/test-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/failover-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group failover
	@touch $@

$(VENV)/fuzz-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group fuzz
	@touch $@

$(VENV)/ports-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group ports
	@touch $@

$(VENV)/wheel-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group wheels
	@touch $@

$(VENV)/bench-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

$(VENV)/lint-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

$(VENV)/release-tools: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group release
	@touch $@

demo: $(VENV)/installed
	$(BIN)/actionqueue demo

test: $(VENV)/installed $(VENV)/test-tools
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# In an environment of its own, so that the one of the other targets keeps the build that users get.
# The core's own tests have the assertions on in any case: their door compiles it with them.
DEBUG_TESTS ?= tests/queue tests/scheduler
test-debug:
	ACTIONQUEUE_DEBUG=1 $(MAKE) VENV=$(VENV)-debug $(VENV)-debug/installed $(VENV)-debug/test-tools
	ACTIONQUEUE_DEBUG=1 $(VENV)-debug/bin/python -m pytest $(PYTEST_FLAGS) $(DEBUG_TESTS)

test-system: $(VENV)/installed $(VENV)/test-tools $(VENV)/failover-tools
	$(BIN)/python -m pytest $(PYTEST_FLAGS) --system

# It prints the table, and writes it to build/faults.md, in any case; it fails if a test fails or a
# row has no figure. Tests that fork for every kill have processes of their own, which stay small: a
# fork of a large one takes several times as long.
FAULTS_THAT_FORK := tests/crash/test_strace.py tests/crash/test_kills.py
test-faults: $(VENV)/installed $(VENV)/test-tools
	@mkdir -p build && rm -f build/faults.jsonl build/faults.md
	@status=0; export ACTIONQUEUE_FAULTS_LOG="$(CURDIR)/build/faults.jsonl"; \
		run="$(BIN)/python -m pytest --dist worksteal $(PYTEST_FLAGS) --long -m faults"; \
		$$run $(FAULTS_THAT_FORK) || status=$$?; \
		$$run $(addprefix --ignore=,$(FAULTS_THAT_FORK)) || status=$$?; \
		$(BIN)/python -m tests.support.crash.report build/faults.jsonl --markdown build/faults.md || \
		status=1; exit $$status

# Write the table of the last test-faults into docs/reliability.md.
faults-docs:
	$(BIN)/python -m tests.support.crash.report build/faults.jsonl --docs docs/reliability.md

test-ports: $(VENV)/ports-tools
	$(BIN)/python tests/core/selftest/ports.py

wheels: $(VENV)/wheel-tools
	$(BIN)/python -m tests.wheels.build $(WHEELS)

# SHORT=--short runs a part of the tests only; what PYTEST says goes to pytest.
test-wheels: $(VENV)/wheel-tools
	$(BIN)/python -m tests.wheels.run $(WHEELS) $(SHORT) --pytest="$(PYTEST)"

lint: lint-python lint-c lint-metadata lint-workflows

lint-python: $(VENV)/installed $(VENV)/test-tools $(VENV)/lint-tools
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -c 'import sys, actionqueue, mypy.stubtest; sys.exit(mypy.stubtest.main())' \
		--concise --ignore-disjoint-bases --ignore-unused-allowlist \
		--allowlist tests/stubtest-allowlist.txt _wal_native

lint-c:
	$(CC) -std=c11 -O2 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
		-Wsign-conversion -Werror -Isrc/_wal_native/core src/_wal_native/core/*/*.c

# Of pyroma's ten points two are for an e-mail address, which this project has not.
lint-metadata: $(VENV)/lint-tools
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/pyroma --min 8 .
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec \
		examples/replicated/compose.yaml

# Go's proxy has actionlint; its package on PyPI would fetch the program from elsewhere.
GO ?= go
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
lint-workflows: $(VENV)/lint-tools
	$(BIN)/zizmor --offline --quiet .github
	@command -v $(GO) >/dev/null || { echo "go is missing: install Go 1.25 or newer, which" \
		"builds actionlint, or name it with GO=..." >&2; exit 1; }
	$(GO) run $(ACTIONLINT) -shellcheck $(BIN)/shellcheck

FAILOVER_FLAGS ?= etcd postgres
failover: $(VENV)/installed $(VENV)/test-tools $(VENV)/failover-tools
	$(BIN)/python -m tests.support.replication.failover $(FAILOVER_FLAGS)

sanitize: $(VENV)/installed $(VENV)/test-tools
	ACTIONQUEUE_SANITIZE=1 ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
		$(BIN)/python -m pytest -p no:xdist tests/core

fuzz: $(VENV)/installed $(VENV)/test-tools $(VENV)/fuzz-tools
	@status=0; $(PYTHON) -m tests.support.fuzz.run fuzz $(FUZZ_TARGETS) || status=1; \
		$(BIN)/python -m tests.support.fuzz.run_python || status=1; exit $$status

fuzz-corpus:
	$(PYTHON) -m tests.support.fuzz.run merge $(FUZZ_TARGETS)

valgrind:
	$(PYTHON) -m tests.support.fuzz.run valgrind $(FUZZ_TARGETS)

bench: $(VENV)/installed $(VENV)/bench-tools
	@mkdir -p build/bench $(BENCH_DIRECTORY)
	$(BIN)/python -m pytest benchmarks/parts -q -p no:xdist \
		--benchmark-columns=median,iqr,min,rounds --benchmark-sort=name \
		--benchmark-json=build/bench/parts.json
	$(call BENCH,lifecycle)
	$(call BENCH,groups)
	$(call BENCH,replay)
	$(call BENCH,scale)
	$(call BENCH,orders)
	$(BIN)/actionqueue bench --directory $(BENCH_DIRECTORY) \
		--json-file build/bench/fsync-policies.json \
		--html build/bench/fsync-policies.html \
		--csv build/bench/fsync-policies.csv $(BENCH_FLAGS_bench)

# All figures of docs/performance.md, on a machine with nothing else to do: half an hour, 24 GiB of
# memory and 20 of disk. The command line may set other sizes than these.
bench-all: BENCH_FLAGS_scale = --runs 10000 100000 1000000 10000000 --rounds 3
bench-all: BENCH_FLAGS_orders = --runs 10000 100000 1000000 10000000 --rounds 3
bench-all: BENCH_FLAGS_replay = --runs 10000 100000 1000000
bench-all: bench bench-peers bench-jobs bench-rust
	$(call BENCH,columns)
	$(call BENCH,shared_syncs)
	$(call BENCH,asyncio_tasks)
	$(MAKE) bench-figures

# Replay 100 M events, of 10 M completed runs: ten minutes, 24 GiB of memory and 20 of disk.
bench-large: BENCH_FLAGS_replay = --runs 10000000 --rounds 3
bench-large: $(VENV)/installed
	@mkdir -p build/bench $(BENCH_DIRECTORY)
	$(call BENCH,replay,replay-large)

bench-figures: $(VENV)/bench-tools
	@mkdir -p docs/plots
	$(BIN)/python -m benchmarks.figures build/bench --plots docs/plots --docs docs

bench-check: $(VENV)/installed
	$(BIN)/python -m benchmarks.instructions

bench-peers: $(VENV)/installed
	@mkdir -p build/bench $(BENCH_DIRECTORY)
	$(call BENCH,peers) --install

# The servers of two of the queues are Debian's: make system-packages NEEDS=JOBS. Their rows say so
# where they are missing.
bench-jobs: $(VENV)/installed $(VENV)/bench-tools
	@mkdir -p build/bench $(BENCH_DIRECTORY)
	$(call BENCH,jobs)

bench-rust: $(VENV)/installed
	@command -v $(CARGO) >/dev/null || \
		{ echo "cargo is missing: make system-packages NEEDS=RUST" >&2; exit 1; }
	@mkdir -p build/bench $(BENCH_DIRECTORY)
	cd benchmarks/peers/rust && $(CARGO) build --quiet --release
	$(call BENCH,against_rust)

system-packages:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(SYSTEM_PACKAGES)

install-check:
	sh tests/package/install_check.sh $(PYTHON) $(WAYS)

# --- Releases: see CONTRIBUTING.md ----------------------------------------------------------------

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' src/actionqueue/__init__.py)

sdist: $(VENV)/release-tools
	rm -f dist/*.tar.gz
	$(BIN)/python -m build --quiet --sdist --outdir dist
	$(BIN)/twine check --strict dist/*.tar.gz

# Strict: a page that the index could not show fails it, too.
check-dist: $(VENV)/release-tools
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# A list of what an installation with all extras holds, in a new environment: CycloneDX, JSON. Its
# program reads no version that another file gives.
sbom: $(VENV)/release-tools
	rm -rf build/sbom
	$(PYTHON) -m venv --without-pip build/sbom
	$(BIN)/python -m pip --python build/sbom/bin/python install --quiet \
		'dist/actionqueue-$(VERSION).tar.gz[cli,numpy]'
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > build/sbom/pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject build/sbom/pyproject.toml --mc-type library \
		--output-format JSON --output-file build/actionqueue-$(VERSION).cdx.json build/sbom/bin/python

clean:
	rm -rf $(VENV) $(VENV)-debug build dist src/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete
