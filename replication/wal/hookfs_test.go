package wal

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// hookFS calls before ahead of every operation that changes the file system.
type hookFS struct {
	mu     sync.Mutex
	before func()
}

func (h *hookFS) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.before()
		}
		return nil
	}))
}
