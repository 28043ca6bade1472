# etcd and its load generator come from a tool module of their own: the one of the cluster builds all of Kubernetes.
BENCH_ETCD := bin/bench-etcd

$(BENCH_ETCD)/server: hack/tools/etcd/go.mod hack/tools/etcd/go.sum
	@mkdir -p $(BENCH_ETCD)
	@cd hack/tools/etcd && CGO_ENABLED=0 GOWORK=off $(GO) build -v -trimpath -o $(ROOT)/$(BENCH_ETCD)/ tool $(PROGRESS)

.PHONY: bench-programs
bench-programs: $(BENCH_ETCD)/server
	@(command -v redis-server && command -v redis-benchmark) >/dev/null || (apt-get update -q && apt-get install -qy --no-install-recommends redis-server redis-tools)
	@mkdir -p bin
	@$(GOBUILD) -v -ldflags='$(LDFLAGS)' -o bin/ ./cmd/node ./hack/bench $(PROGRESS)

.PHONY: bench
bench: bench-programs ## Measure the store beside Redis and etcd and judge the ratios; BENCH_FLAGS, see bin/bench --help.
	@exec bin/bench $(BENCH_FLAGS)

.PHONY: bench-curves
bench-curves: bench-programs ## Measure rates by connections, values, data, members and k, beside the machine's limits; BENCH_FLAGS, see bin/bench curves --help.
	@exec bin/bench curves $(BENCH_FLAGS)
