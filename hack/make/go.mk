GO ?= go
LDFLAGS := -s -w
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# One set of flags for everything but the race detector (which needs cgo), so that all of it shares one build cache.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath
GOTEST := CGO_ENABLED=0 $(GO) test -trimpath

# Counts what `go build -v` compiles, on one line; everything else it says (errors) is passed on.
PROGRESS := 2>&1 | awk '/^go: downloading/ { d++; next } /^[A-Za-z0-9._\/-]+$$/ { n++; if (n % 25 == 0) { printf "  compiling: %d packages, %d modules fetched\n", n, d; fflush() }; next } { print; fflush() }'

.PHONY: build
build: ## Build operator, node and kubectl-rstore into bin/.
	@$(GOBUILD) -v -ldflags='$(LDFLAGS) -X main.version=$(VERSION)' -o bin/ ./cmd/operator ./cmd/node ./cmd/kubectl-rstore $(PROGRESS)
