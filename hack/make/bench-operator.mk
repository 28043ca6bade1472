STORES ?= 200

.PHONY: bench-operator
bench-operator: bin/cluster ## Measure the operator with 1, 100 and STORES=200 idle stores, and with 51 leaders lost at once (real API server).
	@mkdir -p bin
	@$(GOBUILD) -v -ldflags='$(LDFLAGS) -X main.version=$(VERSION)' -o bin/ ./cmd/operator $(PROGRESS)
	@$(GOBUILD) -v -o bin/opbench ./hack/opbench $(PROGRESS)
	@KUBEBUILDER_ASSETS="$(ASSETS)" exec bin/opbench --stores $(STORES) $(BENCH_FLAGS)
