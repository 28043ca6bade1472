FUZZTIME ?= 30s
FUZZ ?= ^Fuzz

.PHONY: fuzz
fuzz: ## Fuzz every parser of foreign bytes for FUZZTIME=30s each; FUZZ=regexp chooses targets. Commit what it writes to testdata/fuzz.
	@packages=$$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's,^,./,'); \
	targets=$$($(GOTEST) -list '$(FUZZ)' $$packages | awk '/^Fuzz/ { names = names " " $$1 } /^ok/ { split(names, n, " "); for (i in n) print $$2 ":" n[i]; names = "" }'); \
	[ -n "$$targets" ] || { echo "no target matches $(FUZZ)"; exit 1; }; \
	failed=; for t in $$targets; do \
	  echo "== $${t#*/*/*/}"; \
	  $(GOTEST) "$${t%:*}" -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME) || failed="$$failed $$t"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
