# Tests in tiers; docs/testing.md explains them. `make test` runs those of some minutes and installs what they need.
RACE_PACKAGES := ./replication/... ./node/... ./controllers/... ./api/... ./cmd/... ./test/ledger/... ./hack/...
TEST_FLAGS ?=

.PHONY: test
test: lint test-unit test-sim test-apiserver chart-lint conformance e2e-quick ## Lint, unit, first simulated worlds, API server, chart, conformance, quick e2e (root; the first run builds Kubernetes).
	@echo "all of it passed"

.PHONY: lint
lint: ## Check formatting, vet, the arrows between rooms and generated files.
	@bad=$$(gofmt -l $$(git ls-files '*.go' | grep -v zz_generated)); [ -z "$$bad" ] || { echo "not gofmt'ed: $$bad"; exit 1; }
	CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath" $(GO) vet ./...
	CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath" $(GO) vet -tags=failpoints,skewedclock ./controllers ./node ./cmd/operator ./cmd/node
	CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath" $(GO) vet -tags=e2e ./test/e2e/...
	$(GOTEST) -count=1 ./test/layout

.PHONY: test-unit
test-unit: ## Test everything that needs no cluster, under the race detector.
	@command -v gcc >/dev/null || (apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev) # the race detector needs it
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $(TEST_FLAGS) $(RACE_PACKAGES)
