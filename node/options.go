package node

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/node/resp"
)

// Consistency is what every read of a member promises. A connection cannot choose another level.
type Consistency string

// Levels of consistency, weakest first.
const (
	// ConsistencyEventual: reads return whatever the member has applied.
	ConsistencyEventual Consistency = "Eventual"
	// ConsistencySession: one member's reads never go back in time, and a leader's reads see every write it has
	// acknowledged.
	ConsistencySession Consistency = "Session"
	// ConsistencyLeaderWindow: as ConsistencySession, and a leader reads only while enough voters have promised that no
	// other leader can have been promoted.
	ConsistencyLeaderWindow Consistency = "LeaderWindow"
	// ConsistencyLinearizable: as ConsistencyLeaderWindow, and followers forward reads to the leader.
	ConsistencyLinearizable Consistency = "Linearizable"
)

func (c Consistency) valid() bool {
	switch c {
	case ConsistencyEventual, ConsistencySession, ConsistencyLeaderWindow, ConsistencyLinearizable:
		return true
	default:
		return false
	}
}

// Options of a node.
type Options struct {
	// Data is the data directory, created if missing. Required.
	Data string
	// Listen is the client port's address, host:port; port 0 picks a free one.
	Listen string
	// PeerListen and ControlListen are the addresses of the peer port and the control port; "" leaves the port closed.
	PeerListen, ControlListen string
	// LeaderListen is the address of a second client port. All data commands of its clients are served by the leader:
	// locally while this member leads, forwarded otherwise. "" leaves it closed.
	LeaderListen string
	// MetricsListen is the address of a port that serves metrics and takes no orders; "" leaves it closed.
	MetricsListen string
	// Managed makes the node wait to be told whom to follow or to lead. Otherwise it leads by itself, alone, from the
	// start.
	Managed bool
	// Store and Member are the names of the store and of this member. A managed node needs both.
	Store, Member string
	// StoreUID is the UID of the store's object, by which members of different stores of the same name are told apart; ""
	// matches any.
	StoreUID    string
	Consistency Consistency
	// MaxValueBytes bounds a value and any other argument, in bytes: 1 to 64 MiB. MaxClients is the maximum number of
	// clients, at least 1.
	MaxValueBytes int64
	MaxClients    int
	// PasswordFile has the passwords, one per line, of which clients must give one; "" lets everybody do everything.
	PasswordFile string
	// LogRetain is how much log is kept for followers that come back, at least 1 MiB. Memory is for caches and write
	// buffers, at least 16 MiB. Both are in bytes.
	LogRetain, Memory int64
	// SeedRate bounds what this member sends to seed others, in bytes per second in total; 0 means no bound.
	SeedRate int64
	// WriteTimeout, at least 1 ms, is how long a write waits to be committed before it is answered "outcome unknown".
	WriteTimeout time.Duration
	// StopGrace bounds how long Leave takes.
	StopGrace time.Duration
	// LeaseName and LeaseClient identify the Lease to hold while leading; with a nil client there is none.
	LeaseName   string
	LeaseClient lease.Client
	// EnableDebug allows the DEBUG command, which public test suites use.
	EnableDebug bool
	Version     string
	Log         logr.Logger
	FS          vfs.FS

	// park is how long client requests wait while no leader takes them; 0 means resp's default. Only tests set it.
	park time.Duration
	// lastMoment is how long replies of a former leader are waited for; 0 means resp's default. Only tests set it.
	lastMoment time.Duration
}

// Defaults and limits of Options.
const (
	DefaultListen        = "127.0.0.1:6379"
	DefaultMaxValueBytes = 64 << 20
	DefaultMaxClients    = 10000
	DefaultLogRetain     = 1 << 30
	DefaultMemory        = 256 << 20
	DefaultWriteTimeout  = 10 * time.Second
	// MinSeedRate is the smallest --seed-rate-bytes other than 0: below it, a seed would seem to hang.
	MinSeedRate = 1 << 20
	// MinMemory is the smallest --memory.
	MinMemory = 16 << 20
	// MaxValueLimit is the largest --max-value-bytes: a record holds one entry whole.
	MaxValueLimit = 64 << 20
)

// complete fills in defaults and rejects options that cannot work. Its errors name the flag.
func (o *Options) complete() error {
	if o.Data == "" {
		return errors.New("--data: name the data directory")
	}
	if o.Managed && (o.Store == "" || o.Member == "" || o.PeerListen == "" || o.ControlListen == "") {
		return errors.New("--managed needs --store, --member, --peer-listen and --control-listen")
	}
	if o.LeaseClient != nil && !o.Managed {
		return errors.New("--lease needs --managed: a store of one member that leads by itself holds no Lease")
	}
	o.Store = cmp.Or(o.Store, "standalone")
	o.Member = cmp.Or(o.Member, "standalone")
	o.Listen = cmp.Or(o.Listen, DefaultListen)
	o.Consistency = cmp.Or(o.Consistency, ConsistencySession)
	o.MaxValueBytes = cmp.Or(o.MaxValueBytes, DefaultMaxValueBytes)
	o.MaxClients = cmp.Or(o.MaxClients, DefaultMaxClients)
	o.LogRetain = cmp.Or(o.LogRetain, DefaultLogRetain)
	o.Memory = cmp.Or(o.Memory, DefaultMemory)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, DefaultWriteTimeout)
	o.FS = cmp.Or(o.FS, vfs.Default)
	switch {
	case !o.Consistency.valid():
		return fmt.Errorf("--consistency: %q is none of Eventual, Session, LeaderWindow, Linearizable", o.Consistency)
	case o.MaxValueBytes < 1 || o.MaxValueBytes > MaxValueLimit:
		return fmt.Errorf("--max-value-bytes: %d is not between 1 and %d", o.MaxValueBytes, MaxValueLimit)
	case o.MaxClients < 1:
		return fmt.Errorf("--max-clients: %d is below 1", o.MaxClients)
	case o.LogRetain < 1<<20:
		return fmt.Errorf("--log-retain-bytes: %d is below 1 MiB", o.LogRetain)
	case o.SeedRate != 0 && o.SeedRate < MinSeedRate:
		return fmt.Errorf("--seed-rate-bytes: %d is neither 0 (no bound) nor at least 1 MiB", o.SeedRate)
	case o.Memory < MinMemory:
		return fmt.Errorf("--memory: %d is below 16 MiB", o.Memory)
	case o.WriteTimeout < time.Millisecond:
		return fmt.Errorf("--write-timeout: %v is below 1ms", o.WriteTimeout)
	case o.StopGrace < 0:
		return fmt.Errorf("--stop-grace: %v is below 0", o.StopGrace)
	}
	return nil
}

// outputShare is the divisor of the Go memory limit that bounds the replies held for one client.
const outputShare = 6

// maxOutput returns the bound on the replies held for one client, in bytes; 0, the default, if memory is not limited.
func (o *Options) maxOutput() int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	return min(resp.DefaultMaxOutput, max(limit/outputShare, 2*o.MaxValueBytes))
}

// longReplies returns the bound on the long values in replies to all clients together, in bytes.
func (o *Options) longReplies() int {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		return int(o.Memory)
	}
	return int(o.Memory / largeShare)
}
