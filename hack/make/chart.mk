# The Helm chart, and what a real API server says to the API, the manifests and the permissions.
TOOLS ?= $(ROOT)/bin/tools

$(TOOLS)/helm: hack/tools/helm/go.mod hack/tools/helm/go.sum
	cd hack/tools/helm && $(GO) build -o $@ helm.sh/helm/v3/cmd/helm

.PHONY: chart-lint
chart-lint: $(TOOLS)/helm ## Lint the chart, render it with many values, and compare it with config/.
	HELM=$(TOOLS)/helm $(GO) test -count=1 ./test/chart

# A directory with kube-apiserver and etcd. Building them takes minutes; set it to have them built once for several trees.
KUBEBUILDER_ASSETS ?= $(TOOLS)/apiserver

$(TOOLS)/apiserver/kube-apiserver: hack/tools/kube/go.mod hack/tools/kube/go.sum
	cd hack/tools/kube && CGO_ENABLED=0 $(GO) build -o $@ k8s.io/kubernetes/cmd/kube-apiserver

$(TOOLS)/apiserver/etcd: hack/tools/kube/go.mod hack/tools/kube/go.sum
	cd hack/tools/kube && CGO_ENABLED=0 $(GO) build -o $@ go.etcd.io/etcd/server/v3

.PHONY: test-apiserver
ifeq ($(KUBEBUILDER_ASSETS),$(TOOLS)/apiserver)
test-apiserver: $(TOOLS)/apiserver/kube-apiserver $(TOOLS)/apiserver/etcd
endif
test-apiserver: ## Test defaults, rules, manifests and permissions against a real API server.
	KUBEBUILDER_ASSETS=$(KUBEBUILDER_ASSETS) $(GO) test -count=1 ./test/apiserver
