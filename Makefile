# `make` lists what there is. Everything is cargo; this file only remembers the arguments.

PREFIX ?= /usr/local
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Built in one go wherever release programs are needed: the same packages have the same features of
# their dependencies, which so are built once. Tests and lints take the same profile for that.
RELEASE := $(CARGO) build --release --locked --bins --workspace

# Seeds of `make sim`, some two minutes on two cores; of `make sim-long` as you like.
SIM_SEEDS ?= 1000
SEEDS ?= 20000

# Moves of the longest scripts of `make small-worlds`, of those on which every blow falls, of those
# on which it does where the move is not like one before, of those that other moves cross, and of
# those that others cross while a disk hangs.
DEPTH ?= 3
BLOWS ?= 2
ONCE ?= 3
CROSSINGS ?= 1
DELAYS ?= 1

# From so many seeds on `make sim-long` fails where a situation was never met.
MARKS_SEEDS ?= 20000

KILLS ?= 50
POWER_LOSSES ?= 20

# What `make vm-profile` looks at: nbd0, socket, or DRBD's drbd0; and a load of `make vm-bench`.
ON ?= nbd0
LOAD ?= 4k write qd32

# Minutes of `make fuzz`, all its targets together, and of `make chaos`.
MINUTES ?= 2

# Root has a network for itself in `make chaos`, in which the kernel loses packets.
ifeq ($(shell id -u),0)
OWN_NETWORK := unshare --net sh -c 'ip link set lo up && exec env TANDEM_NETNS=1 "$$@"' sh
endif

# Tools, Debian's kernel and programs for `make vm-smoke` and `make vm-test`, and what those play.
define VM
	scripts/install-vm-tools $(TARGET)/vm
	$(RELEASE)
endef
VM_SMOKE := smoke
CASES ?=

# Planted bugs to look for, by name; all where there is none. The same for what to fuzz.
MUTANTS ?=
FUZZ ?=

# Private items are documented too: links to them lead somewhere, and need no words for every field.
RUSTDOC_LINTS := -D warnings -A missing_docs -A rustdoc::private_intra_doc_links

.PHONY: help build demo release test lint doc tidy sim sim-long small-worlds mutants fuzz kills power chaos vm-smoke vm-test vm-bench vm-profile bench-quick bench bench-report profile microbench install

help: ## This list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

build: ## tandemd and tandemadm, in target/release
	$(CARGO) build --release --locked -p tandem-node -p tandem-adm

demo: ## Two nodes on loopback, a cut link, a killed Primary; needs cargo only
	$(CARGO) build --release --locked -p tandem-node -p tandem-adm -p tandem-demo
	$(TARGET)/release/tandem-demo

release: ## Every program, for the other targets
	$(RELEASE)

test: ## Every test but the long ones; installs missing Debian packages
	scripts/install-test-tools
	$(RELEASE)
	$(CARGO) test --release --workspace --locked

lint: ## Formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

doc: ## The documentation of the code, in target/doc
	RUSTDOCFLAGS='$(RUSTDOC_LINTS)' $(CARGO) doc --release --workspace --no-deps --locked \
		--document-private-items

tidy: ## Sizes, layering, documents against code
	$(CARGO) test --release --locked -p tandem-tidy

sim: ## The simulator, SIM_SEEDS seeds from 0, and a fifth as many of either later kind
	$(RELEASE)
	$(TARGET)/release/tandem-sim --seeds $(SIM_SEEDS)
	$(TARGET)/release/tandem-sim --seeds $$(($(SIM_SEEDS) / 5)) --start 1000000
	$(TARGET)/release/tandem-sim --seeds $$(($(SIM_SEEDS) / 5)) --start 2000000

sim-long: ## The simulator, SEEDS seeds from a random one
	$(RELEASE)
	$(TARGET)/release/tandem-sim --seeds $(SEEDS) --start $$(od -An -N4 -tu4 /dev/urandom | tr -d ' ') \
		--require-marks $(MARKS_SEEDS)

small-worlds: ## Every script of DEPTH moves, every crash and cut of the last one up to BLOWS moves
	$(RELEASE)
	$(TARGET)/release/tandem-small-worlds --depth $(DEPTH) --blows $(BLOWS) --once $(ONCE) \
		--crossings $(CROSSINGS) --delays $(DELAYS)
	$(TARGET)/release/tandem-small-worlds --apart --depth 1 --crossings $(CROSSINGS)

mutants: ## Planted bugs, each to be found by seeds or small worlds; MUTANTS='a b' for some
	$(CARGO) build --release --locked -p tandem-sim --bin tandem-mutants
	$(TARGET)/release/tandem-mutants $(MUTANTS)

fuzz: ## Any bytes into all that takes bytes, for MINUTES; FUZZ='pair config' for some
	$(CARGO) build --release --locked -p tandem-fuzz
	nice $(TARGET)/release/tandem-fuzz $(FUZZ) --minutes $(MINUTES) --out $(TARGET)/fuzz

kills: ## KILLS kills of daemons under load
	scripts/install-test-tools
	$(RELEASE)
	TANDEM_KILLS=$(KILLS) $(CARGO) test --release --locked -p tandem-tests kills -- --nocapture

power: ## POWER_LOSSES power losses under load
	scripts/install-test-tools
	$(RELEASE)
	TANDEM_POWER_LOSSES=$(POWER_LOSSES) $(CARGO) test --release --locked -p tandem-tests power -- --nocapture

chaos: ## Faults of all kinds at once, under load, for MINUTES
	scripts/install-test-tools
	$(RELEASE)
	TANDEM_CHAOS_MINUTES=$(MINUTES) $(OWN_NETWORK) \
		$(CARGO) test --release --locked -p tandem-tests chaos -- --nocapture

vm-smoke: ## Machines with kernels of their own: what says most
	$(VM)
	$(TARGET)/release/tandem-vm run --kernel $(TARGET)/vm --out $(TARGET)/vm/cases $(VM_SMOKE)

vm-test: ## The same with every case, or with CASES='boot ...'
	$(VM)
	$(TARGET)/release/tandem-vm run --kernel $(TARGET)/vm --out $(TARGET)/vm/cases $(CASES)

vm-bench: ## tandem beside DRBD 8.4 in one machine, by instructions; half an hour
	$(VM)
	$(TARGET)/release/tandem-vm bench --kernel $(TARGET)/vm --out $(TARGET)/vm/bench

vm-profile: ## The functions that one load of it spends its instructions in: ON=nbd0 LOAD='4k read qd1'
	scripts/install-profile-tools
	$(VM)
	$(TARGET)/release/tandem-vm profile --kernel $(TARGET)/vm --out $(TARGET)/vm/profile \
		$(ON) '$(LOAD)'

bench-quick: ## tandem beside its peers and the disk, the workloads that say most; three minutes
	scripts/install-test-tools
	$(RELEASE)
	$(TARGET)/release/tandem-bench quick --disks $(TARGET) --out $(TARGET)/bench.json

bench: ## The same with all workloads and candidates, on disk and in memory; fifteen minutes
	scripts/install-test-tools
	$(RELEASE)
	$(TARGET)/release/tandem-bench full --disks $(TARGET) --out $(TARGET)/bench.json

bench-report: ## The last measurement's table, and charts in target/bench.html
	$(RELEASE)
	$(TARGET)/release/tandem-bench report $(TARGET)/bench.json

profile: ## Instructions, cycles and functions of both daemons under load, by perf
	scripts/install-profile-tools
	$(RELEASE)
	$(TARGET)/release/tandem-bench profile --disks $(TARGET) --out $(TARGET)/profile.json

microbench: ## Frames, checksums, bitmaps, and a write through two cores in memory
	$(CARGO) bench --locked -p tandem-wire --bench frames
	$(CARGO) bench --locked -p tandem-replica --bench core

install: build ## tandemd, tandemadm, its manual pages and completions to PREFIX
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/man/man5 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(TARGET)/release/tandemd $(TARGET)/release/tandemadm $(DESTDIR)$(PREFIX)/sbin
	$(TARGET)/release/tandemadm man-pages $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 docs/man/tandemd.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 docs/man/tandemd.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5
	$(TARGET)/release/tandemadm completions bash > \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tandemadm
	$(TARGET)/release/tandemadm completions zsh > \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_tandemadm
	$(TARGET)/release/tandemadm completions fish > \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tandemadm.fish
