# The Helm chart, and what a real API server says to the API, the manifests and the permissions.
# KUBEBUILDER_ASSETS names a directory with kube-apiserver and etcd; by default the one that `make tools` builds.
ASSETS = $${KUBEBUILDER_ASSETS:-$$(dirname "$$(bin/cluster tool-path kube-apiserver)")}

.PHONY: chart-lint
chart-lint: bin/cluster ## Lint the chart, render it with many values, and compare it with config/.
	HELM="$$(bin/cluster tool-path helm)" $(GOTEST) -count=1 ./test/chart

.PHONY: test-apiserver
test-apiserver: bin/cluster ## Test rules, manifests, permissions and the operator against a real API server.
	KUBEBUILDER_ASSETS="$(ASSETS)" $(GOTEST) -count=1 -timeout 30m ./test/apiserver/...
