package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, f *fake, kinds ...Kind) *Writer {
	t.Helper()
	w, err := Start(t.Context(), Options{ID: "t", Address: f.address(), Connections: 3, Slots: 4, Kinds: kinds, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// until waits, with a time limit, until the writer's counts satisfy done.
func until(t *testing.T, w *Writer, what string, done func(Stats) bool) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if done(w.Stats(time.Time{})) {
			return
		}
	}
	t.Fatalf("%s never came: %+v", what, w.Stats(time.Time{}))
}

func acknowledged(n int64) func(Stats) bool { return func(s Stats) bool { return s.Acknowledged >= n } }

func verify(t *testing.T, w *Writer, fakes ...*fake) Report {
	t.Helper()
	var members []Member
	for i, f := range fakes {
		members = append(members, Member{Name: fmt.Sprintf("orders-%d", i+1), Address: f.address()})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := w.Verify(ctx, members)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAGoodStoreLosesNothing(t *testing.T) {
	f := newFake(t)
	w := start(t, f)
	until(t, w, "300 writes", acknowledged(300))
	w.Stop()
	if r := verify(t, w, f, f.copy(t)); !r.OK() || r.Acknowledged < 300 || r.Failed+r.Unknown != 0 || len(r.Members) != 2 {
		t.Fatalf("report %v: %+v", r, r)
	}
}

// TestWhatGoesWrongIsFound injects one fault into an otherwise good store, for every kind of write.
func TestWhatGoesWrongIsFound(t *testing.T) {
	tests := map[string]struct {
		misdeed  misdeed
		lost     bool
		phantoms bool
		outcome  func(Tally) int64 // of the faulty write
	}{
		"acknowledged and forgotten":    {forget, true, false, func(y Tally) int64 { return y.Acknowledged }},
		"refused and done all the same": {refuseAndDo, false, true, func(y Tally) int64 { return y.Failed }},
		"refused":                       {refuse, false, false, func(y Tally) int64 { return y.Failed }},
		"cut before":                    {cutBefore, false, false, func(y Tally) int64 { return y.Unknown }},
		"cut after":                     {cutAfter, false, false, func(y Tally) int64 { return y.Unknown }},
	}
	for name, tc := range tests {
		for _, kind := range Kinds {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				f := newFake(t)
				w := start(t, f, kind)
				until(t, w, "50 writes", acknowledged(50))
				var key string
				f.mu.Lock()
				f.on = func(_, k string) misdeed {
					if key == "" || k == key { // also for later writes to the key, since an overwrite must not hide the fault
						key = k
						return tc.misdeed
					}
					return behave
				}
				f.mu.Unlock()
				before := tc.outcome(w.Stats(time.Time{}).Tally)
				until(t, w, "the fault", func(s Stats) bool { return tc.outcome(s.Tally) > before })
				until(t, w, "more writes", acknowledged(w.Stats(time.Time{}).Acknowledged+50))
				w.Stop()
				r := verify(t, w, f)
				if (r.Lost > 0) != tc.lost {
					t.Errorf("lost %d: %+v", r.Lost, r.First)
				}
				// A refused write that took effect makes later replies of a counter too high, or is found at the end.
				if (r.Phantoms > 0) != tc.phantoms {
					t.Errorf("phantoms %d: %+v", r.Phantoms, r.First)
				}
				if r.OK() != (!tc.lost && !tc.phantoms) {
					t.Errorf("OK is %v", r.OK())
				}
			})
		}
	}
}

func TestAnIncrementDoneTwiceIsFound(t *testing.T) {
	f := newFake(t)
	w := start(t, f, Count)
	until(t, w, "20 writes", acknowledged(20))
	f.mu.Lock()
	once := false
	f.on = func(string, string) misdeed {
		if once {
			return behave
		}
		once = true
		return doTwice
	}
	f.mu.Unlock()
	until(t, w, "20 more", acknowledged(w.Stats(time.Time{}).Acknowledged+20))
	w.Stop()
	if r := verify(t, w, f); r.Phantoms != 1 || r.OK() {
		t.Fatalf("report %v", r)
	}
}

// TestOneMemberThatDiffersIsFound checks the case that the leader is right and a follower is wrong, in every possible way.
func TestOneMemberThatDiffersIsFound(t *testing.T) {
	f := newFake(t)
	w := start(t, f)
	until(t, w, "300 writes", acknowledged(300))
	w.Stop()
	find := func(kind Kind) *history {
		for _, h := range w.journal.keys {
			if h.kind == kind && len(h.acked) > 0 && (kind == Unique || len(h.acked) > 2) {
				return h
			}
		}
		t.Fatalf("no %s key", kind)
		return nil
	}
	over, uniq, count := find(Overwrite), find(Unique), find(Count)
	tests := map[string]struct {
		spoil          func(map[string]string)
		lost, phantoms int64
		first          uint64
	}{
		"a unique write is missing":    {func(d map[string]string) { delete(d, uniq.name) }, 1, 0, uniq.acked[0].number},
		"an older value":               {func(d map[string]string) { d[over.name] = value("t", over.newest(3)[0].number) }, 2, 0, over.newest(2)[0].number},
		"an overwritten key is gone":   {func(d map[string]string) { delete(d, over.name) }, int64(len(over.acked)), 0, over.acked[0].number},
		"a counter went back":          {func(d map[string]string) { d[count.name] = fmt.Sprint(len(count.acked) - 2) }, 2, 0, count.newest(2)[0].number},
		"a counter is ahead":           {func(d map[string]string) { d[count.name] = fmt.Sprint(len(count.acked) + 1) }, 0, 1, 0},
		"a damaged value":              {func(d map[string]string) { d[uniq.name] = strings.ToUpper(d[uniq.name]) + "x" }, 1, 1, 0},
		"another writer's value":       {func(d map[string]string) { d[uniq.name] = value("u", uniq.acked[0].number) }, 1, 1, 0},
		"the value of another key":     {func(d map[string]string) { d[over.name] = value("t", uniq.acked[0].number) }, 1, 1, 0},
		"a counter that is no number":  {func(d map[string]string) { d[count.name] = "x" }, int64(len(count.acked)), 1, 0},
		"nothing (the test's control)": {func(map[string]string) {}, 0, 0, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := f.copy(t)
			tc.spoil(g.data)
			r := verify(t, w, f, g)
			if r.Lost != tc.lost || r.Phantoms != tc.phantoms {
				t.Fatalf("lost %d, phantoms %d, want %d and %d: %v", r.Lost, r.Phantoms, tc.lost, tc.phantoms, r.First)
			}
			if r.OK() != (tc.lost+tc.phantoms == 0) {
				t.Fatal("OK contradicts the counts")
			}
			if len(r.First) > 0 && (r.First[0].Member != "orders-2" || r.First[0].Number != tc.first) {
				t.Fatalf("first is %v, want number %d on orders-2", r.First[0], tc.first)
			}
		})
	}
}

func TestAMemberThatIsBehindOrAwayIsNoSuccess(t *testing.T) {
	f := newFake(t)
	w := start(t, f)
	until(t, w, "30 writes", acknowledged(30))
	w.Stop()
	f.role = leaderRole(100)
	tests := map[string]struct {
		role string
		want string
	}{
		"behind":          {followerRole("connected", 99), "at 99 of 100"},
		"not connected":   {followerRole("sync", 100), "is sync"},
		"a second leader": {leaderRole(100), "2 members lead"},
		"no role":         {"-LOADING loading\r\n", "does not answer"},
		"an odd answer":   {"*1\r\n$8\r\nsentinel\r\n", "ROLE answers"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := f.copy(t)
			g.role = tc.role
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { // the time is over once it was asked twice
				for ; g.roles() < 2 && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
				}
				cancel(context.DeadlineExceeded)
			}()
			_, err := w.Verify(ctx, []Member{{"orders-1", f.address()}, {"orders-2", g.address()}})
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("verify says %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := w.Verify(t.Context(), nil); err == nil {
		t.Fatal("verification against nobody succeeds")
	}
}

// TestALateFollowerIsWaitedFor checks that catching up means reaching the position that the leader had, not the one it has by
// then.
func TestALateFollowerIsWaitedFor(t *testing.T) {
	f := newFake(t)
	f.role = leaderRole(100)
	g := f.copy(t)
	g.role = followerRole("connected", 50)
	go func() {
		time.Sleep(100 * time.Millisecond)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.role = followerRole("connected", 100)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := catchUp(ctx, []Member{{"orders-1", f.address()}, {"orders-2", g.address()}}, Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestTheGapOfAnOutageIsMeasured(t *testing.T) {
	f := newFake(t)
	w := start(t, f)
	until(t, w, "50 writes", acknowledged(50))
	f.mu.Lock()
	f.on = func(string, string) misdeed { return refuse }
	f.mu.Unlock()
	begun := time.Now()
	until(t, w, "refusals", func(s Stats) bool { return s.Failed > 50 })
	var g Gap
	gap := func(open bool) func(Stats) bool { // a stalled machine makes gaps of its own, which may be the longest for a moment
		return func(Stats) bool { g = w.Stats(begun).Gap; return g.Open == open }
	}
	until(t, w, "the gap of the outage", gap(true))
	if g.From.After(time.Now()) {
		t.Fatalf("gap during the outage is %+v", g)
	}
	f.mu.Lock()
	f.on = nil
	outage := time.Since(begun)
	f.mu.Unlock()
	until(t, w, "50 more", acknowledged(w.Stats(begun).Acknowledged+50))
	until(t, w, "the end of the gap", gap(false))
	if g.Length() < outage/2 || g.To.Before(g.From) {
		t.Fatalf("gap of an outage of %v is %+v (%v)", outage, g, g.Length())
	}
	w.Stop()
	if r := verify(t, w, f); !r.OK() || r.Failed == 0 {
		t.Fatalf("report %v", r)
	}
}

// TestConnectionsAreOpenBeforeTheFault checks that the loss of the listener does not stop writes on open connections, and that
// after these are cut, nothing that was never sent counts as unknown.
func TestConnectionsAreOpenBeforeTheFault(t *testing.T) {
	f := newFake(t)
	w := start(t, f)
	f.listener.Close()
	until(t, w, "50 writes without a listener", acknowledged(50))
	f.cutAll()
	until(t, w, "failed dials", func(s Stats) bool { return s.Failed >= 10 })
	w.Stop()
	if s := w.Stats(time.Time{}); s.Unknown > 3 {
		t.Fatalf("%d unknown of 3 connections: %+v", s.Unknown, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Options{ID: "t", Address: f.address()}); err == nil {
		t.Fatal("a writer starts without a store")
	}
}
