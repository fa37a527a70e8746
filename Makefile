# What a fresh machine needs, from nothing to a running demo. `make help` lists
# the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# Each step needs the one before; cargo and make use all cores by themselves.
.NOTPARALLEL:

PREFIX ?= /usr/local
DESTDIR ?=

# Everything is looked for under target/, whatever the caller has set.
export CARGO_TARGET_DIR := $(CURDIR)/target
# Failing, not skipping, when something that a test needs is missing.
export STACK_REQUIRE_VM := 1

kernel_image := $(if $(filter aarch64,$(shell uname -m)),Image,vmlinux)
binaries := stack stackd stack-netd stack-fsd
bin := $(DESTDIR)$(PREFIX)/bin
lib := $(DESTDIR)$(PREFIX)/lib/stack
share := $(DESTDIR)$(PREFIX)/share
# Looked for there by systemd, be it in /usr, /usr/local or ~/.local.
unit := $(share)/systemd/user/stackd.service
completions := \
	bash:$(share)/bash-completion/completions/stack \
	zsh:$(share)/zsh/site-functions/_stack \
	fish:$(share)/fish/vendor_completions.d/stack.fish

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s  %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: packages build kernel initramfs registry ## the guestbook in four VMs, from nothing
	@tests/setup/demo.sh up

.PHONY: demo-down
demo-down: ## end the demo and delete its data
	@tests/setup/demo.sh down

.PHONY: test
test: packages lint build kernel initramfs registry ## everything that must pass
	@echo "== tests"
	@cargo test --workspace --doc --quiet
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace; \
	else \
		cargo test --workspace --exclude stack-tests --lib --bins --tests; \
		cargo test --package stack-tests --no-fail-fast -- --test-threads=1; \
	fi

.PHONY: lint
lint: ## formatting, clippy, and licences when cargo-deny is there
	@echo "== lint"
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo clippy --package stack-netd --features fuzzing -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; fi

.PHONY: packages
packages: toolchain ## install the system packages that are missing
	@tests/setup/packages.sh all

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { \
		echo "make: Rust is missing (no cargo in PATH): install it with rustup, https://rustup.rs" >&2; \
		exit 1; }

.PHONY: build
build: toolchain ## the four binaries, optimised
	@echo "== build"
	@cargo build --release --package stack --package stack-runtime --package stack-netd --package stack-files --bins

.PHONY: kernel
kernel: ## the guest's kernel; some minutes once, then cached
	@kernel/build.sh

.PHONY: initramfs
initramfs: toolchain ## the guest's init, packed for the kernel
	@vminit/initramfs.sh

.PHONY: images
images: ## the demo's images, out of Debian packages
	@tests/setup/images/build.sh

.PHONY: registry
registry: images ## a registry on loopback that has them
	@tests/setup/registry.sh push

.PHONY: bench
bench: bench-packages build kernel initramfs registry ## how long things take; BENCH="--only ab" for some
	@cargo build --release --quiet --package stack-vmm --example floor
	@cargo build --release --quiet --package stack-images --example unpack
	@tests/bench/bench.py $(BENCH)

.PHONY: bench-packages
bench-packages: toolchain
	@tests/setup/packages.sh bench

.PHONY: bench-plan
bench-plan: toolchain ## how long stack files take to read and plan
	@cargo build --release --quiet --package stack --bin stack
	@cargo build --release --quiet --package stack-planner --example bench
	@tests/bench/plan.py

.PHONY: bench-net
bench-net: bench-packages build kernel initramfs registry net-tools ## netd's data path beside its peers; BENCH="--only out,in" for some
	@tests/bench/net.py $(BENCH)

.PHONY: soak-net
soak-net: bench-packages net-tools ## netd under load for a quarter of an hour; BENCH="--minutes 1" for less
	@tests/bench/soak.py $(BENCH)

.PHONY: soak-storage
soak-storage: packages build kernel initramfs registry ## databases on each kind of storage while all is killed; STACK_SOAK_MINUTES=5 for less
	@cargo test --package stack-tests --test databases -- --ignored --nocapture soak

.PHONY: net-tools
net-tools: toolchain
	@cargo build --release --quiet --package stack-netd --bins --examples

# Building is done by whoever calls; only the copying may need root.
.PHONY: install
install: toolchain ## install to PREFIX (/usr/local); DESTDIR is honoured
	@tests/setup/packages.sh build
	@$(MAKE) build kernel initramfs
	@if mkdir -p "$(DESTDIR)$(PREFIX)" 2>/dev/null && [ -w "$(DESTDIR)$(PREFIX)" ]; then \
		$(MAKE) copy-files; \
	else \
		echo "install: $(DESTDIR)$(PREFIX) is root's, so with sudo:"; \
		sudo $(MAKE) copy-files PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)"; \
	fi

.PHONY: copy-files
copy-files:
	@install -d "$(bin)" "$(lib)"
	@for name in $(binaries); do install -m 755 "target/release/$$name" "$(bin)/$$name"; done
	@install -m 644 "target/kernel/$(kernel_image)" "$(lib)/$(kernel_image)"
	@install -m 644 target/initramfs.cpio "$(lib)/initramfs.cpio"
	@for pair in $(completions); do \
		file=$${pair#*:}; install -d "$$(dirname "$$file")"; \
		target/release/stack completion "$${pair%%:*}" > "$$file"; chmod 644 "$$file"; \
	done
	@install -d "$(dir $(unit))"
	@sed "s|@bin@|$(abspath $(PREFIX))/bin|" runtime/stackd.service > "$(unit)"; chmod 644 "$(unit)"
	@echo "install: $(bin)/stack; try \`stack doctor\`"

.PHONY: uninstall
uninstall: ## remove what install put there; data of stacks stays
	@set -- $(addprefix $(bin)/,$(binaries)) "$(unit)" $(foreach pair,$(completions),$(word 2,$(subst :, ,$(pair)))); \
	as_root=''; [ -w "$(bin)" ] || as_root=sudo; \
	$$as_root rm -f "$$@"; \
	$$as_root rm -rf "$(lib)"
	@echo "uninstall: done; images, volumes and logs are in $${XDG_DATA_HOME:-~/.local/share}/stack"

.PHONY: clean
clean: ## end the demo and the registry, delete what was built
	@tests/setup/demo.sh down
	@tests/setup/registry.sh stop
	@rm -rf target
