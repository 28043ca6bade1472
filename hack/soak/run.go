package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/evidence"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/faults"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/reports"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

type options struct {
	minutes int
	seed    uint64
	out     string
	within  time.Duration // time limit for becoming whole
	down    bool
}

// Time limits of the steps. A step that takes longer has failed.
const (
	clusterTimeout = 30 * time.Minute // the first time, Kubernetes is built from source
	installTimeout = 5 * time.Minute
	readyTimeout   = 3 * time.Minute
	startTimeout   = 15 * time.Second
	faultTimeout   = 90 * time.Second // to begin or mend one
	judgeTimeout   = 5 * time.Minute  // for each step of the judgement
)

const (
	namespace = "soak"
	workers   = 3
	operators = 2
)

// The stores, by their number in the schedule of faults.
const (
	registersStore = iota
	ledgerStore
	stores
)

var storeNames = [stores]string{"registers", "ledger"}

// soak is one run.
type soak struct {
	options
	id       string
	dir      string // of the evidence
	tell     *teller
	stage    *stage.Stage
	stores   [stores]*stage.Store
	injector *faults.Injector
	watcher  *reports.Watcher
	logs     *evidence.Logs
	load     *loadProcess
	ledger   *stage.Writer

	begun    time.Time // of the faults
	injected []injected
	breaches []string // sentences about what must not happen
}

func historyPath(dir string) string    { return filepath.Join(dir, "history.jsonl.gz") }
func violationsPath(dir string) string { return filepath.Join(dir, "violations") }

// breach records and prints something that must not happen.
func (s *soak) breach(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.breaches = append(s.breaches, text)
	s.tell.line("VIOLATION: %s", text)
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	s := &soak{options: o}
	if err := s.open(out); err != nil {
		return err
	}
	defer s.tell.close()
	s.tell.line("seed %d: repeat the same faults with `make soak MINUTES=%d SEED=%d`", s.seed, s.minutes, s.seed)
	s.tell.line("evidence: %s", s.dir)
	defer func() {
		if err != nil && !errors.Is(err, errTold) {
			s.tell.line("FAILED: %v", err)
			s.tell.diagnose(ctx, s.injectedStores())
			err = errTold
		}
	}()
	defer func() { err = errors.Join(err, s.end(context.WithoutCancel(ctx))) }()
	for _, step := range []func(context.Context) error{s.cluster, s.install, s.create, s.start} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.breakThings(ctx)
	return s.judge(context.WithoutCancel(ctx))
}

// injectedStores returns the stores that were created.
func (s *soak) injectedStores() []*stage.Store {
	if s.injector == nil {
		return nil
	}
	return s.injector.Stores
}

// open creates the directory for the evidence.
func (s *soak) open(out io.Writer) error {
	begun := time.Now()
	s.id = strconv.FormatInt(begun.Unix(), 36)
	root, err := stage.Root()
	if err != nil {
		return err
	}
	if s.dir = s.out; s.dir == "" {
		s.dir = filepath.Join(root, "dist", "soak", fmt.Sprintf("%s-%d", begun.Format("20060102-150405"), s.seed))
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return fmt.Errorf("make the folder of the evidence: %w", err)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the evidence: %w", err)
	}
	s.tell, err = newTeller(out, s.dir, begun)
	return err
}

// end mends what is broken, whatever happened, and stops what was started.
func (s *soak) end(ctx context.Context) error {
	var errs []error
	if s.injector != nil {
		mending, cancel := context.WithTimeout(ctx, faultTimeout)
		defer cancel()
		errs = append(errs, s.injector.MendAll(mending))
	}
	if s.load != nil {
		s.load.Close()
	}
	if s.ledger != nil {
		s.ledger.Close()
	}
	if s.watcher != nil {
		s.watcher.Stop()
	}
	if s.logs != nil {
		errs = append(errs, s.logs.Stop())
	}
	if s.down && s.stage != nil && s.stage.Cluster != nil {
		s.tell.line("remove the cluster")
		errs = append(errs, s.stage.Cluster.Down(ctx))
	}
	return errors.Join(errs...)
}

func (s *soak) cluster(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	s.tell.line("start a Kubernetes cluster of %d workers", workers)
	var err error
	if s.stage, err = stage.Open(ctx, stage.Options{Workers: workers, Log: s.tell.tools}); err != nil {
		return err
	}
	if s.stage.Cluster == nil {
		return fmt.Errorf("the cluster of KUBECONFIG=%s is not the project's own: its machines must not be broken", s.stage.Kubeconfig)
	}
	s.injector = &faults.Injector{Stage: s.stage, Workers: workers}
	return s.injector.MendAll(ctx) // an earlier run may have left something broken
}

func (s *soak) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	s.tell.line("install the operator: make image, load it, helm install")
	image, digest, err := s.stage.Image(ctx)
	if err != nil {
		return err
	}
	if _, err := s.stage.Forget(ctx, namespace); err != nil {
		return err
	}
	return s.stage.Install(ctx, image, digest, fmt.Sprintf("replicas=%d", operators))
}

// create creates both stores from the sample and waits until they are Ready.
func (s *soak) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	manifest, err := os.ReadFile(filepath.Join(s.stage.Root, "config", "samples", "orders.yaml"))
	if err != nil {
		return fmt.Errorf("read the sample: %w", err)
	}
	ns, err := s.stage.Namespace(ctx, namespace)
	if err != nil {
		return err
	}
	s.logs, err = evidence.CopyLogs(filepath.Dir(s.stage.Kubeconfig), filepath.Join(s.dir, "logs"), ns, stage.SystemNamespace)
	if err != nil {
		return err
	}
	for n, level := range [stores]v1alpha1.Consistency{v1alpha1.ConsistencyLinearizable, v1alpha1.ConsistencySession} {
		s.stores[n], err = s.stage.Create(ctx, ns, manifest, func(rs *v1alpha1.ReplicatedStore) {
			rs.Name = storeNames[n]
			rs.Spec.Replicas, rs.Spec.Replication.Synchronous.Number = new(int32(3)), new(int32(1))
			rs.Spec.Reads.Consistency = level
		})
		if err != nil {
			return err
		}
		s.injector.Stores = append(s.injector.Stores, s.stores[n])
	}
	for _, store := range s.stores {
		rs, err := store.Wait(ctx, nil, stage.Ready)
		if err != nil {
			return fmt.Errorf("store %s is not Ready: %w", store.Name, err)
		}
		s.tell.line("store %s is Ready: %s members, reads are %s", store.Name, rs.Status.Summary.Members, rs.Spec.Reads.Consistency)
	}
	s.watcher, err = reports.Watch(ctx, s.stage, ns, s.tell.leaderships)
	return err
}

// start starts the load on both stores.
func (s *soak) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	o := load.Options{
		Run: s.id, Seed: s.seed, History: historyPath(s.dir),
		Clients: 8, Slots: 3, Think: 20 * time.Millisecond, Rotate: 4 * time.Second, LeastOpen: 3, Pairs: 3, Timeout: time.Second,
	}
	if o.Registers, err = target(ctx, s.stores[registersStore]); err != nil {
		return err
	}
	if o.Followers, err = target(ctx, s.stores[ledgerStore]); err != nil {
		return err
	}
	if s.load, err = startLoad(ctx, s.stage.Cluster, self, o); err != nil {
		return err
	}
	s.ledger, err = s.stores[ledgerStore].Writer(ctx, []string{self, "ledger"}, ledger.Options{
		ID: s.id, Connections: 6, Rate: 200, Timeout: time.Second,
	})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.flows(waiting, time.Now())
}
