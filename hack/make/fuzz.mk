FUZZTIME ?= 30s
FUZZ ?= ^Fuzz

.PHONY: fuzz
fuzz: ## Fuzz every parser of foreign bytes for FUZZTIME=30s each; FUZZ=regexp chooses targets. Commit what it writes to testdata/fuzz.
	@targets=$$($(GOTEST) -list '$(FUZZ)' ./... | awk '/^Fuzz/ { names = names " " $$1 } /^ok/ { split(names, n, " "); for (i in n) print $$2 ":" n[i]; names = "" }'); \
	[ -n "$$targets" ] || { echo "no target matches $(FUZZ)"; exit 1; }; \
	failed=; for t in $$targets; do \
	  echo "== $${t#*/*/*/}"; \
	  $(GOTEST) "$${t%:*}" -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME) || failed="$$failed $$t"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
