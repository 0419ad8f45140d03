# Each target is a line over a script or over the `updraft` command.

UPDRAFT := $(or $(CARGO_TARGET_DIR),target)/release/updraft

.DEFAULT_GOAL := help
.PHONY: help demo down test bench docs

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

demo: ## Install, build, start the cloud and launch a server in it, told step by step
	@scripts/demo.sh

down: ## Stop the cloud that `make demo` left running; its data stays in data/
	@scripts/down.sh

test: ## Everything that CI runs; STAGES="lint tests" runs a few, STAGES=--list names them
	@scripts/check/all.sh $(STAGES)

bench: ## Print the table of figures, with simulated guests
	@cargo build --release --package updraft-cloud
	@$(UPDRAFT) bench

docs: ## The book into target/book, the crates' documentation into target/doc
	@scripts/install-tools.sh docs
	@"$$(scripts/install-tools.sh where)/bin/mdbook" build book
	@cargo doc --no-deps
