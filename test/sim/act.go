package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// act does the plan's actions in order and stops at the first failure, unless that was of a pod; see controllers/act.go.
func (x *pass) act(plan decide.Plan) error {
	var failed []error
	for i := 0; i < len(plan.Actions); i++ {
		a := plan.Actions[i]
		if _, ok := a.(decide.FollowLeader); ok {
			i += x.follow(plan.Actions[i:]) - 1
			continue
		}
		if a.Risky() {
			x.loop.Logf("%s: %v", x.name, a)
		}
		if err := x.do(a); err != nil {
			if failed = append(failed, fmt.Errorf("%v: %w", a, err)); !goesOn(a, err) {
				break
			}
		}
	}
	return errors.Join(failed...)
}

// goesOn reports whether the actions after one that failed are carried out all the same.
func goesOn(a decide.Action, err error) bool {
	switch a.(type) {
	case decide.LabelPod:
		return true
	case decide.CreateMember:
		return !errors.Is(err, context.DeadlineExceeded)
	default:
		return false
	}
}

func (x *pass) do(a decide.Action) error {
	switch a := a.(type) {
	case decide.WriteRecord:
		x.consented(a)
		uid, err := x.client.WriteRecord(x.p, a)
		if err != nil {
			return err
		}
		x.memory.Known = decide.KnownOf(uid, a.Record.Encode(), &a.Record)
		return nil
	case decide.FenceMembers:
		x.fence(a)
		return nil
	case decide.PromoteMember:
		return x.promote(a)
	case decide.ConfigureLeader:
		_, err := x.order(a.Member, 0, func(c Control, p *Proc) (any, error) { return nil, c.Configure(p, a.Request) })
		return err
	case decide.HandOver:
		x.handOver(a)
		return nil
	case decide.CreateMember:
		return x.createMember(a.Member)
	case decide.TryPod: // it takes every pod
		x.memory.Tried = decide.TriedAt(x.now(), a.Member, x.specHash(), "", false)
		return nil
	case decide.DeletePod:
		x.uncached.Members = true
		return x.ofThat(x.client.DeletePod(x.p, a.Name, a.UID))
	case decide.DeleteClaim:
		x.uncached.Members = true
		return x.ofThat(x.client.DeleteClaim(x.p, a.Name, a.UID))
	case decide.LabelPod:
		return x.patchPod(a.Name, func(p *decide.Pod) { p.Role = a.Role })
	case decide.RouteClients:
		x.route(a)
		return nil
	case decide.UnannotatePod:
		if a.Key != v1alpha1.AnnotationReseed {
			return fmt.Errorf("sim: unknown annotation %s", a.Key)
		}
		return x.patchPod(a.Name, func(p *decide.Pod) { p.Reseed = false })
	case decide.FinishRequest:
		return x.finishRequest(a.Outcome)
	default:
		panic(fmt.Sprintf("sim: unknown action %T", a))
	}
}

// order sends a member an order that may fsync, and waits for the answer.
func (x *pass) order(member string, extra time.Duration, give func(Control, *Proc) (any, error)) (any, error) {
	var r result
	x.command(x.address(member), x.Timeouts.Order+extra, give, r.set)
	return r.wait(x.p)
}

func (x *pass) address(member string) string {
	if m := x.seen.Members[member]; m.Pod != nil {
		return m.Pod.IP
	}
	return ""
}

func (x *pass) promote(a decide.PromoteMember) error {
	settle := x.memory.Promoting(&x.answers, a.Request, x.now())
	_, err := x.order(a.Member, 0, func(c Control, p *Proc) (any, error) { return nil, c.Promote(p, a.Request) })
	return settle(err, x.now())
}

func (x *pass) createMember(member string) error {
	attempts, hash := x.memory.Attempts, x.specHash()
	if err := attempts.Rests(member, hash, x.now()); err != nil {
		return err
	}
	err := x.client.CreateMember(x.p, member, hash)
	attempts.Ended(member, hash, err, x.now())
	return err
}

// ofThat judges the error of a write about a pod or claim with a given UID; see controllers/act.go.
func (x *pass) ofThat(err error) error {
	x.memory.Outdated.Members = x.memory.Outdated.Members || apierrors.IsConflict(err)
	return err
}

func (x *pass) handOver(a decide.HandOver) {
	hold := time.Duration(a.Request.HoldMillis) * time.Millisecond
	reply, err := x.order(a.Member, hold, func(c Control, p *Proc) (any, error) { return c.Handover(p, a.Request) })
	held, _ := reply.(wire.HandoverReply)
	x.memory.HandedOver(&x.answers, a.Request, held.End, err, x.now())
}

// fence fences all members in parallel. It waits for all of them, but for no more than a short grace after the last answer from a
// member that had reported its status in this step.
func (x *pass) fence(a decide.FenceMembers) {
	if x.answers.FencedEpoch != a.Epoch {
		x.answers.FencedEpoch, x.answers.Fences = a.Epoch, map[string]wire.FenceReply{}
	}
	fences := x.answers.Fences
	expected, left, over := 0, len(a.Members), false
	var news Signal
	for _, name := range a.Members {
		fresh := x.seen.Members[name].Probe.Reach == decide.Fresh
		if fresh {
			expected++
		}
		x.command(x.address(name), x.Timeouts.Order, func(c Control, p *Proc) (any, error) {
			return c.Fence(p, wire.FenceRequest{Epoch: a.Epoch})
		}, func(reply any, err error) {
			if over {
				return
			}
			left--
			if fresh {
				expected--
			}
			if err != nil {
				x.loop.Logf("%s: %s is not fenced: %v", x.name, name, err)
			} else if f := reply.(wire.FenceReply); f.Member == name {
				fences[name] = f
			}
			news.Fire()
		})
	}
	for left > 0 && expected > 0 {
		x.p.Wait(&news, -1)
	}
	for end := x.loop.now + x.host.Clock.True(fenceGrace); left > 0 && x.loop.now < end; {
		x.p.Wait(&news, end-x.loop.now)
	}
	over = true
}

// follow sends the leading run of follow orders, all in parallel, and returns how many there were.
func (x *pass) follow(actions []decide.Action) (n int) {
	var g group
	for _, a := range actions {
		f, ok := a.(decide.FollowLeader)
		if !ok {
			break
		}
		n++
		g.begin()
		x.command(x.address(f.Member), min(followWait, x.Timeouts.Order), func(c Control, p *Proc) (any, error) {
			return nil, c.Follow(p, f.Request)
		}, func(_ any, err error) {
			if err != nil {
				x.loop.Logf("%s: %s is not told to follow %s: %v", x.name, f.Member, f.Request.Leader, err)
			}
			g.end()
		})
	}
	g.wait(x.p)
	return n
}

// route points the -rw Service at a member. Nothing in the simulation uses that Service: its clients may ask any member.
func (x *pass) route(a decide.RouteClients) {
	var to decide.Route
	if m := x.seen.Members[a.Member]; a.Member != "" && m.Pod != nil {
		to = decide.Route{UID: m.Pod.UID, IP: m.Pod.IP}
	}
	x.unrouted = x.client.write(x.p, func() error {
		x.client.api.route = &to
		return nil
	}) != nil
}

func (x *pass) patchPod(name string, edit func(*decide.Pod)) error {
	m := x.seen.Members[name]
	if m.Pod == nil {
		return nil
	}
	return x.ofThat(x.client.PatchPod(x.p, name, m.Pod.UID, edit))
}

// finishRequest publishes the outcome first and then removes the request.
func (x *pass) finishRequest(outcome v1alpha1.FailoverRequestStatus) error {
	status := *x.store.Status.DeepCopy()
	status.FailoverRequest = &outcome
	s, err := x.client.PatchStatus(x.p, x.store, status, false)
	if err != nil {
		return fmt.Errorf("publish the outcome: %w", err)
	}
	x.store = s
	return x.client.RemoveFailover(x.p, s)
}

// publish writes the status, if it changed.
func (x *pass) publish(plan decide.Plan) error {
	if plan.State == decide.StateInvalid || plan.Standby {
		return nil
	}
	status := *plan.Status.DeepCopy()
	status.FailoverRequest = x.store.Status.FailoverRequest
	if equality.Semantic.DeepEqual(status, x.store.Status) {
		return nil
	}
	s, err := x.client.PatchStatus(x.p, x.store, status, true)
	x.memory.Outdated.Store = apierrors.IsConflict(err)
	if err != nil {
		return fmt.Errorf("publish status: %w", err)
	}
	x.store = s
	return nil
}

// tellFirst publishes what must be known before the plan is carried out; see controllers/publish.go.
func (x *pass) tellFirst(plan decide.Plan) error {
	first, waits := plan.TellFirst(x.store)
	if !first {
		return nil
	}
	if err := x.publish(plan); waits || apierrors.IsConflict(err) {
		return err
	}
	return nil
}
