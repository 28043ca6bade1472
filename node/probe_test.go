package node

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"
)

// probeFS fails the next sync of the disk probe with what next holds.
type probeFS struct {
	vfs.FS
	next atomic.Pointer[error]
}

func (f *probeFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if err != nil || filepath.Base(name) != "probe" {
		return file, err
	}
	return probeFile{file, f}, nil
}

type probeFile struct {
	vfs.File
	fs *probeFS
}

func (f probeFile) Sync() error {
	if err := f.fs.next.Swap(nil); err != nil {
		return *err
	}
	return f.File.Sync()
}

// A failed fsync of the disk probe ends the process: it never passes again, and a leader that lives on could not hold its Lease, on
// a disk that may work again. One that finds no room is tried again.
func TestAFailedProbeEndsTheNode(t *testing.T) {
	for _, c := range []struct {
		err  error
		ends bool
	}{{syscall.EIO, true}, {syscall.ENOSPC, false}} {
		fs := &probeFS{FS: vfs.NewMem()}
		fs.next.Store(&c.err)
		n, err := Start(t.Context(), Options{FS: fs, Data: "d", Listen: "127.0.0.1:0", Memory: 32 << 20, Log: logr.Discard()})
		if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(20 * time.Second)
		for fs.next.Load() != nil { // it is probed from the start
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
			case <-time.After(20 * time.Second):
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
