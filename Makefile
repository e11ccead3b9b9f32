# make demo: try it. make quick: while you work. make test: everything, on a fresh Debian or Ubuntu with python3, make and git.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-windows quick check coverage bench bench-workers growth soak fuzz screenshots calendar recorded sbom audit-dependencies lock reference samples clean

demo: $(STAMP)
	@$(BIN)/probe demo
	@echo; echo 'probe is installed in $(VENV): `. $(BIN)/activate` gives this shell the command, `pipx install .` every shell.'

# Sets everything up by itself; fails where something is missing, and for every skipped test whose reason is not in tests/allowed_skips.txt.
test: $(STAMP)
	scripts/install-servers
	scripts/unpack-stacks
	scripts/install-browser
	scripts/install-kerberos $(VENV)
	$(MAKE) --no-print-directory check

# The suite on Windows' own CPython, under wine (.windows, set up in half a minute); needs the servers that `make test` installs.
test-windows: $(STAMP)
	scripts/install-servers
	scripts/install-kerberos $(VENV)
	scripts/test-windows

# A file's tests stay together, so that its servers are started once.
WORKERS ?= 2
PYTEST := -m pytest -q -n $(WORKERS) --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/python $(PYTEST) --strict-skips

# Half as long again as `make test`, which sets up what it needs: every line of every process is counted.
coverage: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) --strict-skips
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# While you work: no root, no server, no browser, no network. Less than a minute on two cores.
QUICK := tests/unit tests/judge tests/certificates tests/output tests/test_plain_english.py tests/test_house.py tests/test_docs.py tests/test_package.py
# Left to `make test`: what measures memory, or tries some thousand damaged runs.
SLOW := --ignore=tests/unit/test_crafted_runs.py --ignore=tests/unit/test_bounded_memory.py
quick: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/python $(PYTEST) -m "not servers and not browser" $(SLOW) $(QUICK)

$(STAMP): pyproject.toml requirements-dev.txt scripts/make-venv
	@scripts/make-venv $(VENV)
	@touch $@

# Needs uv, which a throw-away environment gets. Exact versions with hashes, for CPython 3.11 to 3.13.
lock:
	scripts/make-lock

# docs/reference/, the man pages (docs/man/) and the words that a shared report keeps (probe/runs/share) from the code; the sample outputs
# in the docs from the commands above them.
reference: $(STAMP)
	$(BIN)/python scripts/make-reference
	$(BIN)/python scripts/make-man
	$(BIN)/python scripts/make-words

samples: $(STAMP)
	$(BIN)/python scripts/make-samples

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache dist

# Needs root (Postfix, Dovecot) and takes some minutes; peers that are not installed are left out.
bench: $(STAMP)
	scripts/install-servers
	$(BIN)/python -m benchmarks.bench

# 10 000 profiles, three workers, PostgreSQL: a quarter of an hour. WORKERS_OPTIONS="--profiles 100 --window 60" for a first look.
WORKERS_OPTIONS ?=
bench-workers: $(STAMP)
	scripts/install-servers
	$(BIN)/python -m benchmarks.workers $(WORKERS_OPTIONS)

# Half an hour; needs root (Postfix, Dovecot) and Prometheus. SOAK_MINUTES=5 for a first look: too short for what counts by itself.
SOAK_MINUTES ?= 30
soak: $(STAMP)
	scripts/install-servers
	$(BIN)/python -m benchmarks.weather $(SOAK_MINUTES)

growth: $(STAMP)
	scripts/install-servers
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'matplotlib>=3.8,<4'
	$(BIN)/python -m benchmarks.growth

# Each target for FUZZ_SECONDS, on a copy of the corpus; what it finds lies in .fuzz/ and becomes a test.
FUZZ_SECONDS ?= 60
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
	mkdir -p .fuzz && rm -rf .fuzz/corpus && cp -r fuzz/corpus fuzz/fuzz.py .fuzz/
	for target in smtp imap pop3 message certificate; do \
	    $(BIN)/python .fuzz/fuzz.py $$target -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=.fuzz/ || exit 1; done

# The HTML report of some recorded runs in light, dark, narrow and print, for somebody to look at.
SCREENSHOTS ?= screenshots
screenshots: $(STAMP)
	scripts/install-browser
	$(BIN)/python -m tests.output.screenshots $(SCREENSHOTS)

# The picture in docs/what-breaks-next.md: what `probe explain sunset` prints.
calendar: $(STAMP)
	scripts/install-browser
	$(BIN)/python scripts/make-calendar

# Renew the recorded runs that the tests of the outputs use.
recorded: $(STAMP)
	$(BIN)/python -m tests.recorded.record

# A software bill of materials of the environment (CycloneDX), with each part's licence: psycopg's is LGPL-3.0-only, all of it in the extra `queue`.
sbom: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=5'
	$(BIN)/cyclonedx-py environment $(VENV) --output-file sbom.json

# Known vulnerabilities in what is locked. For a schedule, not for .ci/run: it asks PyPI's advisories, and what is found changes from day
# to day. pip-audit ships no data of its own; answers are kept in AUDIT_CACHE. No pip: names and versions come from the lock. --strict:
# what could not be looked up is a failure too.
AUDIT_CACHE ?= .audit
audit-dependencies:
	python3 -m venv .audit/venv
	.audit/venv/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	.audit/venv/bin/pip-audit --strict --disable-pip --require-hashes --cache-dir $(AUDIT_CACHE)/answers -r requirements-dev.txt
