package sim

import (
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Client is one host's access to the API server. Callers must not change what it returns.
type Client struct {
	api  *API
	from string
}

// Client returns the client of a host.
func (a *API) Client(from string) Client { return Client{a, from} }

func (c Client) read(p *Proc, do func() (any, error)) (any, error) {
	return c.api.request(p, c.from, apiTimeout, false, do)
}

func (c Client) write(p *Proc, do func() error) error {
	_, err := c.api.request(p, c.from, apiTimeout, true, func() (any, error) { return nil, do() })
	return err
}

// GetStore reads the store, uncached.
func (c Client) GetStore(p *Proc) (*v1alpha1.ReplicatedStore, error) {
	s, err := c.read(p, func() (any, error) { return c.api.store, nil })
	if err != nil {
		return nil, err
	}
	return s.(*v1alpha1.ReplicatedStore), nil
}

// GetLease reads the Lease, uncached. It returns nil if there is none.
func (c Client) GetLease(p *Proc) (*LeaseObject, error) {
	l, err := c.read(p, func() (any, error) { return c.api.lease, nil })
	if err != nil {
		return nil, err
	}
	return l.(*LeaseObject), nil
}

// ListMembers lists the pods and the claims, uncached.
func (c Client) ListMembers(p *Proc) (map[string]decide.Pod, map[string]decide.Claim, error) {
	type lists struct {
		pods   map[string]decide.Pod
		claims map[string]decide.Claim
	}
	l, err := c.read(p, func() (any, error) {
		pods, claims := c.api.objects()
		return lists{pods, claims}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return l.(lists).pods, l.(lists).claims, nil
}

// WriteRecord replaces the record by compare-and-swap, or creates the Lease with it. It returns the Lease's UID.
func (c Client) WriteRecord(p *Proc, w decide.WriteRecord) (types.UID, error) {
	text, a := w.Record.Encode(), c.api
	var uid types.UID
	err := c.write(p, func() error {
		old := a.lease
		switch {
		case w.ResourceVersion == "" && old != nil:
			return apierrors.NewAlreadyExists(leases, a.store.Name)
		case w.ResourceVersion == "":
			uid = a.uid()
			a.setLease(&LeaseObject{UID: uid, Record: text, Holder: w.Record.Leader.Member, Seconds: w.LeaseSeconds})
			return nil
		case old == nil:
			return apierrors.NewNotFound(leases, a.store.Name)
		case old.ResourceVersion() != w.ResourceVersion:
			return apierrors.NewConflict(leases, a.store.Name, errChanged)
		}
		uid = old.UID
		next := &LeaseObject{UID: uid, Record: text, Holder: w.Record.Leader.Member, Seconds: w.LeaseSeconds, Renewed: old.Renewed}
		if w.NewLeader {
			next.Renewed = 0
		}
		a.setLease(next)
		return nil
	})
	return uid, err
}

// CreateMember creates a member's claim and its pod, unless they exist, in two requests.
func (c Client) CreateMember(p *Proc, member, specHash string) error {
	a := c.api
	err := c.write(p, func() error {
		if a.claims[member] == nil {
			a.claims[member] = &claimObject{name: member, Claim: decide.Claim{UID: a.uid()}}
			a.publishObjects()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.write(p, func() error {
		if a.pods[member] == nil {
			a.pods[member] = &podObject{name: member, Pod: decide.Pod{UID: a.uid(), SpecHash: specHash}}
			a.publishObjects()
		}
		return nil
	})
}

// DeletePod begins to delete the pod with this UID. It is not an error if the pod is gone, but a conflict if it was replaced.
func (c Client) DeletePod(p *Proc, name string, uid types.UID) error {
	return c.write(p, func() error {
		if o := c.api.pods[name]; o != nil && o.UID != uid {
			return apierrors.NewConflict(pods, name, errChanged)
		}
		c.api.deletePod(name, uid)
		return nil
	})
}

// DeleteClaim begins to delete the claim with this UID, which disappears once no pod uses it. If it was replaced, that is a
// conflict.
func (c Client) DeleteClaim(p *Proc, name string, uid types.UID) error {
	return c.write(p, func() error {
		switch o := c.api.claims[name]; {
		case o != nil && o.UID != uid:
			return apierrors.NewConflict(claims, name, errChanged)
		case o != nil && !o.Deleting:
			c.api.setClaim(name, func(o *claimObject) { o.Deleting = true })
		}
		return nil
	})
}

// PatchPod changes the pod with this UID. It is not an error if the pod is gone, but a conflict if it was replaced.
func (c Client) PatchPod(p *Proc, name string, uid types.UID, edit func(*decide.Pod)) error {
	return c.write(p, func() error {
		switch o := c.api.pods[name]; {
		case o != nil && o.UID != uid:
			return apierrors.NewConflict(pods, name, errChanged)
		case o != nil:
			c.api.setPod(name, edit)
		}
		return nil
	})
}

// PatchStatus replaces the status and returns the resulting store. It leaves the answer to a failover request alone if base and
// next have the same one. If locked, the store must still have base's version.
func (c Client) PatchStatus(p *Proc, base *v1alpha1.ReplicatedStore, next v1alpha1.ReplicatedStoreStatus, locked bool) (*v1alpha1.ReplicatedStore, error) {
	s, err := c.api.request(p, c.from, apiTimeout, true, func() (any, error) {
		if locked && c.api.store.ResourceVersion != base.ResourceVersion {
			return nil, apierrors.NewConflict(stores, base.Name, errChanged)
		}
		s := c.api.store.DeepCopy()
		answer := s.Status.FailoverRequest
		s.Status = next
		if next.FailoverRequest == base.Status.FailoverRequest {
			s.Status.FailoverRequest = answer
		}
		c.api.setStore(s)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return s.(*v1alpha1.ReplicatedStore), nil
}

// RemoveFailover removes the failover annotation if the store still has base's version.
func (c Client) RemoveFailover(p *Proc, base *v1alpha1.ReplicatedStore) error {
	return c.write(p, func() error {
		if c.api.store.ResourceVersion != base.ResourceVersion {
			return apierrors.NewConflict(stores, base.Name, errChanged)
		}
		s := c.api.store.DeepCopy()
		delete(s.Annotations, v1alpha1.AnnotationFailover)
		c.api.setStore(s)
		return nil
	})
}

// renewer identifies a leadership that renews the Lease.
type renewer struct {
	from, member string
	epoch        replication.Epoch
}

// Renewal is the outcome of one attempt to renew the Lease.
type Renewal struct {
	Answer lease.Answer
	// Epoch is the recorded epoch, or 0 if there is none.
	Epoch replication.Epoch
	// Sent is the true time at which the successful renewal was sent. It is valid if Answer is Ours.
	Sent time.Duration
	// Seconds is the duration that the Lease states.
	Seconds int32
}

// conflictsPerTry bounds how often one attempt reads the Lease again after a conflict.
const conflictsPerTry = 4

// Renew renews the Lease for the leader of an epoch, as lease.Holder does. It reads the Lease unless it knows the version that it
// wrote last, and goes on only while the record names its epoch and the Lease names its member. The caller has probed the disk.
func (a *API) Renew(p *Proc, from, member string, epoch replication.Epoch, timeout time.Duration) Renewal {
	limit, key := a.loop.now+timeout, renewer{from, member, epoch}
	var r Renewal
	for range conflictsPerTry {
		if a.renewing[key] == 0 {
			l, err := a.request(p, from, limit-a.loop.now, false, func() (any, error) {
				if a.lease == nil {
					return nil, apierrors.NewNotFound(leases, a.store.Name)
				}
				return a.lease, nil
			})
			if r = judge(member, epoch, l, err); r.Answer != lease.Ours {
				return r
			}
			a.renewing[key] = l.(*LeaseObject).Version
		}
		sent, version := a.loop.now, a.renewing[key]
		l, err := a.request(p, from, limit-a.loop.now, true, func() (any, error) { return a.renew(version) })
		delete(a.renewing, key) // the write may still have been applied
		switch r = judge(member, epoch, l, err); r.Answer {
		case lease.Ours:
			a.renewing[key] = l.(*LeaseObject).Version
			r.Sent = sent
			return r
		case lease.Conflict:
		default:
			return r
		}
	}
	return r
}

// renew is the server side of Renew.
func (a *API) renew(version int) (any, error) {
	switch {
	case a.lease == nil:
		return nil, apierrors.NewNotFound(leases, a.store.Name)
	case a.lease.Version != version:
		return nil, apierrors.NewConflict(leases, a.store.Name, errChanged)
	}
	next := *a.lease
	a.renewals++
	next.Renewed = a.renewals
	a.setLease(&next)
	return &next, nil
}

// judge interprets an answer as lease.Holder does.
func judge(self string, epoch replication.Epoch, answer any, err error) Renewal {
	switch {
	case err == nil:
	case apierrors.IsConflict(err):
		return Renewal{Answer: lease.Conflict}
	case apierrors.IsNotFound(err):
		return Renewal{Answer: lease.Missing}
	default:
		return Renewal{Answer: lease.Unreachable}
	}
	l := answer.(*LeaseObject)
	var record struct {
		Epoch replication.Epoch `json:"epoch"`
	}
	if json.Unmarshal([]byte(l.Record), &record) != nil {
		return Renewal{Answer: lease.Unrecorded}
	}
	r := Renewal{Epoch: record.Epoch, Seconds: l.Seconds}
	switch {
	case record.Epoch > epoch:
		r.Answer = lease.Deposed
	case record.Epoch < epoch:
		r.Answer = lease.Unrecorded
	case l.Holder != self:
		r.Answer = lease.OtherHolder
	default:
		r.Answer = lease.Ours
	}
	return r
}

// election is the Lease with which the operators elect the active one.
type election struct {
	version int
	holder  string
	broken  bool // every operator is told that it leads
}

// BreakElection makes every operator believe that it leads, or ends that.
func (a *API) BreakElection(broken bool) { a.election.broken = broken }

// elect tries to take or keep the operators' election Lease, given the version seen last. It returns the version and the holder
// that it found or set.
func (c Client) elect(p *Proc, version int, expired bool) (int, string, error) {
	type found struct {
		version int
		holder  string
	}
	f, err := c.api.request(p, c.from, renewDeadline, true, func() (any, error) {
		e := &c.api.election
		switch {
		case e.broken:
			return found{e.version, c.from}, nil
		case e.holder == c.from, e.holder == "", expired && e.version == version:
			e.version++
			e.holder = c.from
		}
		return found{e.version, e.holder}, nil
	})
	if err != nil {
		return 0, "", fmt.Errorf("election: %w", err)
	}
	return f.(found).version, f.(found).holder, nil
}
