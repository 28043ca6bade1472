# End-to-end tests, on a real Kubernetes cluster of this machine; as root. E2E_FLAGS='-ginkgo.focus="node is cut"' selects.
# Where KUBECONFIG names another cluster they run there, with the image RSTORE_IMAGE, and break no machines.
E2E_FLAGS ?=

.PHONY: e2e
e2e: ## Test operator and node together on a real Kubernetes cluster, with faults (root, ten to twenty minutes).
	$(GOTEST) -tags=e2e -count=1 -timeout 90m -v ./test/e2e -ginkgo.label-filter='!long' $(E2E_FLAGS)

.PHONY: e2e-long
e2e-long: ## Kill a leader twenty times in a row, and seed a follower with 2 GB, under load (root, ten to thirty minutes).
	$(GOTEST) -tags=e2e -count=1 -timeout 90m -v ./test/e2e -ginkgo.label-filter=long -ginkgo.v $(E2E_FLAGS)
