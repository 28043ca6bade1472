package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	ProcessKill  Kind = "process kill"
	NodeKill     Kind = "node kill"
	Cut          Kind = "cut"
	OneWayCut    Kind = "one-way cut"
	LeaderPause  Kind = "leader pause"
	APIDown      Kind = "API server down"
	OperatorKill Kind = "operator kill"
)

// Kinds lists all kinds.
var Kinds = []Kind{ProcessKill, NodeKill, Cut, OneWayCut, LeaderPause, APIDown, OperatorKill}

// Reach is the reach of a cut: from every machine, from the API server, or from the node of one other member.
type Reach string

// The reaches.
const (
	FromAll  Reach = "all"
	FromAPI  Reach = "api"
	FromPeer Reach = "peer"
)

// Fault is one fault as drawn. Its target is chosen only when it begins, since leaders move.
type Fault struct {
	Number int           `json:"number"` // from 1
	Kind   Kind          `json:"kind"`
	Pause  time.Duration `json:"pause"` // time before it, with the store whole
	Hold   time.Duration `json:"hold"`  // duration, for faults that last
	// Store is the number of the store whose member's node is hit. Process faults hit every store.
	Store int `json:"store"`
	// Follower means that a follower is hit instead of the leader.
	Follower bool `json:"follower,omitempty"`
	// From and Direction ("in", "out") describe a cut.
	From      Reach  `json:"from,omitempty"`
	Direction string `json:"direction,omitempty"`
	// WithLeader means that the leader's process dies together with the operators.
	WithLeader bool `json:"withLeader,omitempty"`
}

// Bounds of the random values.
const (
	leastPause, mostPause = 2 * time.Second, 6 * time.Second
	leastHold, mostHold   = 6 * time.Second, 16 * time.Second
)

// Schedule draws faults. The same seed yields the same faults.
type Schedule struct {
	random *rand.Rand
	stores int
	round  []Kind // kinds left in this round
	number int
}

// NewSchedule returns a schedule for the given number of stores.
func NewSchedule(seed uint64, stores int) *Schedule {
	return &Schedule{random: rand.New(rand.NewPCG(seed, 0x50a4)), stores: stores}
}

// Next draws a fault. Each round of len(Kinds) faults has every kind once, in an order drawn anew, so chance omits none.
func (s *Schedule) Next() Fault {
	if len(s.round) == 0 {
		s.round = slices.Clone(Kinds)
		s.random.Shuffle(len(s.round), func(i, j int) { s.round[i], s.round[j] = s.round[j], s.round[i] })
	}
	s.number++
	f := Fault{
		Number: s.number, Kind: s.round[0], Store: s.random.IntN(s.stores),
		Pause: s.between(leastPause, mostPause), Hold: s.between(leastHold, mostHold),
	}
	s.round = s.round[1:]
	switch f.Kind {
	case ProcessKill, NodeKill:
		f.Follower = s.random.IntN(4) == 0
	case Cut, OneWayCut:
		f.Follower = s.random.IntN(4) == 0
		f.From = []Reach{FromAll, FromAll, FromAPI, FromPeer}[s.random.IntN(4)]
		if f.Kind == OneWayCut {
			f.Direction = []string{"in", "out"}[s.random.IntN(2)]
		}
	case OperatorKill:
		f.WithLeader = s.random.IntN(2) == 0
	case LeaderPause, APIDown:
	}
	return f
}

func (s *Schedule) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(s.random.Int64N(int64(most-least)))).Round(10 * time.Millisecond)
}

// Lasts reports whether the fault lasts until it is mended. Otherwise it is instantaneous.
func (f Fault) Lasts() bool { return f.Kind != ProcessKill && f.Kind != OperatorKill }

// String describes what was drawn, without the target.
func (f Fault) String() string {
	s := string(f.Kind)
	if f.From != "" {
		s += " from " + string(f.From)
	}
	if f.Direction != "" {
		s += " (" + f.Direction + ")"
	}
	switch {
	case f.Follower:
		s += " of a follower"
	case f.WithLeader:
		s += " with the leaders' processes"
	}
	if f.Lasts() {
		s += fmt.Sprintf(" for %v", f.Hold)
	}
	return s
}
