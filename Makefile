# Everything here needs a Rust toolchain, a C compiler and make; test needs Python 3.11 or later too.

SHELL := /bin/sh
CARGO ?= cargo
# Where cargo puts the programs.
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PROGRAMS := $(TARGET)/debug

.DEFAULT_GOAL := help
.PHONY: help run demo test test-tls test-all fmt lint build cargo

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Run everything on this machine, with a demonstration site, until Ctrl-C
	@exec "$(PROGRAMS)/roster-stack" run

demo: build ## Act as Okta for a company of 200, beside `make run` or by itself
	@exec "$(PROGRAMS)/roster-stack" demo

# Always the whole workspace, so that cargo chooses the same features and builds everything once.
test: lint build ## Format, lints, unit, property and integration tests
	$(CARGO) test --locked --workspace --lib --bins --test cluster
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked --workspace --test it

# OpenSSL is built from source: this one needs perl too.
test-tls: build ## Test the build with TLS to the database
	$(CARGO) build --locked --package identity-service --features tls --target-dir "$(TARGET)/tls"
	ROSTER_TLS_IDENTITY="$(abspath $(TARGET))/tls/debug/identity" \
	  $(CARGO) test --locked --workspace --test it -- tls

test-all: test test-tls ## Everything, also what needs more than make test

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
