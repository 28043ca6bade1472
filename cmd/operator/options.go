package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// options holds the operator's flags.
type options struct {
	metricsAddress string
	probeAddress   string
	nodeImage      string
	namespaces     string
	concurrency    int
	leaderElect    bool
	leaderElectNS  string
	showVersion    bool

	settings decide.Settings
	log      zap.Options

	askAgain time.Duration // interval of asking about namespaces that are not served; not a flag
}

func parse(name string, args []string) (options, error) {
	o := options{settings: decide.DefaultSettings(), askAgain: time.Minute}
	o.log.TimeEncoder = zapcore.RFC3339NanoTimeEncoder // a failover takes less than a second
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address that serves /metrics; 0 serves none")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 serves none")
	f.StringVar(&o.nodeImage, "node-image", "", "image of the data node, for stores whose spec.image is empty")
	f.StringVar(&o.namespaces, "watch-namespaces", "", "comma-separated namespaces to serve; empty serves all")
	f.IntVar(&o.concurrency, "max-concurrent-reconciles", 64, "maximum number of stores that are reconciled at once")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let one operator act at a time while the others stand by")
	f.StringVar(&o.leaderElectNS, "leader-election-namespace", "", "namespace of the operators' own Lease; empty means the pod's namespace")
	f.BoolVar(&o.showVersion, "version", false, "print the version and exit")

	f.DurationVar(&o.settings.SuspectAfter, "suspect-after", o.settings.SuspectAfter, "how long a leader must be unreachable here and silent for its voters before it is replaced")
	f.DurationVar(&o.settings.VoterGoneAfter, "voter-gone-after", o.settings.VoterGoneAfter, "how long a voter must be gone before it is removed from the voters")
	f.DurationVar(&o.settings.LowerAfter, "lower-after", o.settings.LowerAfter, "how long voters must be missing before durability Preferred waits for fewer")
	f.DurationVar(&o.settings.StandInAfter, "stand-in-after", o.settings.StandInAfter, "how long a standby operator waits for the acting one to take a due failover step")
	f.DurationVar(&o.settings.Hold, "handover-hold", o.settings.Hold, "how long a planned handover may hold writes, at most 10s")
	f.DurationVar(&o.settings.Resync, "resync", o.settings.Resync, "how often to reconcile a store when nothing changes")
	o.log.BindFlags(f)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected arguments %q", rest)
	case o.showVersion:
		return nil
	case o.nodeImage == "":
		return fmt.Errorf("--node-image is required")
	case o.concurrency < 1:
		return fmt.Errorf("--max-concurrent-reconciles is %d but must be at least 1", o.concurrency)
	case o.settings.Hold <= 0 || o.settings.Hold > 10*time.Second:
		return fmt.Errorf("--handover-hold is %s but must be above 0 and at most 10s", o.settings.Hold)
	case min(o.settings.SuspectAfter, o.settings.VoterGoneAfter, o.settings.LowerAfter, o.settings.StandInAfter, o.settings.Resync) <= 0:
		return fmt.Errorf("--suspect-after, --voter-gone-after, --lower-after, --stand-in-after and --resync must be above 0")
	case o.settings.Resync > maxResync:
		return fmt.Errorf("--resync is %s but must be at most %s: a store not reconciled for two minutes counts as unseen by the operator (docs/metrics.md)",
			o.settings.Resync, maxResync)
	default:
		return nil
	}
}

// maxResync is half of the threshold of the alert "a store is not seen" (docs/metrics.md).
const maxResync = time.Minute

// served returns the namespaces to serve, or nil for all.
func (o options) served() []string {
	var out []string
	for n := range strings.SplitSeq(o.namespaces, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}
