package reports

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	retry "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Watcher sees every version of the records and the statuses of a namespace's stores. It is safe for concurrent use.
type Watcher struct {
	namespace string
	client    client.WithWatch
	cancel    context.CancelFunc
	done      sync.WaitGroup

	mu     sync.Mutex
	log    *json.Encoder
	stores map[string]*account
	holes  []string // why versions may have been missed
}

// Watch starts from the current state and writes changes to log, as JSON lines.
func Watch(ctx context.Context, s *stage.Stage, namespace string, log io.Writer) (*Watcher, error) {
	c, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("watch the stores: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &Watcher{namespace: namespace, client: c, cancel: cancel, log: json.NewEncoder(log), stores: map[string]*account{}}
	for _, list := range []client.ObjectList{&v1alpha1.ReplicatedStoreList{}, &coordinationv1.LeaseList{}} {
		version, err := w.list(ctx, list)
		if err != nil {
			cancel()
			return nil, err
		}
		w.done.Go(func() { w.follow(running, list, version) })
	}
	return w, nil
}

// Stop ends the watch.
func (w *Watcher) Stop() {
	w.cancel()
	w.done.Wait()
}

// list takes the current objects and returns the version to watch from.
func (w *Watcher) list(ctx context.Context, list client.ObjectList) (string, error) {
	if err := w.client.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
		return "", fmt.Errorf("list the stores: %w", err)
	}
	switch l := list.(type) {
	case *v1alpha1.ReplicatedStoreList:
		for i := range l.Items {
			w.take(&l.Items[i])
		}
	case *coordinationv1.LeaseList:
		for i := range l.Items {
			w.take(&l.Items[i])
		}
	}
	return list.GetResourceVersion(), nil
}

// relistPause is the pause between attempts to start over.
const relistPause = time.Second

// follow takes every version after the given one. A watch that breaks off resumes at the same place. Only if the API server has
// forgotten that version does it start over; it may then have missed something, which is recorded.
func (w *Watcher) follow(ctx context.Context, list client.ObjectList, version string) {
	for ctx.Err() == nil {
		watcher, err := retry.NewRetryWatcherWithContext(ctx, version, &cache.ListWatch{
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return w.client.Watch(ctx, list, &client.ListOptions{Namespace: w.namespace, Raw: &o})
			},
		})
		if err == nil {
			for e := range watcher.ResultChan() {
				if object, ok := e.Object.(client.Object); ok && e.Type != watch.Bookmark {
					w.take(object)
				}
			}
		}
		for version = ""; version == "" && ctx.Err() == nil; {
			if version, err = w.list(ctx, list); err != nil {
				ledger.Sleep(ctx, relistPause)
			}
		}
		if ctx.Err() == nil {
			w.mu.Lock()
			w.holes = append(w.holes, fmt.Sprintf("the watch of %T had to begin anew at %s", list, time.Now().Format(time.TimeOnly)))
			w.mu.Unlock()
		}
	}
}

// entry is one line of the log.
type entry struct {
	At       time.Time                  `json:"at"`
	Store    string                     `json:"store"`
	Record   *decide.Record             `json:"record,omitempty"`
	Report   *v1alpha1.FailoverReport   `json:"report,omitempty"`
	Counters *v1alpha1.FailoverCounters `json:"counters,omitempty"`
	Error    string                     `json:"error,omitempty"`
}

func (w *Watcher) take(object client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.stores[object.GetName()]
	if a == nil {
		a = newAccount()
		w.stores[object.GetName()] = a
	}
	e := entry{At: time.Now(), Store: object.GetName()}
	switch o := object.(type) {
	case *v1alpha1.ReplicatedStore:
		if a.published(*o.Status.DeepCopy()) {
			e.Report, e.Counters = o.Status.LastFailover, &o.Status.Counters
		}
	case *coordinationv1.Lease:
		text, ok := o.Annotations[v1alpha1.AnnotationRecord]
		if !ok {
			return
		}
		switch r, err := decide.DecodeRecord(text); {
		case err != nil:
			e.Error = err.Error()
			w.holes = append(w.holes, fmt.Sprintf("the record of %s: %v", e.Store, err))
		case a.recorded(e.Store, *r, e.At):
			e.Record = r
		}
	}
	if e.Record != nil || e.Counters != nil || e.Error != "" {
		if err := w.log.Encode(e); err != nil {
			w.holes = append(w.holes, fmt.Sprintf("write the log of leaderships: %v", err))
		}
	}
}

// Now is what is known of a store at this moment.
type Now struct {
	Epoch  int64
	Leader string // "" while none is chosen
	Phase  v1alpha1.Phase
}

// Now returns what is known of a store, without asking anybody.
func (w *Watcher) Now(store string) (n Now) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.stores[store]; a != nil {
		if a.record != nil {
			n.Epoch, n.Leader = int64(a.record.Epoch), a.record.Leader.Member
		}
		if a.status != nil {
			n.Phase = a.status.Phase
		}
	}
	return n
}

// Changes returns all changes of leader since the watch began, of all stores.
func (w *Watcher) Changes() (out []Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.stores)) {
		out = append(out, w.stores[name].changes()...)
	}
	return out
}

// Breaches returns sentences about what is not reported or may have been missed.
func (w *Watcher) Breaches() []string {
	changes := w.Changes()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.holes)
	for _, c := range changes {
		if c.Missing != "" {
			out = append(out, fmt.Sprintf("epoch %d of %s, led by %q since %s (%s, %s): %s",
				c.Epoch, c.Store, c.Leader, c.Begun.Format(time.TimeOnly), c.Kind, c.Reason, c.Missing))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.stores)) {
		if m := w.stores[name].miscounted(); m != "" {
			out = append(out, fmt.Sprintf("%s: %s", name, m))
		}
	}
	return out
}
