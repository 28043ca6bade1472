N ?= 3
K ?= 1

.PHONY: local
local: ## Run a store of N members (K of them synchronous followers) on loopback until Ctrl-C.
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/ ./cmd/node $(PROGRESS)
	@$(GOBUILD) -v -o bin/local ./hack/local $(PROGRESS)
	@exec bin/local --members $(N) --sync $(K)
