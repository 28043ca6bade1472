// Command node is the data node of a ReplicatedStore. With only --data, it runs a store of one member.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node"
	"github.com/replicatedstore/replicatedstore/node/lease"
)

var version = "dev" // set by the linker

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "quarantine" {
		return quarantine(args[1:], os.Stdout)
	}
	opt, leaseName, verbosity, err := parse(args)
	if err != nil {
		return err
	}
	opt.Version = version
	opt.Log = logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.Level(-verbosity)}))
	if leaseName != "" {
		if opt.LeaseClient, opt.LeaseName, err = lease.InCluster(leaseName); err != nil {
			return fmt.Errorf("--lease: %w", err)
		}
	}
	if err := quietMonitor(); err != nil {
		opt.Log.Info("keeping the Go runtime's default monitor", "error", err.Error())
	}
	n, err := node.Start(context.Background(), opt)
	if err != nil {
		return err
	}
	// Signals are handled only from here on. While the data directory is being opened, which may take long, a signal ends the process at
	// once; nothing is lost by that.
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(asked, func() {
		stop() // a second signal ends the process at once
		_ = n.Leave()
	})
	return n.Wait()
}

// parse parses the flags. Each one, except --version, may also be given as an environment variable: --max-clients is RSTORE_MAX_CLIENTS. A flag
// takes precedence over its variable.
func parse(args []string) (opt node.Options, leaseName string, verbosity int, err error) {
	f := flag.NewFlagSet("node", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: node --data DIR [flags]\n       node quarantine list|export --data DIR\n       node quarantine remove --data DIR --file NAME | --all")
		f.PrintDefaults()
	}
	f.StringVar(&opt.Data, "data", "", "data `directory`, created if missing (required)")
	f.StringVar(&opt.Listen, "listen", node.DefaultListen, "`address` of the client port (Redis protocol)")
	f.StringVar(&opt.LeaderListen, "leader-listen", "", "`address` of a second client port, whose clients the leader always serves: this member forwards to it if another one leads")
	f.StringVar(&opt.PeerListen, "peer-listen", "", "`address` of the port that followers connect to")
	f.StringVar(&opt.ControlListen, "control-listen", "", "`address` of the control port: orders, probes, metrics")
	f.StringVar(&opt.MetricsListen, "metrics-listen", "", "`address` of a port that serves only metrics")
	f.BoolVar(&opt.Managed, "managed", false, "wait for orders on the control port instead of leading alone")
	f.StringVar(&opt.Store, "store", "", "`name` of the store (managed)")
	f.StringVar(&opt.StoreUID, "store-uid", "", "`uid` of the store's object; orders and followers of a store with another UID are refused")
	f.StringVar(&opt.Member, "member", "", "`name` of this member (managed)")
	f.StringVar(&leaseName, "lease", "", "`namespace/name` of the Lease to hold while leading")
	f.StringVar((*string)(&opt.Consistency), "consistency", string(node.ConsistencySession), "consistency of every read: Eventual, Session, LeaderWindow or Linearizable")
	f.Int64Var(&opt.MaxValueBytes, "max-value-bytes", node.DefaultMaxValueBytes, "maximum length of a value, in `bytes`")
	f.IntVar(&opt.MaxClients, "max-clients", node.DefaultMaxClients, "maximum number of client connections")
	f.StringVar(&opt.PasswordFile, "password-file", "", "`file` with the passwords that clients may use, one per line; it is reloaded when it changes. Without it, no password is needed")
	f.Int64Var(&opt.LogRetain, "log-retain-bytes", node.DefaultLogRetain, "log to keep for followers that come back, in `bytes`")
	f.Int64Var(&opt.SeedRate, "seed-rate-bytes", 0, "maximum rate at which this member seeds others, in `bytes` per second; 0: no limit")
	f.Int64Var(&opt.Memory, "memory", node.DefaultMemory, "memory for caches and write buffers, in `bytes`")
	f.DurationVar(&opt.WriteTimeout, "write-timeout", node.DefaultWriteTimeout, "how long a write waits for its voters")
	f.DurationVar(&opt.StopGrace, "stop-grace", 0, "how long stopping may take (managed): a leader waits up to a third of it for another member to take over, and clients are served for a tenth of it while they are routed elsewhere; 0: stop at once")
	f.BoolVar(&opt.EnableDebug, "enable-debug-command", false, "allow the DEBUG command, which public test suites use")
	f.IntVar(&verbosity, "v", 0, "log verbosity")
	showVersion := f.Bool("version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		return opt, "", 0, err
	}
	if f.NArg() > 0 {
		return opt, "", 0, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *showVersion {
		fmt.Println(version)
		return opt, "", 0, flag.ErrHelp
	}
	if err := fromEnvironment(f); err != nil {
		return opt, "", 0, err
	}
	fit(&opt, f)
	return opt, leaseName, verbosity, notZero(f, "max-value-bytes", "max-clients", "log-retain-bytes", "memory", "write-timeout")
}

// notZero refuses zeros for the named flags, because node.Options takes a zero as "not set".
func notZero(f *flag.FlagSet, names ...string) error {
	for _, name := range names {
		if v := f.Lookup(name).Value.String(); v == "0" || v == "0s" {
			return fmt.Errorf("--%s: 0 is not allowed (left out, it is %s)", name, f.Lookup(name).DefValue)
		}
	}
	return nil
}

// fromEnvironment sets the flags that were not given from the environment.
func fromEnvironment(f *flag.FlagSet) (err error) {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	f.VisitAll(func(fl *flag.Flag) {
		name := "RSTORE_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok && !given[fl.Name] && fl.Name != "version" && err == nil {
			if setErr := f.Set(fl.Name, v); setErr != nil {
				err = fmt.Errorf("%s=%q: %w", name, v, setErr)
			}
		}
	})
	return err
}
