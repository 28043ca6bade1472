.PHONY: conformance
conformance: ## Compare the data node with a real redis-server, reply by reply.
	@(command -v redis-server && command -v redis-cli && command -v redis-benchmark) >/dev/null || (apt-get update -q && apt-get install -qy --no-install-recommends redis-server redis-tools)
	CONFORMANCE_REQUIRED=1 $(GOTEST) -count=1 ./test/conformance/
	$(GOBUILD) -o bin/ ./cmd/node
	CONFORMANCE_REQUIRED=1 CONFORMANCE_BINARY=$(ROOT)/bin/node $(GOTEST) -count=1 ./test/conformance/
