package role

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// blockedFS is a file system in memory on which some operations block until goOn is closed. began gets a value when one does.
type blockedFS struct {
	vfs.FS
	began, goOn chan struct{}
}

// newBlockedFS blocks the operations of one kind on files whose paths contain part.
func newBlockedFS(kind errorfs.OpKind, part string) blockedFS {
	f := blockedFS{began: make(chan struct{}, 1), goOn: make(chan struct{})}
	f.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != kind || !strings.Contains(op.Path, part) {
			return nil
		}
		select {
		case f.began <- struct{}{}:
		default:
		}
		<-f.goOn
		return nil
	}))
	return f
}
