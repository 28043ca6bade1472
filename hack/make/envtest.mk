# The operator against a real API server and real data nodes. KUBEBUILDER_ASSETS is that of test-apiserver (chart.mk).
.PHONY: test-operator
ifeq ($(KUBEBUILDER_ASSETS),$(TOOLS)/apiserver)
test-operator: $(TOOLS)/apiserver/kube-apiserver $(TOOLS)/apiserver/etcd
endif
test-operator: ## Test the operator against a real API server and real data nodes.
	KUBEBUILDER_ASSETS=$(KUBEBUILDER_ASSETS) $(GO) test -count=1 -timeout 20m ./test/apiserver/operator
