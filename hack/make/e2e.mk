# End-to-end tests, on a real Kubernetes cluster of this machine; as root. E2E_FLAGS='-ginkgo.focus="node is cut"' selects.
E2E_FLAGS ?=

.PHONY: e2e
e2e: ## Test operator and node together on a real Kubernetes cluster, with faults (root, ten to twenty minutes).
	$(GOTEST) -tags=e2e -count=1 -timeout 90m -v ./test/e2e -ginkgo.vv=false $(E2E_FLAGS)
