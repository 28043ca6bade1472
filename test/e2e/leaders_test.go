//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// leaders remembers who said of himself that he leads which epoch, by asking every member all the time.
type leaders struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	seen map[replication.Epoch]map[string]bool // member@incarnation
}

const leadersPeriod = 150 * time.Millisecond

func watchLeaders(s *stage.Store) *leaders {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leaders{cancel: cancel, seen: map[replication.Epoch]map[string]bool{}}
	for ordinal := range v1alpha1.MaxReplicas {
		l.done.Go(func() { l.watch(ctx, s, v1alpha1.MemberName(s.Name, ordinal+1)) })
	}
	return l
}

// watch asks one member, through the API server. Members that do not exist, or cannot be reached, say nothing.
func (l *leaders) watch(ctx context.Context, s *stage.Store, member string) {
	for {
		if st, err := statusOf(ctx, s, member); err == nil && st.Role == wire.RoleLeader {
			l.mu.Lock()
			if l.seen[st.Epoch] == nil {
				l.seen[st.Epoch] = map[string]bool{}
			}
			l.seen[st.Epoch][st.Member+"@"+st.Incarnation] = true
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(leadersPeriod):
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

// epochs is how many leaderships were seen at all.
func (l *leaders) epochs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

// twice names the epochs that had more than one leader.
func (l *leaders) twice() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for e, who := range l.seen {
		if len(who) > 1 {
			out = append(out, fmt.Sprintf("epoch %d: %v", e, who))
		}
	}
	return out
}
