# ReplicatedStore. `make help` lists every target; the targets are in hack/make/*.mk, one file per concern.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
ROOT := $(CURDIR)

include hack/make/*.mk

.PHONY: help
help: ## List every target.
	@echo "ReplicatedStore; see README.md. Targets:"
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z0-9_.-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | LC_ALL=C sort -f
