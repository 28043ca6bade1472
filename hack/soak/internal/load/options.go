package load

import (
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Target is how clients reach a store.
type Target struct {
	ReadWrite string          `json:"rw"` // host:port of the Service of the leader
	ReadOnly  string          `json:"ro"` // host:port of the Service of the followers
	Members   []ledger.Member `json:"members"`
}

// Options configure a Load.
type Options struct {
	Run     string `json:"run"`     // part of every key's name; never reused
	Seed    uint64 `json:"seed"`    // determines what the clients do, though not when
	History string `json:"history"` // file to create
	// Registers is the store whose operations must be linearizable. Followers is the store whose followers answer reads.
	Registers Target `json:"registers"`
	Followers Target `json:"followers"`

	Clients int           `json:"clients"` // on the registers
	Slots   int           `json:"slots"`   // registers in use at any time
	Think   time.Duration `json:"think"`   // mean pause of a client between two operations
	// Rotate is how long a register is used. It is given up immediately after LeastOpen operations of unknown outcome.
	Rotate    time.Duration `json:"rotate"`
	LeastOpen int           `json:"leastOpen"`
	Pairs     int           `json:"pairs"` // writers of pairs, for the readers of followers
	// Timeout bounds one operation, and the making of a connection. After it, the outcome of a write is unknown.
	Timeout time.Duration `json:"timeout"`
}

func (o Options) valid() error {
	if o.Run == "" || o.History == "" || o.Clients < 1 || o.Slots < 1 || o.Pairs < 1 || o.LeastOpen < 1 ||
		o.Think <= 0 || o.Rotate <= 0 || o.Timeout <= 0 || len(o.Registers.Members) == 0 || len(o.Followers.Members) == 0 {
		return errors.New("start the load: every option is needed")
	}
	return nil
}

// Stats are the statistics of a Load so far.
type Stats struct {
	Writes  int64 `json:"writes"`  // acknowledged, on registers
	Reads   int64 `json:"reads"`   // answered, on registers
	Unknown int64 `json:"unknown"` // writes on registers whose outcome is unknown
	// Asked counts the answered reads of registers at one member or at the Service of the followers, which only a leader may
	// answer. Refused counts those that were refused. Each of them was a chance to return a stale value.
	Asked   int64 `json:"asked"`
	Refused int64 `json:"refused"`
	Views   int64 `json:"views"` // answered by followers
	// Errors counts errors by kind, for clients of the Service only.
	Errors map[string]int64 `json:"errors"`
	// Gap is the longest time without an acknowledged write on any register.
	Gap              ledger.Gap `json:"gap"`
	LastAcknowledged time.Time  `json:"lastAcknowledged"`
}
