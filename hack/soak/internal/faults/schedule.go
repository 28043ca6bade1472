package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind of a fault.
type Kind string

// The kinds.
const (
	ProcessKill  Kind = "process kill"
	NodeKill     Kind = "node kill"
	Cut          Kind = "cut"
	OneWayCut    Kind = "one-way cut"
	LeaderPause  Kind = "leader pause"
	APIDown      Kind = "API server down"
	OperatorKill Kind = "operator kill"
)

// Kinds are all of them.
var Kinds = []Kind{ProcessKill, NodeKill, Cut, OneWayCut, LeaderPause, APIDown, OperatorKill}

// Reach of a cut: the machine is cut off from everybody, from the API server, or from the node of another member.
type Reach string

// The reaches.
const (
	FromAll  Reach = "all"
	FromAPI  Reach = "api"
	FromPeer Reach = "peer"
)

// Fault is one fault, as it is drawn. What it hits is known when it begins, since leaders move.
type Fault struct {
	Number int           `json:"number"` // from 1
	Kind   Kind          `json:"kind"`
	Pause  time.Duration `json:"pause"` // before it, with the store whole
	Hold   time.Duration `json:"hold"`  // how long it lasts, where it is something that lasts
	// Store, by its number, whose member's node is hit. Processes are hit in every store.
	Store int `json:"store"`
	// Follower: a follower is hit, not the leader.
	Follower bool `json:"follower,omitempty"`
	// From and Direction ("in", "out") of cuts.
	From      Reach  `json:"from,omitempty"`
	Direction string `json:"direction,omitempty"`
	// WithLeader: the leader's process dies together with the operators.
	WithLeader bool `json:"withLeader,omitempty"`
}

// Bounds of what is drawn.
const (
	leastPause, mostPause = 2 * time.Second, 6 * time.Second
	leastHold, mostHold   = 6 * time.Second, 16 * time.Second
)

// Schedule draws faults. The same seed gives the same ones.
type Schedule struct {
	random *rand.Rand
	stores int
	round  []Kind // what is left of this round
	number int
}

// NewSchedule draws for a number of stores.
func NewSchedule(seed uint64, stores int) *Schedule {
	return &Schedule{random: rand.New(rand.NewPCG(seed, 0x50a4)), stores: stores}
}

// Next draws a fault. Every kind comes once in each round of len(Kinds), in an order drawn anew, so none is left out by
// chance.
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

// Lasts tells whether the fault goes on until it is mended; otherwise it is over at once.
func (f Fault) Lasts() bool { return f.Kind != ProcessKill && f.Kind != OperatorKill }

// String says what was drawn, without what it hits.
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
