// Command pauses measures on a real cluster how long writes pause after each kind of fault. It uses a store with default settings
// and one writer through its Service, and repeats every fault a few times. See --help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

const (
	namespace  = "pauses"
	readyBound = 4 * time.Minute
	stepBound  = time.Minute
	leastWhole = 2 * time.Second // how long the store is Ready before the next fault
)

func main() {
	log.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pauses:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == "ledger" { // on the cluster's client machine
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
		return ledger.Serve(context.WithoutCancel(ctx), os.Stdin, os.Stdout, nil)
	}
	f := flag.NewFlagSet("pauses", flag.ContinueOnError)
	times := f.Int("times", 5, "how often each fault")
	file := f.String("json", "", "also write everything measured to this `file`")
	only := f.String("only", "", "comma-separated beginnings of the names of faults; empty: all")
	if err := f.Parse(args); err != nil {
		return err
	}
	b := &bench{}
	if err := b.open(ctx); err != nil {
		return err
	}
	r, err := b.run(ctx, *times, *only)
	if err == nil {
		err = b.judge(ctx)
	}
	if *file != "" && len(r.Faults) > 0 {
		err = errors.Join(err, r.Save(*file))
	}
	return errors.Join(err, table(os.Stdout, r.Faults))
}

// run injects the faults whose names begin with one of only, each a few times. After an error it also returns what it had
// measured.
func (b *bench) run(ctx context.Context, times int, only string) (r outcome.Report, err error) {
	for _, fault := range b.faults() {
		if only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(p string) bool { return strings.HasPrefix(fault.name, p) }) {
			continue
		}
		measured := outcome.Fault{Name: fault.name}
		for range times {
			one, err := b.measure(ctx, fault)
			if err != nil {
				return r, fmt.Errorf("%s: %w", fault.name, err)
			}
			fmt.Printf("%s: paused %v, %d failed, %d unknown, %d leaders; %s\n", fault.name, one.Pause.Round(time.Millisecond), one.Failed, one.Unknown, one.Leaders, one.Report)
			measured.Times = append(measured.Times, one)
		}
		r.Faults = append(r.Faults, measured)
	}
	return r, nil
}

// bench is the store under measurement with its writer.
type bench struct {
	stage  *stage.Stage
	store  *stage.Store
	writer *stage.Writer
}

func (b *bench) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute) // the first time, Kubernetes is built from source
	defer cancel()
	var err error
	if b.stage, err = stage.Open(ctx, stage.Options{Workers: 3, Log: os.Stderr}); err != nil {
		return err
	}
	if b.stage.Cluster == nil {
		return errors.New("the cluster of KUBECONFIG is not the project's own: its machines must not be broken")
	}
	image, digest, err := b.stage.Image(ctx)
	if err != nil {
		return err
	}
	if _, err := b.stage.Forget(ctx, namespace); err != nil {
		return err
	}
	if err := b.stage.Install(ctx, image, digest, "replicas=2"); err != nil {
		return err
	}
	manifest, err := os.ReadFile(filepath.Join(b.stage.Root, "config", "samples", "orders.yaml"))
	if err != nil {
		return fmt.Errorf("read the sample: %w", err)
	}
	ns, err := b.stage.Namespace(ctx, namespace)
	if err != nil {
		return err
	}
	if b.store, err = b.stage.Create(ctx, ns, manifest, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replicas = new(int32(3)) }); err != nil {
		return err
	}
	if _, err := b.store.Wait(ctx, nil, stage.Ready); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	b.writer, err = b.store.Writer(ctx, []string{self, "ledger"}, ledger.Options{ID: "p", Connections: 8, Rate: 400, Timeout: time.Second})
	return err
}

// measure injects one fault into a whole store.
func (b *bench) measure(ctx context.Context, f fault) (o outcome.Outcome, err error) {
	leader, node, epoch, err := b.suited(ctx, f)
	if err != nil {
		return o, err
	}
	began := time.Now()
	before, err := b.writer.Stats(began)
	if err != nil {
		return o, err
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepBound)
	defer cancel()
	mend, err := f.strike(step, leader, node)
	if err == nil {
		time.Sleep(f.lasts)
	}
	if mend != nil {
		err = errors.Join(err, mend(step))
	}
	after, statsErr := b.writer.Stats(began)
	rs, getErr := b.store.Get(step)
	if err = errors.Join(err, statsErr, getErr); err != nil {
		return o, err
	}
	o = outcome.Outcome{
		Pause: after.Gap.Length(), Failed: after.Failed - before.Failed, Unknown: after.Unknown - before.Unknown, Leaders: rs.Status.Epoch - epoch,
	}
	if last := rs.Status.LastFailover; last != nil && o.Leaders > 0 && last.Durations.Total != nil {
		d := last.Durations
		o.Report = fmt.Sprintf("%s, detected %v after the last write, then fencing %v, promoting %v, opening %v, total %v", last.Reason,
			last.DetectedTime.Sub(after.Gap.From).Round(time.Millisecond), lasted(d.Fencing), lasted(d.Promoting), lasted(d.Opening), lasted(d.Total))
	}
	if q := rs.Status.FailoverRequest; f.name == "handover" && q != nil && o.Leaders == 0 {
		o.Report = fmt.Sprintf("%s: %s", q.Result, q.Message)
	}
	return o, nil
}

// suited waits until the store is whole and its leader is where the fault may strike.
func (b *bench) suited(ctx context.Context, f fault) (leader, node string, epoch int64, err error) {
	for {
		if err := b.whole(ctx); err != nil {
			return "", "", 0, err
		}
		if leader, node, epoch, err = b.store.Leader(ctx); err != nil || f.not == nil {
			return leader, node, epoch, err
		}
		not, err := f.not(ctx)
		if err != nil || node != not {
			return leader, node, epoch, err
		}
		if err := b.handOver(ctx); err != nil {
			return "", "", 0, err
		}
		time.Sleep(leastWhole)
	}
}

// lasted formats how long a step of a failover took, if known.
func lasted(d *metav1.Duration) string {
	if d == nil {
		return "unknown"
	}
	return d.Round(time.Millisecond).String()
}

// whole waits until the store is Ready, has had the same epoch for a moment, and takes writes.
func (b *bench) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	for {
		first, err := b.store.Wait(ctx, nil, stage.Ready)
		if err != nil {
			return err
		}
		since := time.Now()
		time.Sleep(leastWhole)
		rs, err := b.store.Get(ctx)
		stats, statsErr := b.writer.Stats(since)
		if err := errors.Join(err, statsErr); err != nil {
			return err
		}
		operators, err := b.operatorsReady(ctx)
		if err != nil {
			return err
		}
		if operators && stage.Ready(rs) == nil && rs.Status.Epoch == first.Status.Epoch && stats.Gap.Length() < leastWhole/2 {
			return nil
		}
	}
}

// judge checks that all this lost nothing.
func (b *bench) judge(ctx context.Context) error {
	if err := b.whole(ctx); err != nil {
		return err
	}
	if err := b.writer.Stop(); err != nil {
		return err
	}
	members, err := b.store.Members(ctx)
	if err != nil {
		return err
	}
	report, err := b.writer.Verify(members, time.Minute)
	b.writer.Close()
	if err != nil {
		return err
	}
	fmt.Println(report)
	if !report.OK() {
		return errors.New("acknowledged writes were lost")
	}
	return nil
}
