package sim

import (
	"time"

	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/replication"
)

// leaseHolder renews the Lease for the leader in its process, at the pace of node/lease.Holder.
type leaseHolder struct {
	p        *process
	proc     *Proc
	epoch    replication.Epoch
	duration time.Duration
	until    time.Time // on the host's monotonic clock; zero: not held
}

func (h *leaseHolder) Hold(e replication.Epoch, d time.Duration, deposed func(replication.Epoch)) {
	h.duration = d
	if h.proc != nil && h.epoch == e {
		return
	}
	h.Release()
	h.epoch = e
	h.proc = h.p.os.Go("renew", func(c *Proc) { h.renew(c, e, deposed) })
}

func (h *leaseHolder) renew(c *Proc, e replication.Epoch, deposed func(replication.Epoch)) {
	clock := h.p.clock
	for {
		d, wait := h.duration, h.duration/20
		if !h.p.disk.Hung() { // if it hangs, the probe fails
			r := h.p.w.api.Renew(c, h.p.host, h.p.name, e, clock.True(d/6))
			switch r.Answer {
			case lease.Ours:
				if s := time.Duration(r.Seconds) * time.Second; s > 0 {
					d = min(d, s)
				}
				h.until = clock.MonoAt(r.Sent).Add(d / 3 * 2)
				wait = h.duration / 3
			case lease.Deposed:
				deposed(r.Epoch)
				return
			default:
			}
		}
		c.Sleep(clock.True(wait))
	}
}

func (h *leaseHolder) Release() {
	if h.proc != nil {
		h.proc.Kill()
	}
	h.proc, h.until = nil, time.Time{}
}

func (h *leaseHolder) Valid(now time.Time) bool { return now.Before(h.until) }
