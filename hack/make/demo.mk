# The demo, on the project's own cluster or the one that KUBECONFIG names. Flags: make demo DEMO_FLAGS=--down
DEMO_FLAGS ?=

.PHONY: demo
demo: ## Show the product on a real Kubernetes cluster: failovers under load, and no acknowledged write lost.
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/demo ./hack/demo $(PROGRESS)
	@exec bin/demo $(DEMO_FLAGS)
