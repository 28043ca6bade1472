package nodeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Target is a member's control port.
type Target struct {
	// Address is host:port.
	Address string
	// StoreUID and Member say who should be there; anybody else who has the address now refuses.
	StoreUID, Member string
}

// Is reports whether s is the status of the member that t means. A member that was not given a store UID is identified by
// its name alone.
func (t Target) Is(s wire.Status) bool {
	return s.Member == t.Member && (s.StoreUID == t.StoreUID || s.StoreUID == "")
}

// Client gives orders to members. Every method is idempotent and safe for concurrent use. If the member refused, and so
// changed nothing, the error is a *wire.Error; all other errors can be told apart with Classify.
type Client interface {
	Status(ctx context.Context, to Target) (wire.Status, error)
	Fence(ctx context.Context, to Target, r wire.FenceRequest) (wire.FenceReply, error)
	Promote(ctx context.Context, to Target, r wire.PromoteRequest) (wire.Status, error)
	Follow(ctx context.Context, to Target, r wire.FollowRequest) (wire.Status, error)
	Configure(ctx context.Context, to Target, r wire.ConfigureRequest) (wire.Status, error)
	Handover(ctx context.Context, to Target, r wire.HandoverRequest) (wire.HandoverReply, error)
	// Watch calls each with every status that the member sends, and with nil when the member reports that the essence of the
	// last one is unchanged. It returns when ctx ends, the stream breaks, or the stream was silent for its limit.
	Watch(ctx context.Context, to Target, each func(*wire.Status)) error
}

// Timeouts of the control port. Each order has its own deadline, so a hung member costs no more than that.
type Timeouts struct {
	// Status bounds a query that costs the member no disk access.
	Status time.Duration
	// Order bounds an order that may fsync.
	Order time.Duration
	// Quiet is how long a status stream may be silent before its member is asked; it normally sends something five times a
	// second.
	Quiet time.Duration
	// Silence is how long a status stream may be silent before it ends.
	Silence time.Duration
}

// DefaultTimeouts returns timeouts for a cluster with pod-to-pod latency of milliseconds.
func DefaultTimeouts() Timeouts {
	return Timeouts{Status: 500 * time.Millisecond, Order: 2 * time.Second, Quiet: 400 * time.Millisecond, Silence: 3 * time.Second}
}

// maxBody bounds an answer in bytes: a status of the largest store is a few KiB.
const maxBody = 1 << 20

// HTTP is the Client for real members.
type HTTP struct {
	client   *http.Client
	timeouts Timeouts
}

// New returns a client that keeps connections between orders.
func New(t Timeouts) *HTTP {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: t.Order, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
		// No proxy: members are addressed by pod IP.
	}
	return &HTTP{client: &http.Client{Transport: transport}, timeouts: t}
}

// Status asks the member for its status.
func (c *HTTP) Status(ctx context.Context, to Target) (wire.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.Status)
	defer cancel()
	return call[wire.Status](ctx, c, http.MethodGet, to, wire.PathStatus, nil)
}

// Fence asks for a durable promise.
func (c *HTTP) Fence(ctx context.Context, to Target, r wire.FenceRequest) (wire.FenceReply, error) {
	return order[wire.FenceReply](ctx, c, to, wire.PathFence, r, 0)
}

// Promote tells the elected member to lead.
func (c *HTTP) Promote(ctx context.Context, to Target, r wire.PromoteRequest) (wire.Status, error) {
	return order[wire.Status](ctx, c, to, wire.PathPromote, r, 0)
}

// Follow tells a member whom to follow.
func (c *HTTP) Follow(ctx context.Context, to Target, r wire.FollowRequest) (wire.Status, error) {
	return order[wire.Status](ctx, c, to, wire.PathFollow, r, 0)
}

// Configure replaces the leader's commit rules.
func (c *HTTP) Configure(ctx context.Context, to Target, r wire.ConfigureRequest) (wire.Status, error) {
	return order[wire.Status](ctx, c, to, wire.PathConfigure, r, 0)
}

// Handover asks the leader to hold writes until another member holds everything. It may take as long as the hold.
func (c *HTTP) Handover(ctx context.Context, to Target, r wire.HandoverRequest) (wire.HandoverReply, error) {
	return order[wire.HandoverReply](ctx, c, to, wire.PathHandover, r, time.Duration(r.HoldMillis)*time.Millisecond)
}

func order[Reply any](ctx context.Context, c *HTTP, to Target, path string, request any, extra time.Duration) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.Order+extra)
	defer cancel()
	return call[Reply](ctx, c, http.MethodPost, to, path, request)
}

func call[Reply any](ctx context.Context, c *HTTP, method string, to Target, path string, request any) (Reply, error) {
	var reply Reply
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return reply, fmt.Errorf("encode request for %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := newRequest(ctx, method, to, path, body)
	if err != nil {
		return reply, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return reply, fmt.Errorf("call %s%s: %w", to.Address, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return reply, fmt.Errorf("read answer of %s%s: %w", to.Address, path, err)
	}
	if res.StatusCode != http.StatusOK {
		return reply, refusal(to.Address, path, res.StatusCode, b)
	}
	if err := json.Unmarshal(b, &reply); err != nil {
		return reply, fmt.Errorf("decode answer of %s%s: %w", to.Address, path, err)
	}
	return reply, nil
}

func newRequest(ctx context.Context, method string, to Target, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+to.Address+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request for %s%s: %w", to.Address, path, err)
	}
	req.Header.Set(wire.HeaderStoreUID, to.StoreUID)
	req.Header.Set(wire.HeaderMember, to.Member)
	return req, nil
}

// ErrNotAddressed means that another member, or a member of another store, has this address.
var ErrNotAddressed = errors.New("another member answers at this address")

// HeldUpError says, in the member's own words, why it does not report its status: its disk holds it up. It proves no more
// than silence does.
type HeldUpError struct{ Why string }

func (e *HeldUpError) Error() string { return e.Why }

// refusal returns a *wire.Error for a 409 only, because only a 409 says that the member's state forbids the order.
func refusal(addr, path string, code int, body []byte) error {
	var e wire.Error
	if err := json.Unmarshal(body, &e); err != nil || e.Reason == "" {
		return fmt.Errorf("call %s%s: status %d: %.200s", addr, path, code, body)
	}
	switch {
	case code == http.StatusConflict:
		return fmt.Errorf("call %s%s: %w", addr, path, &e)
	case e.Reason == wire.ProblemDiskStuck:
		return fmt.Errorf("call %s%s: %w", addr, path, &HeldUpError{e.Message})
	case e.Reason == wire.ReasonNotAddressed:
		return fmt.Errorf("call %s%s: %w: %s", addr, path, ErrNotAddressed, e.Message)
	default:
		return fmt.Errorf("call %s%s: status %d: %s: %s", addr, path, code, e.Reason, e.Message)
	}
}

// Failure is what an error says about the member.
type Failure uint8

const (
	// NoFailure: no error, or a refusal. The member is there.
	NoFailure Failure = iota
	// Refused: the host is there but nothing listens, so the process is not running.
	Refused
	// TimedOut: nothing came back in time, or only the reason why nothing does (HeldUpError).
	TimedOut
	// Unclear: anything else.
	Unclear
)

// Classify returns what an error of a Client says about the member.
func Classify(err error) Failure {
	var answered *wire.Error
	var heldUp *HeldUpError
	var timeout net.Error
	switch {
	case err == nil || errors.As(err, &answered):
		return NoFailure
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.As(err, &heldUp) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	default:
		return Unclear
	}
}
