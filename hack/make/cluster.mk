# The local Kubernetes cluster: see `bin/cluster --help`. Needs root; builds its programs from source the first time.
CLUSTER_NODES ?= 3
CLUSTER_TEST_FLAGS ?=

.PHONY: bin/cluster
bin/cluster:
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/cluster ./hack/cluster $(PROGRESS)

.PHONY: tools
tools: bin/cluster ## Install and build what the cluster and the charts need (Kubernetes, etcd, CoreDNS, Helm).
	@bin/cluster tools

.PHONY: cluster-up
cluster-up: bin/cluster ## Start a real Kubernetes cluster on this machine (CLUSTER_NODES=3), as root.
	@bin/cluster up --nodes $(CLUSTER_NODES)

.PHONY: cluster-down
cluster-down: bin/cluster ## Stop the cluster and check that nothing of it is left.
	@bin/cluster down
	@bin/cluster down --verify

.PHONY: cluster-status
cluster-status: bin/cluster ## Show the cluster's machines, services and cuts.
	@bin/cluster status

.PHONY: cluster-load
cluster-load: bin/cluster image ## Build the image and import it on every worker of the cluster.
	@bin/cluster load $(IMAGE_ARCHIVE)

.PHONY: test-cluster
test-cluster: ## Test the cluster harness itself on a cluster of its own (root, a few minutes).
	$(GOTEST) -tags=clustertest -count=1 -timeout 20m -v $(CLUSTER_TEST_FLAGS) ./hack/cluster/...
