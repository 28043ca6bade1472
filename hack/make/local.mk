N ?= 3
K ?= 1

.PHONY: local
local: ## Run a store of N members (K of them synchronous followers) on loopback until Ctrl-C.
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/node
	@CGO_ENABLED=0 $(GO) build -o bin/local ./hack/local
	@exec bin/local --members $(N) --sync $(K)
