GO ?= go
LDFLAGS := -s -w
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# One set of flags for everything but the race detector (which needs cgo), so that all of it shares one build cache.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath
GOTEST := CGO_ENABLED=0 $(GO) test -trimpath

.PHONY: build
build: ## Build operator, node and kubectl-rstore into bin/.
	$(GOBUILD) -ldflags='$(LDFLAGS) -X main.version=$(VERSION)' -o bin/ ./cmd/operator ./cmd/node ./cmd/kubectl-rstore
