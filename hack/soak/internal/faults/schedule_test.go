package faults

import (
	"reflect"
	"testing"
)

func draw(seed uint64, n int) (out []Fault) {
	s := NewSchedule(seed, 2)
	for range n {
		out = append(out, s.Next())
	}
	return out
}

func TestSeed(t *testing.T) {
	if !reflect.DeepEqual(draw(7, 50), draw(7, 50)) {
		t.Fatal("the same seed gives other faults")
	}
	if reflect.DeepEqual(draw(7, 50), draw(8, 50)) {
		t.Fatal("another seed gives the same faults")
	}
}

// Each round has every kind once, and every fault is complete and within bounds.
func TestRounds(t *testing.T) {
	for seed := range uint64(50) {
		seen := map[Kind]int{}
		for i, f := range draw(seed, 10*len(Kinds)) {
			seen[f.Kind]++
			if f.Number != i+1 {
				t.Fatalf("fault %d has number %d", i+1, f.Number)
			}
			if round := i/len(Kinds) + 1; seen[f.Kind] > round {
				t.Fatalf("seed %d: %s comes %d times within %d rounds", seed, f.Kind, seen[f.Kind], round)
			}
			if f.Pause < leastPause || f.Pause > mostPause || f.Hold < leastHold || f.Hold > mostHold || f.Store < 0 || f.Store > 1 {
				t.Fatalf("%+v is out of bounds", f)
			}
			if cut := f.Kind == Cut || f.Kind == OneWayCut; cut != (f.From != "") {
				t.Fatalf("%+v", f)
			}
			if (f.Kind == OneWayCut) != (f.Direction != "") {
				t.Fatalf("%+v", f)
			}
		}
		for _, k := range Kinds {
			if seen[k] != 10 {
				t.Fatalf("seed %d: %s came %d times in ten rounds", seed, k, seen[k])
			}
		}
	}
}

// Over many draws every variant occurs.
func TestVariants(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range draw(1, 500) {
		f.Hold = 0
		seen[f.String()] = true
	}
	// For the leader and for a follower: 2 kills, and 3 reaches of a cut in 3 forms. Plus pause, API server, operators alone or
	// not.
	if want := 2*2 + 2*3*3 + 1 + 1 + 2; len(seen) != want {
		t.Fatalf("%d variants, want %d: %v", len(seen), want, seen)
	}
}
