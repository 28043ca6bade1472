package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
	"github.com/replicatedstore/replicatedstore/test/apiserver/server"
)

// operator is the operator's process.
type operator struct {
	process *process.Process
	metrics string // its URL
}

// startOperator runs the operator with its own account's permissions.
func (b *bench) startOperator(ctx context.Context, config *rest.Config) error {
	if err := server.Grant(ctx, b.client, b.o.root); err != nil {
		return fmt.Errorf("grant the operator its permissions: %w", err)
	}
	user, err := b.env.AddUser(envtest.User{Name: server.Account}, config)
	if err != nil {
		return fmt.Errorf("make the operator's user: %w", err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(b.dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return err
	}
	address, err := process.FreeAddress()
	if err != nil {
		return err
	}
	argv := append([]string{
		"env", "KUBECONFIG=" + kubeconfig, b.o.operator, "--node-image=example/node:v1", "--leader-election-namespace=" + operatorIn,
		"--metrics-bind-address=" + address, "--health-probe-bind-address=0",
	}, b.o.flags...)
	p, err := process.Start(argv, filepath.Join(b.dir, "operator.log"))
	if err != nil {
		return err
	}
	b.operator = &operator{process: p, metrics: "http://" + address + "/metrics"}
	return nil
}

// alive returns an error once the operator has exited.
func (b *bench) alive() error {
	if p := b.operator.process; !p.Alive() {
		return fmt.Errorf("the operator ended: %v; see %s", p.Err(), filepath.Join(b.o.dir, "operator.log"))
	}
	return nil
}

// usage is what the operator's process has used so far, and what it holds now.
type usage struct {
	at         time.Time
	cpu        time.Duration
	resident   int64 // bytes
	heap       float64
	goroutines float64
	passes     histogram
}

// usage returns the operator's current usage.
func (o *operator) usage(ctx context.Context) (u usage, err error) {
	p, err := procfs.NewProc(o.process.Pid())
	if err != nil {
		return u, err
	}
	stat, err := p.Stat()
	if err != nil {
		return u, err
	}
	status, err := p.NewStatus()
	if err != nil {
		return u, err
	}
	u.cpu = time.Duration(stat.CPUTime() * float64(time.Second)) // in units of hundredths of a second
	u.resident, u.at = int64(status.VmRSS), time.Now()
	return u, o.scrape(ctx, &u)
}

// scrape reads the operator's own metrics.
func (o *operator) scrape(ctx context.Context, u *usage) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metrics, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("read the operator's metrics: %w", err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		switch v, _ := strconv.ParseFloat(text, 64); {
		case name == "go_memstats_heap_inuse_bytes":
			u.heap = v
		case name == "go_goroutines":
			u.goroutines = v
		case strings.HasPrefix(name, "controller_runtime_reconcile_time_seconds"):
			if err := u.passes.read(name, v); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
