IMAGE ?= localhost/replicatedstore:dev
IMAGE_ARCHIVE ?= dist/replicatedstore.tar

.PHONY: image
image: ## Build the container image as an archive in dist/, without Docker; for machines like this one, or those of IMAGE_ARCH=arm64.
	@CGO_ENABLED=0 $(GO) run -trimpath ./hack/image --tag $(IMAGE) --version '$(VERSION)' --output $(IMAGE_ARCHIVE) $(if $(IMAGE_ARCH),--arch $(IMAGE_ARCH)) $(if $(IMAGE_BUILD_TAGS),--build-tags $(IMAGE_BUILD_TAGS))
