# End-to-end tests, on a real Kubernetes cluster of this machine; as root.
#   make e2e                     every case but those of e2e-long
#   make e2e PART=1/3            a third of them, for a CI whose jobs are short
#   make e2e CASE='node is lost' the cases that a regular expression (or a whole name) matches
# Where KUBECONFIG names another cluster they run there, with the image RSTORE_IMAGE, and break no machines.
# A table of faults, gaps and losses is printed at the end, and kept with those of other parts in dist/e2e/report.md.
E2E_FLAGS ?=
export CASE
E2E = $(GOTEST) -tags=e2e -count=1 -timeout 90m -v ./test/e2e $(if $(CASE),-case="$$CASE") $(if $(PART),-part='$(PART)')

.PHONY: e2e
e2e: ## Test operator and node together on a real cluster, with faults: CASE='regexp or name', PART=1/3 (root, an hour).
	$(E2E) -ginkgo.label-filter='!long' $(E2E_FLAGS)

.PHONY: e2e-quick
e2e-quick: ## The end-to-end cases that are part of `make test` (root, some minutes).
	$(E2E) -ginkgo.label-filter=quick $(E2E_FLAGS)

.PHONY: e2e-long
e2e-long: ## Kill a leader twenty times in a row, and seed a follower with 2 GB, under load (root, ten to thirty minutes).
	$(E2E) -ginkgo.label-filter=long -ginkgo.v $(E2E_FLAGS)
