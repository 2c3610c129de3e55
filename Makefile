# Everything here needs a Rust toolchain, a C compiler and make; nothing else.

SHELL := /bin/sh
CARGO ?= cargo
# Where cargo puts the programs.
PROGRAMS := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug

.DEFAULT_GOAL := help
.PHONY: help run demo test fmt lint build cargo

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Run everything on this machine, with a demonstration site, until Ctrl-C
	@exec "$(PROGRAMS)/roster-stack" run

demo: build ## Act as Okta for a company of 200, beside `make run` or by itself
	@exec "$(PROGRAMS)/roster-stack" demo

test: lint build ## Format, lints, unit, property and integration tests
	$(CARGO) test --locked --workspace --exclude identity-tests
	$(CARGO) test --locked --package identity-tests --test it

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
