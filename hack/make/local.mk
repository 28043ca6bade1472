N ?= 3
K ?= 1

.PHONY: local
local: ## Run a store of N members (K of them synchronous followers) on loopback until Ctrl-C.
	@mkdir -p bin
	@$(GOBUILD) -o bin/ ./cmd/node
	@$(GOBUILD) -o bin/local ./hack/local
	@exec bin/local --members $(N) --sync $(K)
