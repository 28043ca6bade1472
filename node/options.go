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

// Consistency is what every read of a member promises; a connection cannot choose another.
type Consistency string

// Levels of consistency, weakest first.
const (
	// ConsistencyEventual: whatever the member has applied.
	ConsistencyEventual Consistency = "Eventual"
	// ConsistencySession: one member's reads never go backwards, and a leader's see every write it acknowledged.
	ConsistencySession Consistency = "Session"
	// ConsistencyLeaderWindow: a leader reads only while enough voters grant that no other can have been promoted.
	ConsistencyLeaderWindow Consistency = "LeaderWindow"
	// ConsistencyLinearizable: as LeaderWindow; followers forward reads to the leader.
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
	// Data is the data directory, made if it is missing. Required.
	Data string
	// Listen is the client port's address, host:port; port 0 takes a free one.
	Listen string
	// PeerListen and ControlListen are those of the peer and the control port; "" leaves the port closed.
	PeerListen, ControlListen string
	// LeaderListen is that of a second client port, whose clients are served by the leader in all they do with data: here while
	// this member leads, else forwarded. "" leaves it closed.
	LeaderListen string
	// MetricsListen is that of a port that tells metrics and takes no orders; "" leaves it closed.
	MetricsListen string
	// Managed: wait to be told whom to follow or to lead. Otherwise the node leads by itself, alone, from the start.
	Managed bool
	// Store and Member are names; a managed node needs both.
	Store, Member string
	// StoreUID is that of the store's object, by which members of two stores of one name tell each other apart; "": any.
	StoreUID    string
	Consistency Consistency
	// MaxValueBytes bounds a value and any other argument, in bytes: 1 to 64 MiB. MaxClients is at least 1.
	MaxValueBytes int64
	MaxClients    int
	// PasswordFile has what clients have to give one of, a line each; "": everybody may do everything.
	PasswordFile string
	// LogRetain is at least 1 MiB and Memory at least 16 MiB, both in bytes.
	LogRetain, Memory int64
	// SeedRate bounds what this member sends to seed others, in bytes per second over all of them; 0: no bound.
	SeedRate int64
	// WriteTimeout, at least 1 ms, is how long a write waits to be committed before it is answered "outcome unknown".
	WriteTimeout time.Duration
	// StopGrace is how long Leave may take.
	StopGrace time.Duration
	// LeaseName and LeaseClient name the Lease to hold while leading; nil client: none.
	LeaseName   string
	LeaseClient lease.Client
	// EnableDebug allows the DEBUG command, which public test suites use.
	EnableDebug bool
	Version     string
	Log         logr.Logger
	FS          vfs.FS

	// park is how long what clients ask for waits while no leader takes it; 0: as resp has it. Tests set it.
	park time.Duration
}

// Defaults of Options.
const (
	DefaultListen        = "127.0.0.1:6379"
	DefaultMaxValueBytes = 64 << 20
	DefaultMaxClients    = 10000
	DefaultLogRetain     = 1 << 30
	DefaultMemory        = 256 << 20
	DefaultWriteTimeout  = 10 * time.Second
	// MinSeedRate is the smallest --seed-rate-bytes but 0: below it, a seed would seem to hang.
	MinSeedRate = 1 << 20
	// MinMemory is the smallest --memory.
	MinMemory = 16 << 20
	// MaxValueLimit is the largest --max-value-bytes: a record holds one entry whole.
	MaxValueLimit = 64 << 20
)

// complete fills defaults and refuses what cannot work, naming the flag.
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

// outputShare of the Go memory limit is what the replies of one client may take.
const outputShare = 6

// maxOutput bounds the replies that are kept for one client, in bytes; 0: by default, for memory is not limited.
func (o *Options) maxOutput() int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	return min(resp.DefaultMaxOutput, max(limit/outputShare, 2*o.MaxValueBytes))
}

// longReplies bounds the long values in replies of all clients together, in bytes.
func (o *Options) longReplies() int {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		return int(o.Memory)
	}
	return int(o.Memory / largeShare)
}
