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
)

// DefaultMaxOutput is the default of Options.MaxOutput, in bytes.
const DefaultMaxOutput = 512 << 20

// Options are what New needs. Zero fields get defaults, except Now.
type Options struct {
	// Now is the clock; required. Its monotonic reading measures durations, its wall time ages in CLIENT LIST.
	Now func() time.Time
	Log logr.Logger

	// Limits.MaxBulk is the largest value in bytes (default 64 MiB); MaxMultibulk defaults to 1 Mi arguments; MaxRequest to
	// twice MaxBulk plus 1 MiB, so that it always holds SET with the largest value.
	Limits Limits
	// MaxClients: further ones are told so and closed (default 10000). CONFIG SET maxclients.
	MaxClients int
	// MaxOutput bounds the replies kept back for one client, in bytes (default 512 MiB). One reply alone may need that much
	// (MGET). Above it the client is closed; and of several that it does not take, no more are made until it does. CONFIG SET client-output-buffer-limit.
	MaxOutput int64
	// MaxLong bounds the values in replies that wait to be sent, in bytes over all clients; each may have 128 KiB of shorter ones beside it.
	// Others wait; but where clients are slow to take theirs, it may be twice as much, and beside that what one client is sent of replies
	// longer than MaxLong: there is one such at a time. A write that would wait longer than CommitTimeout is refused. 0: no bound.
	MaxLong int
	// MaxLarge bounds requests longer than 128 KiB that are taken in, or being executed, at a time, in bytes over all clients, and values as
	// long that are read to be written; one that is longer than that comes alone. Others wait. 0: no bound.
	MaxLarge int
	// CommitTimeout is how long a write may wait to be committed before its outcome is reported as unknown (default 10 s),
	// give or take a sixteenth. CONFIG SET commit-timeout-ms.
	CommitTimeout time.Duration
	// ReadTimeout bounds Backend.ReadGate (default 2 s).
	ReadTimeout time.Duration
	// StallTimeout closes clients that take less than 4 MiB of their replies, or of what is left of them, in so long (default 60 s), while
	// nothing that they send is read.
	StallTimeout time.Duration
	// Dial reaches the client port of another member, to which commands that need the leader are forwarded. nil: they are refused
	// with READONLY instead.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Passwords are asked of clients, by AUTH or HELLO, before anything else, and given to the member that leads. nil: everybody may do
	// everything.
	Passwords *Passwords
	// Store tells this store from others, as "name/UID": it is compared with that of the member there, for an address may be another
	// store's by now.
	Store string
	// Park is how long such a command waits while no leader takes it (default 2.5 s).
	Park time.Duration
	// Owned are parameters that CONFIG SET may not change, because somebody else says what they are, and in which words: what completes
	// the reply "CONFIG SET failed (possibly related to argument '...') - ".
	Owned map[string]string
	// EnableDebug allows DEBUG. Off by default, as in Redis.
	EnableDebug bool
	// Version of this program, in INFO.
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
	return o
}
