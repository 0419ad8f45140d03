# Each target is a line over a script or over the `updraft` command.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
UPDRAFT := $(TARGET)/release/updraft
CLUSTER := $(TARGET)/ractor-cluster
MADSIM := $(TARGET)/bench-madsim
TIME := 8h

.DEFAULT_GOAL := help
.PHONY: help demo down test bench bench-harness bench-messages campaign bugs deb docs

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 2,24

demo: ## Install, build, start the cloud and launch a server in it, told step by step
	@scripts/demo.sh

down: ## Stop the cloud that `make demo` left running; its data stays in data/
	@scripts/down.sh

test: ## Everything that CI runs; STAGES="lint tests" runs a few, STAGES=--list names them
	@scripts/check/all.sh $(STAGES)

bench: ## Print the table of figures, with simulated guests
	@cargo build --release --package updraft-cloud
	@$(UPDRAFT) bench

# All of madsim's world is built with a flag of its own; without it, its row says so.
bench-harness: ## Print how fast the simulator is and how that grows; ARGS="--hosts 5,50 --servers 100" measures less
	@cargo build --release --package updraft-bench-harness
	-@RUSTFLAGS="--cfg madsim" cargo build --release --locked --manifest-path tests/harness/madsim/Cargo.toml \
		--target-dir $(MADSIM)
	@$(TARGET)/release/bench-harness --json $(TARGET)/bench-harness.json --plots $(TARGET)/bench-harness \
		--madsim $(MADSIM)/release/bench-madsim $(ARGS)

# ractor_cluster cannot be linked into the other program; without it, its rows say so.
bench-messages: ## Print what a message costs, beside what else carries messages; ARGS="--quick" only tries it
	@scripts/install-tools.sh messages
	@cargo build --release --package updraft-bench-messages
	-@cargo build --release --locked --manifest-path tests/messages/ractor-cluster/Cargo.toml --target-dir $(CLUSTER)
	@$(TARGET)/release/bench-messages --json $(TARGET)/bench-messages.json \
		--ractor-cluster $(CLUSTER)/release/bench-ractor-cluster $(ARGS)

campaign: ## Run seeds of the simulated cloud for TIME=8h, and keep the figures; ARGS="--scenario life" chooses
	@cargo build --release --package updraft-tests --bin updraft-sim
	@$(TARGET)/release/updraft-sim --time $(TIME) --out $(TARGET)/campaign --figures $(TARGET)/campaign.jsonl $(ARGS)

bugs: ## Plant each bug of the catalogue, find it, and print the table; ARGS="--seeds 100 NAME ..." hunts a few
	@cargo build --package updraft-tests --features updraft-tests/planted --bin updraft-bugs
	@$(TARGET)/debug/updraft-bugs --write tests/bugs.json --book book/src/planted-bugs.md $(ARGS)

deb: ## Make a Debian package of the cloud, with units for systemd, in target/debian
	@scripts/install-tools.sh deb
	@cargo build --release --package updraft-cloud --package updraft-libvirt
	@PATH="$$(scripts/install-tools.sh where)/bin:$$PATH" cargo deb --quiet --no-build --package updraft-cloud

docs: ## The book into target/book, the crates' documentation into target/doc
	@scripts/install-tools.sh docs
	@"$$(scripts/install-tools.sh where)/bin/mdbook" build book
	@cargo doc --no-deps
