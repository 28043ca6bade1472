# The simulation of the whole protocol, and the rules broken one at a time that it has to notice; see docs/testing.md.
SEEDS ?= 20000
FIRST ?= 1
SIM := $(GOTEST) ./test/sim -count=1 -v -timeout 0 -run

.PHONY: sim
sim: ## Simulate the whole protocol over SEEDS=20000 random worlds from FIRST=1 on, or over the one of SEED=n.
	$(SIM) '^TestSimulation$$' $(if $(SEED),-sim.seed=$(SEED),-sim.seeds=$(SEEDS) -sim.first=$(FIRST))

.PHONY: test-sim
test-sim: ## Test the simulation's own parts, and simulate the first worlds for at most two minutes.
	$(GOTEST) ./test/mutation
	$(GOTEST) ./test/sim -count=1 -timeout 15m -v -run '^TestSimulation$$' -sim.seeds=4000 -sim.budget=2m
	$(GOTEST) ./test/sim -count=1 -timeout 15m -skip '^TestSimulation$$'

.PHONY: mutation
mutation: ## Break every rule of the protocol in turn, and require that the simulation notices (half an hour).
	$(GOTEST) ./test/mutation -count=1 -v -timeout 0 -mutation.run $(if $(ONLY),-mutation.only='$(ONLY)')
