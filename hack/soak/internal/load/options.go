package load

import (
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Target is a store, as its clients reach it.
type Target struct {
	ReadWrite string          `json:"rw"` // the Service that leads to the leader, host:port
	ReadOnly  string          `json:"ro"` // the Service that leads to followers
	Members   []ledger.Member `json:"members"`
}

// Options of a Load.
type Options struct {
	Run     string `json:"run"`     // in the names of all keys; never used twice
	Seed    uint64 `json:"seed"`    // of what the clients do, though not of when
	History string `json:"history"` // file to create
	// Registers is the store whose operations must be linearizable; Followers the one whose followers answer reads.
	Registers Target `json:"registers"`
	Followers Target `json:"followers"`

	Clients int           `json:"clients"` // on the registers
	Slots   int           `json:"slots"`   // registers in use at a time
	Think   time.Duration `json:"think"`   // mean pause of a client between two operations
	// Rotate is how long a register is used; after LeastOpen operations of unknown outcome it is given up at once.
	Rotate    time.Duration `json:"rotate"`
	LeastOpen int           `json:"leastOpen"`
	Pairs     int           `json:"pairs"` // writers of pairs, for the readers of followers
	// Timeout of one operation and of making a connection. After it the outcome of a write is unknown.
	Timeout time.Duration `json:"timeout"`
}

func (o Options) valid() error {
	if o.Run == "" || o.History == "" || o.Clients < 1 || o.Slots < 1 || o.Pairs < 1 || o.LeastOpen < 1 ||
		o.Think <= 0 || o.Rotate <= 0 || o.Timeout <= 0 || len(o.Registers.Members) == 0 || len(o.Followers.Members) == 0 {
		return errors.New("start the load: every option is needed")
	}
	return nil
}

// Stats of a Load so far.
type Stats struct {
	Writes  int64 `json:"writes"`  // acknowledged, on registers
	Reads   int64 `json:"reads"`   // answered, on registers
	Unknown int64 `json:"unknown"` // outcomes, of writes on registers
	// Asked are the answered reads on registers of one member or of the Service of followers, which have the leader answer; Refused
	// those that were refused. Each is a chance that a stale answer was not taken.
	Asked   int64 `json:"asked"`
	Refused int64 `json:"refused"`
	Views   int64 `json:"views"` // answered by followers
	// Errors by kind, of clients of the Service only.
	Errors map[string]int64 `json:"errors"`
	// Gap is the longest time without an acknowledged write on any register.
	Gap              ledger.Gap `json:"gap"`
	LastAcknowledged time.Time  `json:"lastAcknowledged"`
}
