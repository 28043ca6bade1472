SIZE ?= 10G
SEED_RATE ?= 0

.PHONY: bench-seeding
bench-seeding: ## Measure a seed of SIZE=10G under write load: its rate beside a plain copy, and the leader's latency. SEED_RATE bounds it.
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/ ./cmd/node $(PROGRESS)
	@$(GOBUILD) -v -o bin/seedbench ./hack/seedbench $(PROGRESS)
	@exec bin/seedbench --size $(SIZE) --seed-rate $(SEED_RATE) $(BENCH_FLAGS)
