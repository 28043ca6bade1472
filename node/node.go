package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/replicatedstore/replicatedstore/node/admin"
	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Node is one running data node.
type Node struct {
	opt Options
	run *role.Runner
	// passwords of clients; nil if there are none.
	passwords *passwords
	clients   *resp.Server
	serving   atomic.Pointer[resp.Server] // clients, for the role goroutine, which starts earlier
	// writeTimeout is the write timeout that a leader last told, as a time.Duration; 0 if none has.
	writeTimeout atomic.Int64
	probe        *lease.DiskProbe
	followed     atomic.Pointer[time.Time] // when Ready last saw the leader heard, and reads not behind what the previous process has shown
	ports        [5]net.Listener           // client, peer, control, leader, metrics; nil if closed
	cancel       context.CancelFunc
	running      sync.WaitGroup

	once   sync.Once
	ended  chan struct{}
	result error // valid once ended is closed
}

const (
	portClient = iota
	portPeer
	portControl
	portLeader
	portMetrics
)

// Start opens the data directory and the ports. The node runs until ctx ends or it fails for good; Wait tells which.
func Start(ctx context.Context, opt Options) (_ *Node, err error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	n := &Node{opt: opt, ended: make(chan struct{})}
	if n.passwords, err = openPasswords(opt.PasswordFile); err != nil {
		return nil, err
	}
	ctx, n.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			n.cancel()
			n.closePorts()
		}
	}()
	if err := n.listen(ctx); err != nil {
		return nil, err
	}
	if n.run, err = n.startRunner(ctx); err != nil {
		return nil, err
	}
	if err := n.serve(ctx); err != nil {
		n.cancel()
		<-n.run.Done()
		return nil, err
	}
	if !opt.Managed {
		if err := n.leadAlone(ctx); err != nil {
			n.cancel()
			return nil, errors.Join(err, n.Wait())
		}
	}
	return n, nil
}

func (n *Node) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for i, address := range []string{n.opt.Listen, n.opt.PeerListen, n.opt.ControlListen, n.opt.LeaderListen, n.opt.MetricsListen} {
		if address == "" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("open the %s port: %w", [...]string{"client", "peer", "control", "leader", "metrics"}[i], err)
		}
		n.ports[i] = l
	}
	return nil
}

func (n *Node) closePorts() {
	for _, l := range n.ports {
		if l != nil {
			_ = l.Close()
		}
	}
}

// Shares of Memory that are used in addition to it. Memory itself is for caches and write buffers; these are for long
// requests in progress and for the newest records of the log. Measured with a Go memory limit of 230 MiB and Memory a
// third of 256 MiB: 200 connections that write 256 KiB each take at most 217 MiB of anonymous memory, and 280 MiB without
// these bounds.
const (
	largeShare = 8
	tailShare  = 4
	mostTail   = 32 << 20 // bytes
)

func (n *Node) startRunner(ctx context.Context) (*role.Runner, error) {
	o := role.Options{
		FS: n.opt.FS, Dir: n.opt.Data, Store: n.opt.Store, StoreUID: n.opt.StoreUID, Member: n.opt.Member, Version: n.opt.Version, Log: n.opt.Log,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		Peer: peerAddress(n.ports[portPeer]), Client: portOf(n.ports[portClient].Addr()), SeedRate: n.opt.SeedRate,
		Memory: n.opt.Memory, LogRetain: n.opt.LogRetain, Segments: wal.Options{TailBytes: min(mostTail, n.opt.Memory/tailShare)},
		Wall: func() int64 { return wallClock().UnixMilli() },
		WriteTimeout: func(d time.Duration) {
			n.writeTimeout.Store(int64(d)) // before looking at serving: whoever sets that looks at writeTimeout afterwards
			if c := n.serving.Load(); c != nil {
				c.SetCommitTimeout(d)
			}
		},
		CutClients: func(reason string) {
			if c := n.serving.Load(); c != nil {
				c.Deposed(reason)
			}
		},
		LostHistory: func(reason string) {
			if c := n.serving.Load(); c != nil {
				c.Cut(reason)
			}
		},
		LeaderMoved: func(address string) {
			if c := n.serving.Load(); c != nil {
				c.LeaderMoved(address)
			}
		},
	}
	if n.opt.LeaseClient != nil {
		o.Lease = newLeaseKeeper(n)
	}
	return role.Start(ctx, o)
}

// peerAddress returns the address of the peer port as others reach it. If the port listens on all interfaces, the host is
// empty, and each connection's own host is used instead.
func peerAddress(l net.Listener) string {
	if l == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if ip := net.ParseIP(host); err == nil && (ip == nil || ip.IsUnspecified()) {
		host = ""
	}
	return net.JoinHostPort(host, port)
}

// serve starts everything that answers on a port.
func (n *Node) serve(ctx context.Context) (err error) {
	if n.probe, err = lease.OpenDiskProbe(n.run.Vital(), n.opt.Data, n.run.Fail); err != nil {
		return err
	}
	b := &backend{run: n.run, consistency: n.opt.Consistency, clientPort: portOf(n.ports[portClient].Addr())}
	n.clients, err = resp.New(b, resp.Options{
		Now: wallClock, Log: n.opt.Log, Limits: resp.Limits{MaxBulk: int(n.opt.MaxValueBytes)},
		MaxClients: n.opt.MaxClients, CommitTimeout: n.opt.WriteTimeout, ReadTimeout: gateWait, EnableDebug: n.opt.EnableDebug,
		Dial: n.dialLeader, Store: n.opt.Store + "/" + n.opt.StoreUID, Park: n.opt.park, LastMoment: n.opt.lastMoment, Passwords: n.passwords.forClients(), Owned: n.owned(), Version: n.opt.Version,
		MaxLarge: int(n.opt.Memory / largeShare), MaxLong: n.opt.longReplies(), MaxOutput: n.opt.maxOutput(),
	})
	if err != nil {
		return err
	}
	n.serving.Store(n.clients)
	if d := n.writeTimeout.Load(); d > 0 { // a leader has already told it
		n.clients.SetCommitTimeout(time.Duration(d))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		n.clients.Collector(), memberCollector{n.run})
	n.running.Go(func() { n.serveClients(n.clients.Serve, n.ports[portClient]) })
	if l := n.ports[portLeader]; l != nil {
		n.running.Go(func() { n.serveClients(n.clients.ServeByLeader, l) })
	}
	if n.passwords != nil {
		n.running.Go(func() { n.passwords.watch(ctx, n.opt.Log) })
	}
	n.running.Go(func() { b.expire(ctx) })
	control := admin.New(n, admin.Options{Registry: registry, StoreUID: n.opt.StoreUID, Member: n.opt.Member, Log: n.opt.Log})
	if l := n.ports[portControl]; l != nil {
		n.running.Go(func() { n.end(control.Serve(ctx, l)) })
	}
	if l := n.ports[portMetrics]; l != nil {
		n.running.Go(func() { n.end(control.ServeMetrics(ctx, l)) })
	}
	if l := n.ports[portPeer]; l != nil {
		n.running.Go(func() { n.servePeers(ctx, l) })
	}
	n.running.Go(func() { n.watch(ctx) })
	go n.watchDisk(ctx) // not waited for, because a hanging disk holds it up
	return nil
}

// owned returns the parameters that CONFIG SET must not change on a managed member, because the store's spec sets them,
// each with the reason.
func (n *Node) owned() map[string]string {
	if !n.opt.Managed {
		return nil
	}
	return map[string]string{
		"maxclients":        "it is set by the store's spec.node.maxClients",
		"commit-timeout-ms": "it is set by the store's spec.replication.writeTimeoutSeconds",
	}
}

// serveClients serves a port until clients are let go, or ends the node if the port fails.
func (n *Node) serveClients(serve func(net.Listener) error, l net.Listener) {
	if err := serve(l); !errors.Is(err, resp.ErrStopped) {
		n.end(err)
	}
}

// probeEvery is how often a member checks that its disk works, even if nobody writes.
const probeEvery = 10 * time.Second

// watchDisk writes to the disk now and then, so that a hanging disk is noticed even on a member that has nothing to
// write.
func (n *Node) watchDisk(ctx context.Context) {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		n.run.ProbeBegan()
		if err := n.probe.Check(ctx); err != nil && ctx.Err() == nil {
			n.opt.Log.Error(err, "the disk probe failed")
		}
		n.run.ProbeEnded()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// leaderDial bounds how long it may take to dial the leader to which clients' commands are forwarded.
const leaderDial = time.Second

func (n *Node) dialLeader(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: leaderDial}
	return d.DialContext(ctx, "tcp", address)
}

// servePeers accepts followers.
func (n *Node) servePeers(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			n.opt.Log.Error(err, "could not accept a follower's connection; retrying")
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		conns.Go(func() {
			if err := peer.Serve(ctx, conn, n.run); err != nil && ctx.Err() == nil {
				n.opt.Log.Info("a follower's connection ended", "remote", conn.RemoteAddr().String(), "error", err.Error())
			}
		})
	}
}

// watch ends the node when its role goroutine fails or ctx ends.
func (n *Node) watch(ctx context.Context) {
	select {
	case err := <-n.run.Failed():
		n.end(err)
	case <-ctx.Done():
		n.end(nil)
	}
}

// end stops the node. The error of the first call is the node's result.
func (n *Node) end(err error) {
	n.once.Do(func() {
		n.result = err
		n.cancel()
		go n.shutdown()
	})
}

// lastReplies bounds how long connections may take to send replies to what was acknowledged.
const lastReplies = 5 * time.Second

func (n *Node) shutdown() {
	defer close(n.ended)
	ctx, cancel := context.WithTimeout(context.Background(), lastReplies)
	defer cancel()
	if err := n.clients.Shutdown(ctx); err != nil {
		n.opt.Log.Info("clients were cut off", "error", err.Error())
	}
	n.closePorts()
	<-n.run.Done()
	_ = n.probe.Close(ctx)
	n.running.Wait()
}

// Wait returns once the node has stopped. The error is nil after Stop or the end of Start's context, and otherwise what
// ended the node.
func (n *Node) Wait() error {
	<-n.ended
	return n.result
}

// Stop shuts the node down in an orderly way and waits for it.
func (n *Node) Stop() error {
	n.end(nil)
	return n.Wait()
}

// Addr, PeerAddr, ControlAddr and MetricsAddr return the addresses of the open ports; nil if closed.
func (n *Node) Addr() net.Addr        { return addr(n.ports[portClient]) }
func (n *Node) PeerAddr() net.Addr    { return addr(n.ports[portPeer]) }
func (n *Node) ControlAddr() net.Addr { return addr(n.ports[portControl]) }
func (n *Node) MetricsAddr() net.Addr { return addr(n.ports[portMetrics]) }

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// leadAlone makes a node that nobody manages the leader of a new epoch. A restart needs a new epoch, because the last
// writes of the previous process may be lost.
func (n *Node) leadAlone(ctx context.Context) error {
	s, err := n.run.Status(ctx)
	if err != nil {
		return err
	}
	f, err := n.run.Fence(ctx, wire.FenceRequest{Epoch: s.Promised + 1})
	if err != nil {
		return fmt.Errorf("begin epoch %d: %w", s.Promised+1, err)
	}
	return n.run.Promote(ctx, wire.PromoteRequest{
		Epoch: f.Promised, ConfigVersion: 1, Rules: []replication.Rule{{K: 0}}, Start: f.Last,
	})
}
