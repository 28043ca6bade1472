package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
)

const (
	// seedsAtOnce bounds how many members one source seeds at the same time; others wait their turn.
	seedsAtOnce = 2
	// seedLinger is how long the log is held for a member whose seed was interrupted, or which disappeared before it
	// caught up after its seed. A source keeps a checkpoint for the same time.
	seedLinger = 10 * time.Minute
	// sourcePatience is how long a leader waits for the member that began sending a snapshot to follow it too, before it
	// lets the seed start over from another source.
	sourcePatience = 5 * time.Second
)

// seedOrder is what a leader knows about a follower that needs a snapshot, from the verdict until the follower has caught
// up; role goroutine only.
type seedOrder struct {
	to      replication.Voter
	askedAt time.Time
	source  string // who sends the snapshot; "" is this member
	// conn is the connection over which the snapshot is sent or, if another member sends it, over which the follower
	// shows that it is still being seeded. It is nil before and after.
	conn io.Closer
	over bool
	// release ends the hold on the log, which begins at from; nil while the log is not held.
	from    replication.Position
	release func()
	until   time.Time // the follower is waited for until then
}

// hold moves the hold on the log to position from, without a gap.
func (o *seedOrder) hold(pin func(replication.Position) func(), from replication.Position) {
	held := o.release
	o.from, o.release = from, pin(from)
	if held != nil {
		held()
	}
}

// letGo ends the hold on the log.
func (o *seedOrder) letGo() {
	if o.release != nil {
		o.release()
	}
	o.from, o.release = 0, nil
}

func (o *seedOrder) end() {
	if o.conn != nil {
		_ = o.conn.Close()
	}
	o.conn, o.over = nil, true
	o.letGo()
}

// orderSeed decides who seeds a follower that needs a snapshot, and holds the log for it; role goroutine.
func (m *Member) orderSeed(h replication.Hello, now time.Time) replication.HelloReply {
	o := &seedOrder{
		to: replication.Voter{Member: h.Member, Incarnation: h.Incarnation}, askedAt: now, until: now.Add(seedLinger),
	}
	before := m.leader.seeds[h.Member]
	if before != nil && before.to == o.to && before.conn == nil && !before.over {
		o.askedAt = before.askedAt
	}
	delete(m.leader.seeds, h.Member)
	src, there := m.chooseSource(h)
	log := m.Contents().Log
	wait := !there && now.Sub(o.askedAt) < sourcePatience
	switch {
	case wait:
		o.hold(log.Pin, h.Begun.Mark.Position+1)
	case src != nil:
		o.source = src.Member
		o.hold(log.Pin, src.Least+1)
		if log.First() > src.Least+1 { // pruned a moment ago
			o.source, src = "", nil
			o.letGo()
		}
	}
	if before != nil {
		before.end()
	}
	m.leader.seeds[h.Member] = o
	if wait {
		m.core.OnSeedEnd(o.to)
		return replication.HelloReply{Verdict: replication.VerdictRefuse, Message: "waiting for " + h.Begun.From + ", which has already sent a part"}
	}
	return replication.HelloReply{Verdict: replication.VerdictSeed, Source: src}
}

// forgoSeed drops the order of a follower that has not begun a seed and would not begin one now; role goroutine.
func (m *Member) forgoSeed(member string) {
	if m.leader == nil {
		return
	}
	if o := m.leader.seeds[member]; o != nil {
		o.end()
		delete(m.leader.seeds, member)
	}
}

// chooseSource picks the follower that is to send a snapshot, so that the leader's disk stays free for writes: the one
// that the seed was begun with or, failing that, the one that is sending the fewest. src is nil if the leader must send
// it itself, because there is no such follower or one has failed. there is false if the member that the seed was begun
// with is missing: waiting for it would save what has arrived.
func (m *Member) chooseSource(h replication.Hello) (src *replication.SeedSource, there bool) {
	if h.Direct {
		return nil, true
	}
	resumes := h.Begun != nil && m.continues(h.Begun.Mark)
	if resumes && h.Begun.From == m.opt.Member {
		return nil, true
	}
	sends := map[string]int{}
	for _, o := range m.leader.seeds {
		if !o.over {
			sends[o.source]++
		}
	}
	var best *replication.Source
	for _, s := range m.core.Sources(m.opt.Now()) {
		switch name := s.Voter.Member; {
		case name == h.Member:
		case resumes && h.Begun.From == name:
			return &replication.SeedSource{Member: name, Address: s.Address, Least: h.Begun.Mark.Position}, true
		case sends[name] >= seedsAtOnce:
		case best == nil || sends[name] < sends[best.Voter.Member]:
			best = &s
		}
	}
	if best == nil {
		return nil, !resumes
	}
	src = &replication.SeedSource{Member: best.Voter.Member, Address: best.Address, Least: best.Applied}
	for _, o := range m.leader.seeds { // concurrent seeds share a checkpoint
		if o.source == src.Member && o.release != nil {
			src.Least = min(src.Least, o.from-1)
		}
	}
	src.Least = max(src.Least, replication.Position(m.unreadable.Load()))
	return src, !resumes
}

// continues reports whether this member's log continues after mark and can be read from there.
func (m *Member) continues(mark replication.Mark) bool {
	if !m.readableAfter(mark.Position) {
		return false
	}
	got, ok := m.Contents().Log.MarkAt(mark.Position)
	return ok && got == mark
}

// seeded notes that a follower streams. If it was seeded before, the log is held for it until it has caught up.
func (m *Member) seeded(h replication.Hello, now time.Time) {
	o := m.leader.seeds[h.Member]
	if o == nil {
		return
	}
	if o.conn != nil {
		_ = o.conn.Close()
	}
	o.conn, o.over, o.until = nil, true, now.Add(seedLinger)
	o.to.Incarnation = h.Incarnation // a seed may have changed it
	o.hold(m.Contents().Log.Pin, h.Last.Position+1)
}

// tendSeeds releases the log as seeded followers catch up.
func (m *Member) tendSeeds(now time.Time) {
	if m.leader == nil || len(m.leader.seeds) == 0 {
		return
	}
	followers := m.core.Followers(now)
	for _, name := range inOrder(m.leader.seeds) {
		o, f := m.leader.seeds[name], followers[name]
		switch {
		case o.conn != nil:
			o.until = now.Add(seedLinger)
		case o.over && f.Voter == o.to && f.CaughtUp, now.After(o.until):
			o.end()
			delete(m.leader.seeds, name)
		case o.over && f.Voter == o.to && f.Live:
			o.until = now.Add(seedLinger)
			if o.release != nil && f.Durable >= o.from {
				o.hold(m.Contents().Log.Pin, f.Durable+1)
			}
		}
	}
}

// spareVolume releases the log held for seeds before the log fills the volume: a leader that takes no writes helps
// nobody.
func (m *Member) spareVolume() {
	if m.leader == nil || len(m.leader.seeds) == 0 {
		return
	}
	if m.space.Level == volume.Ample {
		return
	}
	for name, o := range m.leader.seeds {
		if o.release != nil {
			m.opt.Log.Info("the volume is nearly full: no longer holding the log for a seed", "member", name, "position", o.from)
			o.letGo()
		}
	}
}

var (
	errNoSeed   = errors.New("it accepts no snapshot now")
	errNotAsked = errors.New("this member no longer leads, or was asked for something else since")
)

// Seed implements peer.Leader. This member sends a snapshot, as the leader or as the follower that its leader named; or,
// if another member sends it, Seed watches the connection to see how long that takes. Seed ends with the leadership (or
// with the following), because what this member holds afterwards need not be what the asking member's epoch holds. It
// also ends when the same member asks again: the earlier connection is dead then.
func (m *Member) Seed(ctx context.Context, h replication.Hello, rw io.ReadWriteCloser) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("seed %s: %w", h.Member, err)
		}
	}()
	switch {
	case h.Fetch:
		return m.send(ctx, h, rw)
	case h.NoSeed:
		return errNoSeed
	}
	var o *seedOrder
	source := ""
	if err := m.works.Do(ctx, func() {
		if o = m.beginSeed(h, rw); o != nil {
			source = o.source
		}
	}); err != nil {
		return err
	}
	if o == nil {
		return errNotAsked
	}
	defer m.works.Post(func() { m.endSeed(o, rw) })
	if source == "" {
		return m.works.ServeSeed(ctx, rw)
	}
	if n, err := rw.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("while %s does: %d bytes, %w", source, n, err)
	}
	return nil
}

func (m *Member) beginSeed(h replication.Hello, conn io.Closer) *seedOrder {
	if m.leader == nil || m.leader.epoch != h.Epoch {
		return nil
	}
	o := m.leader.seeds[h.Member]
	if o == nil || o.over || o.to.Incarnation != h.Incarnation {
		return nil
	}
	if o.conn != nil {
		_ = o.conn.Close()
	}
	o.conn = conn
	return o
}

func (m *Member) endSeed(o *seedOrder, conn io.Closer) {
	if o.conn != conn {
		return
	}
	o.conn, o.over, o.until = nil, true, m.opt.Now().Add(seedLinger)
	if m.leader != nil && m.leader.seeds[o.to.Member] == o {
		m.core.OnSeedEnd(o.to)
	}
}

// send seeds another member while this one follows.
func (m *Member) send(ctx context.Context, h replication.Hello, rw io.ReadWriteCloser) error {
	fit := false
	if err := m.works.Do(ctx, func() {
		if fit = m.core.OnHello(h, m.opt.Now()).Verdict == replication.VerdictSeed; !fit {
			return
		}
		if old := m.sending[h.Member]; old != nil {
			_ = old.Close()
		}
		m.sending[h.Member] = rw
	}); err != nil {
		return err
	}
	if !fit {
		return errRetargeted
	}
	defer m.works.Post(func() {
		if m.sending[h.Member] == rw {
			delete(m.sending, h.Member)
		}
	})
	return m.works.ServeSeed(ctx, rw)
}

// inOrder returns the keys of m sorted, so that externally visible effects happen in a reproducible order.
func inOrder[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// endSeeds aborts every snapshot that this member is sending.
func (m *Member) endSeeds() {
	m.stopSending()
	if m.leader == nil {
		return
	}
	for _, name := range inOrder(m.leader.seeds) {
		if o := m.leader.seeds[name]; o.source == "" && o.conn != nil {
			_ = o.conn.Close()
		}
	}
}

func (m *Member) stopSending() {
	for _, name := range inOrder(m.sending) {
		_ = m.sending[name].Close()
		delete(m.sending, name)
	}
}
