package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/evidence"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/faults"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/reports"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// verdict is everything that the judgement found.
type verdict struct {
	load    load.Stats
	history history.Verdict
	views   views
	ledger  ledger.Report
	changes []reports.Change
}

// judge mends, waits until everything is whole, ends the load, and judges all results. It continues after a breach, and then
// returns errTold.
func (s *soak) judge(ctx context.Context) error {
	lasted := time.Since(s.begun)
	s.tell.line("mend everything, end the load, and judge")
	mending, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	if err := s.injector.MendAll(mending); err != nil {
		s.breach("mend everything: %v", err)
	}
	if len(s.breaches) == 0 { // else it is known not to be whole
		if err := s.whole(ctx, time.Now()); err != nil {
			s.breach("at the end: %v", err)
		}
	}
	var v verdict
	s.judgeLoad(&v)
	s.judgeLedger(ctx, &v)
	s.judgeReports(ctx, &v)
	s.judgeFaults(lasted)
	if err := s.tell.summary(s, lasted, v); err != nil {
		s.breach("write the summary: %v", err)
	}
	if len(s.breaches) > 0 {
		return errTold
	}
	return nil
}

// judgeLoad stops the clients of the registers and checks their history.
func (s *soak) judgeLoad(v *verdict) {
	err := s.load.Finish(judgeTimeout)
	if err == nil {
		v.load, err = s.load.Stats(s.begun)
	}
	if err != nil {
		s.breach("end the load: %v", err)
	}
	s.load.Close()
	begun := time.Now()
	if v.history, v.views, err = judgeHistory(s.dir); err != nil {
		s.breach("%v", err)
		return
	}
	s.tell.line("%v (checked in %v)", v.history, time.Since(begun).Round(time.Millisecond))
	if !v.history.OK() {
		s.breach("history: %v", v.history)
	}
	for _, b := range v.views.breaches[:min(len(v.views.breaches), 10)] {
		s.breach("follower: %s", b)
	}
	s.tell.line("%d reads of followers, %d breaches; %d reads at members that need not lead, %d more refused", v.views.count, len(v.views.breaches), v.load.Asked, v.load.Refused)
	// Without any of these, the checks above would hold vacuously.
	if v.load.Writes == 0 || v.load.Reads == 0 || v.views.count == 0 || v.load.Asked == 0 {
		s.breach("nothing was tested: %d writes, %d reads (%d at members that need not lead), %d reads of followers",
			v.load.Writes, v.load.Reads, v.load.Asked, v.views.count)
	}
}

// judgeLedger stops the writer and checks every acknowledged write against every member.
func (s *soak) judgeLedger(ctx context.Context, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	err := s.ledger.Stop()
	var members []ledger.Member
	if err == nil {
		members, err = s.stores[ledgerStore].Members(ctx)
	}
	if err == nil {
		v.ledger, err = s.ledger.Verify(members, judgeTimeout)
	}
	if err != nil {
		s.breach("verify the ledger: %v", err)
		return
	}
	s.tell.line("ledger: %v, on each of %d members; %d failed, %d unknown", v.ledger, len(v.ledger.Members), v.ledger.Failed, v.ledger.Unknown)
	for _, loss := range v.ledger.First {
		s.breach("%v", loss)
	}
	if !v.ledger.OK() || v.ledger.Acknowledged == 0 {
		s.breach("ledger: %v", v.ledger)
	}
}

// judgeReports compares records with reports, and saves what the API server holds.
func (s *soak) judgeReports(ctx context.Context, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	ledger.Sleep(ctx, steady) // the last versions have to arrive
	v.changes = s.watcher.Changes()
	for _, b := range s.watcher.Breaches() {
		s.breach("report: %s", b)
	}
	for _, ns := range []string{s.stores[0].Namespace, stage.SystemNamespace} {
		dir := filepath.Join(s.dir, "objects", ns)
		if err := errors.Join(os.MkdirAll(dir, 0o755), evidence.Objects(ctx, s.stage.Client, ns, dir)); err != nil {
			s.breach("%v", err)
		}
	}
}

// fullRun is the length of a run from which on every kind of fault must have happened.
const fullRun = 20 * time.Minute

func (s *soak) judgeFaults(lasted time.Duration) {
	seen := map[faults.Kind]bool{}
	for _, x := range s.injected {
		seen[x.Kind] = true
	}
	for _, k := range faults.Kinds {
		if seen[k] {
			continue
		}
		if text := fmt.Sprintf("no %s in %v", k, lasted.Round(time.Second)); lasted >= fullRun {
			s.breach("%s", text)
		} else {
			s.tell.line("%s", text)
		}
	}
}
