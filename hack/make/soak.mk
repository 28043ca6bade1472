# Random faults on a real cluster of this machine, under load, for MINUTES; as root. SEED=n repeats the faults of a run, and
# SOAK_FLAGS=--down removes the cluster at the end. Evidence is left in dist/soak/.
MINUTES ?= 30
SOAK_FLAGS ?=

.PHONY: soak
soak: ## Break a real cluster at random for MINUTES=30 under load; judge history, losses and reports (root).
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/soak ./hack/soak $(PROGRESS)
	@exec bin/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(SOAK_FLAGS)

TIMES ?= 5

.PHONY: bench-pauses
bench-pauses: ## Measure on the real cluster for how long writes pause after each kind of fault, TIMES=5 each; JSON=file keeps it (root).
	@mkdir -p bin
	@$(GOBUILD) -v -o bin/pauses ./hack/soak/pauses $(PROGRESS)
	@exec bin/pauses --times $(TIMES) $(if $(ONLY),--only "$(ONLY)") $(if $(JSON),--json "$(JSON)")
