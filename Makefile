# Everything here needs a Rust toolchain, a C compiler and make; test needs Python 3.11 or later too.

SHELL := /bin/sh
CARGO ?= cargo
# Where cargo puts the programs.
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PROGRAMS := $(TARGET)/debug

.DEFAULT_GOAL := help
# buf, by its npm package.
BUF := npx --yes @bufbuild/buf@1.75.0
# A tool that a target of test-all needs: missing, it fails in continuous integration (CI is set) and is
# skipped by name elsewhere.
need = command -v $(1) >/dev/null 2>&1 || { echo "$@: skipped: it needs $(2)" >&2; test -z "$$CI"; exit; }

.PHONY: help run demo test conformance test-contract test-kubernetes test-images build-tls test-tls test-all \
  images images-pin fmt lint build cargo

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Run everything on this machine, with a demonstration site, until Ctrl-C
	@exec "$(PROGRAMS)/roster-stack" run

demo: build ## Act as Okta for a company of 200, beside `make run` or by itself
	@exec "$(PROGRAMS)/roster-stack" demo

# Always the whole workspace, so that cargo chooses the same features and builds everything once.
test: lint build ## Format, lints, unit, property and integration tests
	$(CARGO) test --locked --workspace --lib --bins --test cluster
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked --workspace --test it

# All of them, though one fails: the table says which. The table's own test would fail before it is written.
conformance: build ## Run the tests, and write docs/conformance.md from how they ended
	-$(CARGO) test --locked --workspace --no-fail-fast --lib --test it -- --skip conformance:: \
	  >"$(TARGET)/conformance.txt" 2>&1
	"$(PROGRAMS)/conformance" <"$(TARGET)/conformance.txt" >docs/conformance.md
	@! grep -n "FAILED:\|no test" docs/conformance.md

# Programs of other features or another release lie in a folder of their own, but share what they have in common with
# the rest: the dependencies. (Before Rust 1.91 cargo takes no notice of it, and builds those again.)
SHARED = CARGO_BUILD_BUILD_DIR="$(abspath $(TARGET))"

# OpenSSL is built from source: this one needs perl too. The whole workspace's features, so that little else is built.
build-tls: cargo
	$(SHARED) $(CARGO) build --locked --workspace --features identity-service/tls --bin identity \
	  --target-dir "$(TARGET)/tls"

test-tls: build build-tls ## Test the build with TLS to the database
	ROSTER_TLS_IDENTITY="$(abspath $(TARGET))/tls/debug/identity" \
	  $(CARGO) test --locked --workspace --test it -- tls

# The commit before the newest migration stands for the release that runs while it is applied.
PREVIOUS ?= $(shell git log -1 --diff-filter=A --format=%H -- migrations)^
BEFORE := $(abspath $(TARGET))/previous

# Its packages get a version of their own: of the same name and version, cargo would take this release's for them.
# (Not --locked: the version stands in the lock file, too.)
.PHONY: test-upgrade
test-upgrade: build ## Run the services of before the newest migration on the new schema (needs git)
	@$(call need,git,git)
	@rm -rf "$(BEFORE)/source" && mkdir -p "$(BEFORE)/source"
	git archive $(PREVIOUS) | tar -x -m -C "$(BEFORE)/source"
	sed -i.bak '/^\[workspace.package\]/,/^$$/s/^version = .*/version = "0.0.0-before"/' "$(BEFORE)/source/Cargo.toml"
	cd "$(BEFORE)/source" && $(SHARED) $(CARGO) build --workspace --bin identity --bin facade --target-dir "$(BEFORE)"
	ROSTER_PREVIOUS="$(BEFORE)/debug" $(CARGO) test --locked --workspace --test it -- upgrade

test-contract: ## Lint the gRPC contract and refuse what breaks callers of the last release (needs Node)
	@$(call need,npx,Node.js with npx); cd proto && $(BUF) lint && $(BUF) breaking --against released.binpb && \
	  BUF="$(BUF)" python3 ../tests/contract/refused.py

.PHONY: contract-released
contract-released: ## Let callers count on the contract as it is now (needs Node)
	cd proto && $(BUF) build --as-file-descriptor-set --exclude-source-info --output released.binpb

test-kubernetes: build ## Check k8s/ against the schemas, the rules and the programs (needs Debian's apt, Node)
	@$(call need,apt-get,Debian's apt); $(call need,npm,Node.js with npm); tests/kubernetes/run

# Where CI is set it installs buildah, too. As root only: it runs the images' programs in their own root file systems.
test-images: build build-tls ## Build the images' last stages and look at what is in them (needs buildah, root)
	@test "$$(id -u)" = 0 || { echo "$@: skipped: it needs root" >&2; test -z "$$CI"; exit; }; \
	  test -z "$$CI" || command -v buildah >/dev/null || \
	    { apt-get update --quiet --quiet && apt-get install --quiet --quiet --yes --no-install-recommends buildah; }; \
	  $(call need,buildah,Debian's buildah); tests/images/run

# Prometheus, Alertmanager and promtool as Debian has them. Continuous integration installs them where it may.
.PHONY: test-monitoring observe
test-monitoring: build ## Ask promtool about the alerts, and run the real chain (needs Debian's prometheus)
	@if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && ! command -v promtool >/dev/null 2>&1; then \
	  apt-get update -qq && apt-get install -yqq --no-install-recommends prometheus prometheus-alertmanager >/dev/null; \
	fi
	@$(call need,promtool,the Debian package prometheus); \
	  $(call need,prometheus-alertmanager,the Debian package prometheus-alertmanager); \
	  "$(PROGRAMS)/roster-stack" rules "$(TARGET)/monitoring/rules" && \
	  cp tests/promtool/*.yaml "$(TARGET)/monitoring/" && \
	  promtool check rules "$(TARGET)"/monitoring/rules/*.yaml && \
	  promtool test rules "$(TARGET)"/monitoring/*.yaml && \
	  ROSTER_TEST_MONITORING=1 $(CARGO) test --locked --workspace --test it -- chain::

observe: build ## Run everything with a collector, Prometheus and Alertmanager beside it, until Ctrl-C
	@exec "$(PROGRAMS)/roster-stack" observe

# In this order: the output of all of it ends in a summary of cargo's.
test-all: test-contract test-kubernetes test-images test-monitoring test test-upgrade test-tls ## Everything, also what needs more than make test

TOOL ?= docker

images: ## Build the images of both services [TOOL=docker, or buildah]
	@images/build "$(TOOL)"

images-pin: ## Look up the builder image's digest, to be committed [TOOL=docker, or skopeo]
	@images/build pin "$(TOOL)"

# libFuzzer on stable Rust: the compiler's own coverage pass for everything that is built for FUZZ_HOST, which is this
# machine, named so that build scripts and macros go without. facade/fuzz/README.md says what to do with a find.
TARGETS ?= filter path patch bulk
SECONDS ?= 60
FUZZ := $(abspath $(TARGET))/fuzz
FUZZ_HOST = $(shell rustc --version --verbose | sed -n 's/^host: //p')
FUZZ_COVERAGE := -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,\
  level=4 inline-8bit-counters pc-table trace-compares)
FUZZ_LIMITS := -timeout=5 -rss_limit_mb=512 -max_len=65536

.PHONY: fuzz
fuzz: cargo ## Fuzz [TARGETS=filter path patch bulk] for [SECONDS=60] each; needs a C++ compiler
	RUSTFLAGS="$(FUZZ_COVERAGE)" $(CARGO) build --locked --package scim-fuzz --features libfuzzer --bins \
	  --profile fuzz --target $(FUZZ_HOST) --target-dir "$(FUZZ)"
	@set -e; for target in $(TARGETS); do \
	  mkdir -p "$(FUZZ)/corpus/$$target"; \
	  echo "$$target, for $(SECONDS) seconds"; \
	  "$(FUZZ)/$(FUZZ_HOST)/fuzz/fuzz-$$target" $(FUZZ_LIMITS) -max_total_time=$(SECONDS) -artifact_prefix="$(FUZZ)/$$target-" \
	    -dict=facade/fuzz/dictionaries/$$target.dict "$(FUZZ)/corpus/$$target" facade/fuzz/corpus/$$target; \
	done

lint: cargo ## Check the format and the lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: cargo ## Format the code
	$(CARGO) fmt --all

build: cargo ## Build the programs
	@$(CARGO) build --locked --workspace --bins

cargo:
	@command -v "$(CARGO)" >/dev/null 2>&1 || { \
	  echo "cargo was not found: install a Rust toolchain from https://rustup.rs, then try again" >&2; \
	  exit 1; }
