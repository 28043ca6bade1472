GO ?= go
LDFLAGS := -s -w

.PHONY: build
build: ## Build operator, node and kubectl-rstore into bin/.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='$(LDFLAGS)' -o bin/ ./cmd/operator ./cmd/node ./cmd/kubectl-rstore
