package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

// meters measure a system's resource usage.
type meters struct {
	pids []int // of all members
	disk disk
	// syncs counts the fdatasyncs of the leader's log; nil means that the system does not report them.
	syncs func(context.Context) (float64, error)
}

// reading holds the values of all meters at one moment.
type reading struct {
	processor time.Duration
	written   int64
	syncs     float64
}

func (m meters) read(ctx context.Context) (r reading, err error) {
	used, err := sum(m.pids, processorTime)
	if err != nil {
		return r, err
	}
	r.processor = time.Duration(used)
	if r.written, err = m.disk.written(); err != nil || m.syncs == nil {
		return r, err
	}
	r.syncs, err = m.syncs(ctx)
	return r, err
}

// useOf returns what one operation of r used, according to the meters of members processes before and after the run.
func useOf(members int, sh load.Shape, r load.Result, before, after reading) limits.Use {
	n := float64(r.Requests)
	u := limits.Use{
		Members:   members,
		Processor: (after.processor - before.processor).Seconds() / n,
		Generator: r.Processor.Seconds() / n,
		Moved:     float64(keyBytes + sh.Value),
	}
	if sh.Command == "get" {
		return u // nothing goes to followers, and what is written meanwhile belongs to earlier writes
	}
	u.Moved *= float64(members)
	u.DiskBytes = float64(after.written-before.written) / n
	switch syncs := after.syncs - before.syncs; {
	case syncs > 0:
		u.Batch = n / syncs
	case after.syncs == 0:
		u.Batch, u.AtMost = float64(sh.Connections*sh.Pipeline), true
	}
	return u
}

const (
	quietFor   = 250 * time.Millisecond
	quietBytes = 4 << 20
	quietBound = 4 * time.Second
)

// settle waits until hardly anything is written to the disk any more, for a few seconds at most. Then the flushes, compactions and
// new segments that earlier writes caused are over.
func (d disk) settle(ctx context.Context) error {
	before, err := d.written()
	for end := time.Now().Add(quietBound); err == nil && time.Now().Before(end); {
		time.Sleep(quietFor)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		last := before
		if before, err = d.written(); before-last < quietBytes {
			break
		}
	}
	return err
}

// fleetMeters returns the meters of a store.
func fleetMeters(f *fleet.Fleet, d disk) meters {
	lead, others := pids(f)
	return storeMeters(append([]int{lead}, others...), f.Members()[f.Leader()].Control, d)
}

// storeMeters returns the meters of members running as these processes. control is the leader's control port.
func storeMeters(pids []int, control string, d disk) meters {
	return meters{
		pids: pids,
		disk: d,
		syncs: func(ctx context.Context) (float64, error) {
			return metric(ctx, control, "rstore_log_sync_seconds_count")
		},
	}
}

// metric reads one unlabelled metric of a member.
func metric(ctx context.Context, control, name string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+control+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("the metrics at %s have no %s", control, name)
}
