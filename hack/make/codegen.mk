# Generated files: deep copies, the CRD, and what the chart takes from config/. All are committed.
TOOLS ?= $(ROOT)/bin/tools

$(TOOLS)/controller-gen: hack/tools/dev/go.mod hack/tools/dev/go.sum
	cd hack/tools/dev && $(GO) build -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(TOOLS)/kustomize: hack/tools/dev/go.mod hack/tools/dev/go.sum
	cd hack/tools/dev && $(GO) build -o $@ sigs.k8s.io/kustomize/kustomize/v5

.PHONY: generate
generate: $(TOOLS)/controller-gen ## Regenerate deep copies, the CRD and the chart's copies.
	hack/generate.sh $(TOOLS)/controller-gen .

.PHONY: verify-generate
verify-generate: $(TOOLS)/controller-gen ## Fail when a generated file is not what `make generate` makes.
	hack/verify-generate.sh $(TOOLS)/controller-gen
