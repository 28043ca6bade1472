//go:build !linux

package wal

import "github.com/cockroachdb/pebble/v2/vfs"

// uncache has no way to do it here: what is in the page cache is verified there.
func uncache(vfs.File) {}

// setDirect has no way to do it here.
func setDirect(vfs.File, bool) bool { return false }
