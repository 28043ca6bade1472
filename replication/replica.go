package replication

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoSpace means that the volume has no room for an operation. Nothing was changed, and the operation may be retried.
var ErrNoSpace = errors.New("no space on the volume")

// Log is what a Replica needs of the log on disk; wal.Log implements it. Every error except ErrNoSpace is final: the host
// ends the process and never retries (a failed fsync may have dropped the pages it was asked to write).
type Log interface {
	// Room ensures that a barrier can be appended.
	Room() error
	Append(recs ...Record) error
	// Sync makes everything appended durable and returns the durable end.
	Sync() (Mark, error)
	Last() Mark
	Durable() Mark
	// First returns the oldest retained position, or Last().Position+1 when the log is empty.
	First() Position
	// MarkAt returns the mark of the record end at p, or false if p is not a record end or is no longer retained.
	MarkAt(p Position) (Mark, bool)
	Epochs() EpochTable
	// Cut removes everything after p, after copying it to quarantine, and returns how many entries it removed.
	Cut(p Position, reason string) (uint64, error)
}

// Stable stores a Replica's promises.
type Stable interface {
	// Save makes p durable before it returns. Any error except ErrNoSpace is final.
	Save(p Promises) error
}

// Promises is what a member must remember across any crash.
type Promises struct {
	// Promised is the highest epoch promised. The member takes part in nothing below it again.
	Promised Epoch `json:"promised"`
	// Epoch, Leader and Address describe the last leadership joined. Leader is the member itself if it led.
	Epoch   Epoch  `json:"epoch"`
	Leader  string `json:"leader,omitempty"`
	Address string `json:"address,omitempty"`
	// NeedSeed means that the state on disk is not a prefix of the store's log. It must be replaced by a snapshot; until
	// then the member may neither vote nor be promoted.
	NeedSeed bool `json:"needSeed,omitempty"`
	// Uncut accompanies NeedSeed: the log's records after CutAfter are not part of the store's log, and must go to quarantine
	// before the seed is dealt with. That may have been done already, if the process ended just then.
	Uncut    bool     `json:"uncut,omitempty"`
	CutAfter Position `json:"cutAfter,omitempty"`
}

// Replaced returns p for when nothing is left of the log that was to be cut.
func (p Promises) Replaced(needSeed bool) Promises {
	p.NeedSeed, p.Uncut, p.CutAfter = needSeed, false, 0
	return p
}

// Refusal is an orderly "no": the request contradicts what this member promised or holds, or the volume has no room for it.
// Nothing was changed.
type Refusal struct {
	Reason  string // in CamelCase
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// ReasonNoRoom is the Reason of a Refusal for lack of space on the volume.
const ReasonNoRoom = "NoRoom"

func noRoom(format string, args ...any) error { return refuse(ReasonNoRoom, format, args...) }

// IsRefusal reports whether err is a Refusal, which left the member as it was. Every other error of a Replica is final.
func IsRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// ReplicaOptions are fixed for the lifetime of a Replica.
type ReplicaOptions struct {
	Store string
	// StoreUID distinguishes stores of the same name; "" when it is not known.
	StoreUID string
	Self     Voter
}

// grantTime is the length of a read grant: until this long after a follower last heard from its leader, no other leader
// commits anything with its help.
const grantTime = time.Second

// Replica implements the protocol for one member: it holds the role and decides what every request and message means.
//
// It is not safe for concurrent use: one goroutine owns it (the role goroutine; in simulation, the scheduler). It does no
// network I/O and reads no clock. Its only disk I/O, saving a promise and the rare cut, happens before it answers. Appended
// records are synced by the host, which reports that through OnDurable.
//
// Invariants:
//  1. role is Leader only in an epoch that this process was promoted to; a restart ends every leadership.
//  2. Nothing of an epoch below promises.Promised is accepted, sent or acknowledged.
//  3. commit never falls, and the log is never cut below it unless NeedSeed was set first.
type Replica struct {
	opt      ReplicaOptions
	log      Log
	stable   Stable
	promises Promises
	role     Role
	commit   Position

	lead   *leading // set exactly while role is Leader
	told   Mark     // see Told
	toldAt time.Time
	follow following
}

// NewReplica starts a member from what it has on disk: its log, its promises, and the position that its state machine has
// applied. The member follows its last leader again, or waits; it never leads.
func NewReplica(opt ReplicaOptions, log Log, stable Stable, kept Promises, applied Position, now time.Time) (*Replica, error) {
	const advice = "empty this data directory so that the member is seeded again"
	if last := log.Last().Position; applied > last && !kept.NeedSeed {
		return nil, fmt.Errorf("state machine is at position %d, beyond the log's end %d: the log lost entries that were durable; %s", applied, last, advice)
	}
	if first := log.First(); applied+1 < first && !kept.NeedSeed {
		return nil, fmt.Errorf("state machine is at position %d, and the log begins at %d: the state lost entries that were durable; %s", applied, first, advice)
	}
	r := &Replica{opt: opt, log: log, stable: stable, promises: kept, role: RoleWaiting, commit: applied}
	if kept.Leader != "" {
		// The grants of an earlier process of this directory are not known; the longest that one can last is a whole
		// grantTime.
		r.follow.grantedUntil = now.Add(grantTime)
	}
	switch {
	case kept.Promised > kept.Epoch:
		r.role = RoleFenced
	case kept.Leader != "" && kept.Leader != opt.Self.Member:
		r.role = RoleFollower
	}
	return r, nil
}

// Role, Promises, Commit, Log, Led and Self return the current state, for the host's status.
func (r *Replica) Role() Role         { return r.role }
func (r *Replica) Promises() Promises { return r.promises }
func (r *Replica) Commit() Position   { return r.commit }
func (r *Replica) Log() Log           { return r.log }
func (r *Replica) Self() Voter        { return r.opt.Self }

// Told returns the newest commit position, with its epoch, that a leader told this process. It has no Chain. It may be
// beyond this member's log; perhaps only that leader holds the entries in between.
func (r *Replica) Told() Mark { return r.told }

// ToldMillis returns how long ago the leader of Told was last heard, or nil if none ever was.
func (r *Replica) ToldMillis(now time.Time) *int64 {
	if r.toldAt.IsZero() {
		return nil
	}
	return new(now.Sub(r.toldAt).Milliseconds())
}

// Empty reports whether the member's log holds nothing at all. Such a member counts neither as a voter nor as a source of
// data.
func (r *Replica) Empty() bool { return r.log.Last().Position == 0 }

// FenceAnswer states what a member holds under a durable promise.
type FenceAnswer struct {
	Promised  Epoch
	Last      Mark
	Commit    Position
	GrantLeft time.Duration
}

// Fence promises never again to take part in an epoch below e, ends every lower leadership, and reports what the member
// durably holds. Fencing again with the same epoch repeats the answer.
func (r *Replica) Fence(e Epoch, now time.Time) (FenceAnswer, error) {
	if e < r.promises.Promised {
		return FenceAnswer{}, refuse("Promised", "epoch %d is below the promised epoch %d", e, r.promises.Promised)
	}
	if e > r.promises.Promised {
		if err := r.promise(e); err != nil {
			return FenceAnswer{}, err
		}
		r.enter(RoleFenced)
	}
	last, err := r.log.Sync()
	if err != nil {
		return FenceAnswer{}, fmt.Errorf("sync the log before answering the fence: %w", err)
	}
	return FenceAnswer{Promised: r.promises.Promised, Last: last, Commit: r.commit, GrantLeft: max(0, r.follow.grantedUntil.Sub(now))}, nil
}

// Follow joins the leadership of epoch e by leader, whose peer port is at address.
func (r *Replica) Follow(e Epoch, leader, address string) error {
	p := r.promises
	switch {
	case e < p.Promised:
		return refuse("Promised", "epoch %d is below the promised epoch %d", e, p.Promised)
	case leader == r.opt.Self.Member:
		return refuse("Self", "%s cannot follow itself", leader)
	case e == p.Epoch && p.Leader != leader:
		return refuse("OtherLeader", "epoch %d is led by %s, not by %s", e, p.Leader, leader)
	case e == p.Epoch && p.Address == address && r.role == RoleFollower:
		return nil
	}
	p.Promised, p.Epoch, p.Leader, p.Address = e, e, leader, address
	if err := r.save(p); err != nil {
		return err
	}
	r.enter(RoleFollower)
	return nil
}

func (r *Replica) promise(e Epoch) error {
	p := r.promises
	p.Promised = e
	return r.save(p)
}

func (r *Replica) save(p Promises) error {
	if err := r.stable.Save(p); errors.Is(err, ErrNoSpace) {
		return noRoom("the promise of epoch %d cannot be kept: %v", p.Promised, err)
	} else if err != nil {
		return fmt.Errorf("save the promise of epoch %d: %w", p.Promised, err)
	}
	r.promises = p
	return nil
}

// enter changes the role. A read grant that this member gave as a follower survives the change.
func (r *Replica) enter(role Role) {
	r.role = role
	r.lead = nil
	r.follow = following{grantedUntil: r.follow.grantedUntil}
}

// OnDurable notes that the log is durable up to its Durable mark.
func (r *Replica) OnDurable(now time.Time) {
	if r.lead != nil {
		r.advance(now)
	}
}

// Seeded replaces the log after a snapshot was installed; everything in the snapshot is committed. The member continues
// under incarnation, which is a new one if it needed the snapshot (Promises.NeedSeed); see Renewed.
func (r *Replica) Seeded(log Log, at Mark, incarnation string) error {
	if err := r.save(r.promises.Replaced(false)); err != nil {
		return err
	}
	r.log, r.commit, r.follow.cut = log, at.Position, nil
	r.Renewed(incarnation)
	return nil
}

// Renewed notes that this member continues under another incarnation, which its host has made durable. It is no longer the
// voter it was, because it does not hold what the previous incarnation acknowledged.
func (r *Replica) Renewed(incarnation string) { r.opt.Self.Incarnation = incarnation }

// Emptied replaces the log by an empty one, whose state machine is empty too: the old data was of no use
// (Promises.NeedSeed) and had to make room for a seed.
func (r *Replica) Emptied(log Log) error {
	if err := r.save(r.promises.Replaced(true)); err != nil {
		return err
	}
	r.log, r.commit, r.follow.cut = log, 0, nil
	return nil
}
