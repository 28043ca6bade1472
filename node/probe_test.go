package node

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/go-logr/logr"
)

// probeFS is a file system in memory that fails the next sync of the disk probe with the error in next, and every write to it while
// write is set.
type probeFS struct {
	vfs.FS
	next, write atomic.Pointer[error]
}

func newProbeFS() *probeFS {
	f := &probeFS{}
	f.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		var err *error
		switch {
		case filepath.Base(op.Path) != "probe":
		case op.Kind == errorfs.OpFileSync:
			err = f.next.Swap(nil)
		case op.Kind == errorfs.OpFileWriteAt:
			err = f.write.Load()
		}
		if err != nil {
			return *err
		}
		return nil
	}))
	return f
}

// A failed fsync of the disk probe ends the process: the probe never passes again, and a leader that lived on could not
// hold its Lease, even on a disk that works again. One that finds no room is retried.
func TestAFailedProbeEndsTheNode(t *testing.T) {
	for _, c := range []struct {
		err  error
		ends bool
	}{{syscall.EIO, true}, {syscall.ENOSPC, false}} {
		fs := newProbeFS()
		fs.next.Store(&c.err)
		n, err := Start(t.Context(), Options{FS: fs, Data: "d", Listen: "127.0.0.1:0", Memory: 32 << 20, Log: logr.Discard()})
		if c.ends && errors.Is(err, c.err) {
			continue // the probe failed before the node could lead
		} else if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(2 * time.Minute)
		for fs.next.Load() != nil { // the disk is probed from the start
			if time.Now().After(until) {
				t.Fatal("the disk is not probed")
			}
			time.Sleep(time.Millisecond)
		}
		ended := make(chan error, 1)
		go func() { ended <- n.Wait() }()
		if c.ends {
			select {
			case err := <-ended:
				if !errors.Is(err, c.err) {
					t.Errorf("ended by %v", err)
				}
			case <-time.After(2 * time.Minute):
				t.Error("it lives on")
			}
		} else if err := n.probe.Check(t.Context()); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if err := n.Stop(); err != nil && !c.ends {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// A file system that becomes read-only under a member that has nothing to write ends that member: it must not pass for a
// voter.
func TestAReadOnlyVolumeEndsAnIdleNode(t *testing.T) {
	fs, readOnly := newProbeFS(), error(syscall.EROFS)
	fs.write.Store(&readOnly)
	n, err := Start(t.Context(), Options{
		FS: fs, Data: "d", Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0", Memory: 32 << 20,
		Managed: true, Store: "s", Member: "m", Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Wait() }()
	select {
	case err := <-ended:
		if !errors.Is(err, readOnly) {
			t.Errorf("ended by %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("it lives on")
		_ = n.Stop()
	}
}
