package resp

import (
	"cmp"
	"context"
	"net"
	"time"

	"github.com/go-logr/logr"
)

const (
	defaultMaxBulk       = 64 << 20
	defaultMaxMultibulk  = 1 << 20
	defaultMaxClients    = 10000
	defaultCommitTimeout = 10 * time.Second
	defaultReadTimeout   = 2 * time.Second
	defaultKeepAlive     = 300 * time.Second
	defaultStallTimeout  = 60 * time.Second
	defaultPark          = 2500 * time.Millisecond
	defaultLastMoment    = time.Second
)

// DefaultMaxOutput is the default of Options.MaxOutput, in bytes.
const DefaultMaxOutput = 512 << 20

// Options configures New. Fields left zero get their defaults, if they have one; Now is required.
type Options struct {
	// Now is the clock. Its monotonic reading measures durations, and its wall time gives the ages in CLIENT LIST.
	Now func() time.Time
	Log logr.Logger

	// Limits bounds requests. MaxBulk, the largest value in bytes, defaults to 64 MiB; MaxMultibulk to 1 Mi arguments; and MaxRequest to
	// twice MaxBulk plus 1 MiB, so that SET with the largest value always fits.
	Limits Limits
	// MaxClients is the maximum number of client connections (default 10000). Further ones get an error and are closed. CONFIG SET
	// maxclients changes it.
	MaxClients int
	// MaxOutput bounds the replies held back for one client, in bytes (default 512 MiB). A single reply may need that much (MGET). A client
	// whose replies exceed it is closed, but if a client merely does not take its replies, no more are produced until it does. CONFIG SET
	// client-output-buffer-limit changes it.
	MaxOutput int64
	// MaxLong bounds the values in replies that wait to be sent, in bytes over all clients; 0 means no bound. Each client may use 128 KiB
	// for shorter values in addition. Clients that exceed the bound wait, and a write that would wait longer than CommitTimeout is refused.
	// If clients are slow to take their replies, up to twice MaxLong may be in use, plus the replies of one client at a time whose replies
	// are longer than MaxLong.
	MaxLong int
	// MaxLarge bounds the memory for requests longer than 128 KiB that are being read or executed, and for values longer than that which are
	// read in order to be written, in bytes over all clients; 0 means no bound. A request longer than MaxLarge has to be the only one.
	// Others wait. If clients are slow to send, up to twice MaxLarge may be in use, and a quarter for requests up to an eighth of MaxLarge,
	// plus the request of one client at a time that is longer than MaxLarge. Clients that are too slow while others wait are closed.
	MaxLarge int
	// CommitTimeout is how long a write may wait for its commit before its outcome is reported as unknown (default 10 s), give or take a
	// sixteenth. CONFIG SET commit-timeout-ms changes it.
	CommitTimeout time.Duration
	// ReadTimeout bounds the wait in Backend.ReadGate (default 2 s).
	ReadTimeout time.Duration
	// StallTimeout is the time within which a client must take 4 MiB of its replies, or all that is left of them, while nothing that it sends
	// is read (default 60 s). A client that is slower is closed. While others wait for memory, the same holds for sending a long request.
	StallTimeout time.Duration
	// Dial connects to the client port of another member, to which commands that need the leader are forwarded. If it is nil, such commands
	// are refused with READONLY instead.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Passwords are the passwords of which clients must give one, by AUTH or HELLO, before anything else. This member gives them to the
	// leader. If it is nil, clients need no password.
	Passwords *Passwords
	// Store identifies this store, as "name/UID". Members compare it when they connect to each other, because an address may belong to another
	// store by now.
	Store string
	// Park is how long a command that needs the leader waits while none is reached (default 2.5 s).
	Park time.Duration
	// LastMoment is how long replies of a former leader are still waited for (default 1 s).
	LastMoment time.Duration
	// Owned maps parameters that CONFIG SET may not change, because they are set elsewhere, to the reason, which completes the reply
	// "CONFIG SET failed (possibly related to argument '...') - ".
	Owned map[string]string
	// EnableDebug allows DEBUG. It is off by default, as in Redis.
	EnableDebug bool
	// Version is the version of this program that INFO shows.
	Version string
}

func (o Options) withDefaults() Options {
	o.Limits.MaxBulk = cmp.Or(o.Limits.MaxBulk, defaultMaxBulk)
	o.Limits.MaxMultibulk = cmp.Or(o.Limits.MaxMultibulk, defaultMaxMultibulk)
	o.Limits.MaxRequest = cmp.Or(o.Limits.MaxRequest, 2*o.Limits.MaxBulk+1<<20)
	o.MaxClients = cmp.Or(o.MaxClients, defaultMaxClients)
	o.MaxOutput = cmp.Or(o.MaxOutput, DefaultMaxOutput)
	o.CommitTimeout = cmp.Or(o.CommitTimeout, defaultCommitTimeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, defaultReadTimeout)
	o.StallTimeout = cmp.Or(o.StallTimeout, defaultStallTimeout)
	o.Park = cmp.Or(o.Park, defaultPark)
	o.LastMoment = cmp.Or(o.LastMoment, defaultLastMoment)
	return o
}
