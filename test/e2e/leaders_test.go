//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

const (
	leadersPeriod   = 100 * time.Millisecond
	addressesPeriod = 500 * time.Millisecond
)

// sightings records which members claimed to lead which epoch: epoch -> member@incarnation.
type sightings struct {
	mu   sync.Mutex
	seen map[replication.Epoch]map[string]bool
}

func (s *sightings) add(st wire.Status) {
	if st.Role != wire.RoleLeader {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[replication.Epoch]map[string]bool{}
	}
	if s.seen[st.Epoch] == nil {
		s.seen[st.Epoch] = map[string]bool{}
	}
	s.seen[st.Epoch][st.Member+"@"+st.Incarnation] = true
}

func (s *sightings) merge(seen map[replication.Epoch]map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[replication.Epoch]map[string]bool{}
	}
	for e, who := range seen {
		if s.seen[e] == nil {
			s.seen[e] = map[string]bool{}
		}
		maps.Copy(s.seen[e], who)
	}
}

// leaders continuously asks every member who leads. On the own cluster it asks from where the clients are, so that it also hears
// an old leader that only they can still reach. On another cluster it asks through the API server.
type leaders struct {
	sightings
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func watchLeaders(ctx context.Context, s *stage.Store) (*leaders, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &leaders{cancel: cancel}
	if s.Cluster == nil {
		for ordinal := range v1alpha1.MaxReplicas {
			l.done.Go(func() {
				poll(running, leadersPeriod, func() {
					if st, err := statusOf(running, s, v1alpha1.MemberName(s.Name, ordinal+1)); err == nil {
						l.add(st)
					}
				})
			})
		}
		return l, nil
	}
	rs, err := s.Get(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	p, err := s.Cluster.StartInClient(ctx, self(), watcherArgument, string(rs.UID))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch who leads: %w", err)
	}
	l.done.Go(func() {
		defer p.Close()
		l.feed(running, s, p)
	})
	return l, nil
}

// feed tells the watcher the members' addresses, as far as they are known, and records what it has seen.
func (l *leaders) feed(ctx context.Context, s *stage.Store, p *stage.Process) {
	in, out := json.NewDecoder(p.Out), json.NewEncoder(p.In)
	var addresses []string
	ask := func(ctx context.Context) {
		if pods, err := s.Pods(ctx); err == nil { // otherwise the API server is down, and the old addresses stay valid
			addresses = addresses[:0]
			for _, pod := range pods {
				if pod.Status.PodIP != "" {
					addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(v1alpha1.PortControl)))
				}
			}
		}
		var seen map[replication.Epoch]map[string]bool
		if out.Encode(addresses) == nil && in.Decode(&seen) == nil {
			l.merge(seen)
		}
	}
	poll(ctx, addressesPeriod, func() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		ask(ctx)
	})
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	ask(last)
}

func poll(ctx context.Context, period time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
	}
}

// statusOf asks a member's control port through the API server.
func statusOf(ctx context.Context, s *stage.Store, member string) (wire.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var st wire.Status
	text, err := s.Kube.CoreV1().Pods(s.Namespace).ProxyGet("http", member, strconv.Itoa(v1alpha1.PortControl), wire.PathStatus, nil).DoRaw(ctx)
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(text, &st)
}

func (l *leaders) stop() {
	l.cancel()
	l.done.Wait()
}

// epochs returns how many leaderships were seen, and the largest number of leaders that one of them had.
func (l *leaders) epochs() (seen, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, who := range l.seen {
		most = max(most, len(who))
	}
	return len(l.seen), most
}

// twice returns the epochs that had more than one leader.
func (l *leaders) twice() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for e, who := range l.seen {
		if len(who) > 1 {
			out = append(out, fmt.Sprintf("epoch %d: %v", e, slices.Sorted(maps.Keys(who))))
		}
	}
	return out
}

// watcherArgument makes this program ask members who leads. It then runs on the cluster's client machine.
const watcherArgument = "leader-watcher"

// watchMembers asks every address that it was ever told for the members of the store with the given UID. It answers each list of
// addresses with everything seen so far, and ends with its input. It needs the UID because a pod of another store with the same
// name may get a former member's address.
func watchMembers(store string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen sightings
	client := nodeclient.New(nodeclient.Timeouts{Status: time.Second, Order: time.Second})
	known := map[string]bool{}
	requests, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var addresses []string
		switch err := requests.Decode(&addresses); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read addresses: %w", err)
		}
		for _, a := range addresses {
			if !known[a] {
				known[a] = true
				go poll(ctx, leadersPeriod, func() {
					if st, err := client.Status(ctx, nodeclient.Target{Address: a}); err == nil && st.StoreUID == store {
						seen.add(st)
					}
				})
			}
		}
		seen.mu.Lock()
		err := answers.Encode(seen.seen)
		seen.mu.Unlock()
		if err != nil {
			return fmt.Errorf("tell what was seen: %w", err)
		}
	}
}
