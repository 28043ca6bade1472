package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Options configure a fleet.
type Options struct {
	// Binary is the node program; default bin/node.
	Binary string
	// Store names the store and, with a number from 1 on, its members; default "local".
	Store string
	// Members is the number of members, including the leader; default 3.
	Members int
	// Sync is how many followers must hold a write before it is acknowledged; 0 is asynchronous.
	Sync int
	// Dir holds a data directory and a log file for every member. If empty, Start creates a temporary one, which Stop removes.
	Dir string
	// Port is the first client port; peer ports follow at +100 and control ports at +200. 0 means any free ports.
	Port int
	// Flags are appended to every member's command line.
	Flags []string
	// WriteTimeout is the leader's write timeout; default 10 s.
	WriteTimeout time.Duration
}

func (o *Options) complete() error {
	o.Binary = cmp.Or(o.Binary, filepath.Join("bin", "node"))
	o.Store = cmp.Or(o.Store, "local")
	o.Members = cmp.Or(o.Members, 3)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	switch {
	case o.Members < 1 || o.Members > 9:
		return fmt.Errorf("a fleet has 1 to 9 members, not %d", o.Members)
	case o.Sync < 0 || o.Sync >= o.Members:
		return fmt.Errorf("%d synchronous followers of %d members: 0 to %d are possible", o.Sync, o.Members, o.Members-1)
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return fmt.Errorf("find the node program (make build): %w", err)
	}
	return nil
}

// Member is one member of a fleet. Its addresses are host:port and survive restarts.
type Member struct {
	Name, Client, Peer, Control string
	Dir, Log                    string

	argv []string
	proc *process.Process // guarded by Fleet.mu; nil before the first start
}

// Fleet is a running store. Its methods are safe for concurrent use.
type Fleet struct {
	opt       Options
	temporary bool // Stop removes the directory
	members   []*Member

	lead   sync.Mutex // serializes changes of leader, followers and voters; taken before mu
	mu     sync.Mutex
	record record
}

// record is what the operator would keep on the Lease.
type record struct {
	epoch   replication.Epoch
	leader  int // index; -1: none
	version uint64
	rules   []replication.Rule
	binding []replication.Leadership // leaderships that the newest has not taken over for certain
}

// Start starts every member and appoints a leader. It returns once the leader acknowledges writes and every follower is a voter.
// If ctx ends before that, it stops everything and fails.
func Start(ctx context.Context, opt Options) (*Fleet, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	f := &Fleet{opt: opt, record: record{leader: -1}}
	if err := f.prepare(); err != nil {
		return nil, err
	}
	for i := range f.members {
		if err := f.Restart(i); err != nil {
			f.Stop()
			return nil, err
		}
	}
	err := f.awaitAnswers(ctx)
	if err == nil {
		err = f.Promote(ctx)
	}
	if err == nil {
		err = f.AwaitVoters(ctx, opt.Members-1)
	}
	if err != nil {
		err = fmt.Errorf("%w%s", err, f.logTails())
		f.Stop()
		return nil, err
	}
	return f, nil
}

// prepare chooses directories and ports.
func (f *Fleet) prepare() error {
	dir := f.opt.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "rstore-"); err != nil {
			return fmt.Errorf("make a directory for the members: %w", err)
		}
		f.temporary, f.opt.Dir = true, dir
	}
	free, release, err := addresses(f.opt.Port, f.opt.Members)
	if err != nil {
		return errors.Join(err, f.cleanUp())
	}
	defer release()
	for i := range f.opt.Members {
		name := f.opt.Store + "-" + strconv.Itoa(i+1)
		m := &Member{
			Name: name, Client: free[0][i], Peer: free[1][i], Control: free[2][i],
			Dir: filepath.Join(dir, name), Log: filepath.Join(dir, name+".log"),
		}
		m.argv = append([]string{
			f.opt.Binary, "--managed", "--store", f.opt.Store, "--member", name, "--data", m.Dir,
			"--listen", m.Client, "--peer-listen", m.Peer, "--control-listen", m.Control,
		}, f.opt.Flags...)
		f.members = append(f.members, m)
	}
	return nil
}

// addresses reserves client, peer and control addresses for n members until release is called.
func addresses(first, n int) (out [3][]string, release func(), err error) {
	var open []net.Listener
	release = func() {
		for _, l := range open {
			l.Close()
		}
	}
	for kind := range out {
		for i := range n {
			port := 0
			if first > 0 {
				port = first + 100*kind + i
			}
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				release()
				return out, nil, fmt.Errorf("reserve port %d (another first port helps): %w", port, err)
			}
			open = append(open, l)
			out[kind] = append(out[kind], l.Addr().String())
		}
	}
	return out, release, nil
}

// Members returns the members of the fleet, by index from 0. The slice never changes.
func (f *Fleet) Members() []*Member { return f.members }

// Dir returns the directory with the members' data and logs.
func (f *Fleet) Dir() string { return f.opt.Dir }

// Leader returns the index of the member that was promoted last, or -1 if there is none yet.
func (f *Fleet) Leader() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record.leader
}

// Epoch returns the epoch of the newest leadership.
func (f *Fleet) Epoch() replication.Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record.epoch
}

// Alive reports whether member i's process runs.
func (f *Fleet) Alive(i int) bool {
	p := f.process(i)
	return p != nil && p.Alive()
}

// Pid returns the process id of member i's newest process.
func (f *Fleet) Pid(i int) int {
	if p := f.process(i); p != nil {
		return p.Pid()
	}
	return 0
}

func (f *Fleet) process(i int) *process.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[i].proc
}

// Kill kills member i's process, like a crash.
func (f *Fleet) Kill(i int) {
	if p := f.process(i); p != nil {
		p.Kill()
	}
}

// Restart starts member i's process if it is not running. Its data and addresses stay the same.
func (f *Fleet) Restart(i int) error {
	if f.Alive(i) {
		return nil
	}
	p, err := process.Start(f.members[i].argv, f.members[i].Log)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[i].proc = p
	return nil
}

// stopGrace is how long a member may take to exit when asked.
const stopGrace = 5 * time.Second

// Stop stops every member and removes a temporary directory.
func (f *Fleet) Stop() error {
	var wg sync.WaitGroup
	for i := range f.members {
		if p := f.process(i); p != nil {
			wg.Go(func() { p.Stop(stopGrace) })
		}
	}
	wg.Wait()
	return f.cleanUp()
}

func (f *Fleet) cleanUp() error {
	if !f.temporary {
		return nil
	}
	return os.RemoveAll(f.opt.Dir)
}
