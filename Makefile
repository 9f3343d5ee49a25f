# Thin names for commands. Everything runs from a clean clone, as root or as an ordinary user; what cannot be done says so.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help quickstart test bench lint header check-header install clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## quickstart  build the Python package into .venv and run containers from it, on an image made from this host
quickstart: .venv/complete
	.venv/bin/python examples/python/quickstart.py

# The file is made last, so that what was cut short is made anew.
.venv/complete:
	PYTHON=$(PYTHON) .ci/need build
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet ./python
	touch $@

## test        every test: Rust, C, C++, Python as root and as ordinary users, and a machine with cgroup version 2 only
test:
	tests/run

## bench       measure against the kernel's floor and against the engines that are installed
bench:
	.ci/need build
	benches/run all

## lint        formatting, lints, licences of dependencies, the generated header
lint: check-header
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	.ci/licences

## header      write include/coble/coble.h and the lists of symbols and of the ABI from the sources
header:
	$(CARGO) run --quiet --locked -p coble-header

check-header:
	$(CARGO) run --quiet --locked -p coble-header -- --check

## install     library, headers, pkg-config file, CMake package and command, below PREFIX
install:
	$(CARGO) build --release --locked -p coble-ffi -p coble-cli
	ffi/pkg/install $(TARGET)/release $(PREFIX) $(DESTDIR)

## clean       everything that was built
clean:
	$(CARGO) clean
	rm -rf .venv
