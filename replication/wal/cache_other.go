//go:build !linux

package wal

import "github.com/cockroachdb/pebble/v2/vfs"

// uncache does nothing on this platform: Scrub verifies what is in the page cache.
func uncache(vfs.File) {}

// setDirect is not supported on this platform.
func setDirect(vfs.File, bool) bool { return false }
