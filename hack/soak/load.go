package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/load"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// loadProcess is the load, running on the cluster's client machine.
type loadProcess struct {
	*load.Remote
	*stage.Process
}

func startLoad(ctx context.Context, c *stage.Cluster, self string, o load.Options) (*loadProcess, error) {
	p, err := c.StartInClient(ctx, self, "load")
	if err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	l := &loadProcess{load.NewRemote(p.Out, p.In), p}
	if err := l.Start(o); err != nil {
		l.Close() // afterwards its standard error is complete
		return nil, fmt.Errorf("start the load: %w; it says: %s", err, p.Said())
	}
	return l, nil
}

// target returns where clients find a store. Members are addressed by name, because a recreated pod has another IP.
func target(ctx context.Context, s *stage.Store) (t load.Target, err error) {
	if t.ReadWrite, err = s.Address(ctx); err != nil {
		return t, err
	}
	if t.ReadOnly, err = s.ServiceAddress(ctx, v1alpha1.ServiceReadOnly(s.Name)); err != nil {
		return t, err
	}
	members, err := s.Members(ctx)
	for _, m := range members {
		host := v1alpha1.MemberHost(s.Namespace, s.Name, m.Name)
		t.Members = append(t.Members, ledger.Member{Name: m.Name, Address: net.JoinHostPort(host, strconv.Itoa(v1alpha1.PortClient))})
	}
	return t, err
}

// felt is what the clients of one store have experienced so far.
type felt struct {
	acknowledged, unknown int64
	gap                   ledger.Gap
	last                  time.Time // newest acknowledgement
	errors                map[string]int64
}

// feel asks the clients of both stores. Gaps are the worst ones after since.
func (s *soak) feel(since time.Time) (f [stores]felt, reads int64, err error) {
	r, err := s.load.Stats(since)
	if err != nil {
		return f, 0, err
	}
	f[registersStore] = felt{r.Writes, r.Unknown, r.Gap, r.LastAcknowledged, r.Errors}
	l, err := s.ledger.Stats(since)
	if err != nil {
		return f, 0, err
	}
	f[ledgerStore] = felt{l.Acknowledged, l.Unknown, l.Gap, l.LastAcknowledged, map[string]int64{"failed": l.Failed, "outcome unknown": l.Unknown}}
	return f, r.Reads + r.Views, nil
}

// flows waits until both stores have acknowledged writes after the given moment.
func (s *soak) flows(ctx context.Context, after time.Time) error {
	for {
		f, _, err := s.feel(after)
		if err != nil {
			return err
		}
		if f[registersStore].last.After(after) && f[ledgerStore].last.After(after) {
			return nil
		}
		if ledger.Sleep(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("writes are not acknowledged: %w", context.Cause(ctx))
		}
	}
}
