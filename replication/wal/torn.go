package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

const (
	tornPrefix = "torn-"
	tornSuffix = ".bin"
	// tornKept bounds the number of copies of torn tails, so that a member in a crash loop does not fill its volume with
	// them.
	tornKept = 8
)

// keepTorn copies the bytes [from, to) of the segment at path, which are about to be cut from a log that ends in last. The
// copy is for a person to look at; nothing reads it. A full volume does not stop recovery: the bytes were never synced, so
// nobody was promised them.
func (r *recovery) keepTorn(path string, from, to int64, last replication.Mark) error {
	data, err := readRange(r.fs, path, from, to)
	if err != nil {
		return err
	}
	data = bytes.TrimRight(data, "\x00")
	if len(data) == 0 {
		return nil
	}
	r.opt.Logf("log recovery cuts %d torn bytes at %d of %s; the log ends in %v", len(data), from, path, last)
	kept, err := r.writeTorn(fmt.Sprintf("%s%020d", tornPrefix, last.Position+1), data)
	switch {
	case err == nil:
		r.report.TornCopy = kept
		return nil
	case durable.IsNoSpace(err):
		r.report.TornCopyErr = errors.Join(r.report.TornCopyErr, err)
		return nil
	default:
		return fmt.Errorf("keep a copy of the torn tail: %w", err)
	}
}

// keepSegment does the same for a whole segment that is about to be removed.
func (r *recovery) keepSegment(f found, last replication.Mark) error {
	to := f.size
	if f.bad == nil {
		rest, err := readRange(r.fs, f.path, f.header.length, f.size)
		if err != nil {
			return err
		}
		to = f.header.length + int64(f.header.unsynced(rest, f.header.length, f.header.base))
	}
	return r.keepTorn(f.path, 0, to, last)
}

// writeTorn writes data under the first unused name in the quarantine directory.
func (r *recovery) writeTorn(stem string, data []byte) (string, error) {
	if err := durable.MkdirAll(r.fs, r.opt.QuarantineDir); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s-%d%s", stem, n, tornSuffix)
		path := r.fs.PathJoin(r.opt.QuarantineDir, name)
		if _, err := r.fs.Stat(path); durable.IsNotExist(err) {
			return path, durable.WriteFile(r.fs, r.opt.QuarantineDir, name, data)
		} else if err != nil {
			return "", err
		}
	}
}

// pruneTornCopies removes the oldest copies of torn tails beyond tornKept. A failure to do so does not prevent the start.
func (r *recovery) pruneTornCopies() {
	names, err := r.fs.List(r.opt.QuarantineDir)
	if err != nil {
		return
	}
	type aged struct {
		path string
		info vfs.FileInfo
	}
	var copies []aged
	for _, name := range names {
		path := r.fs.PathJoin(r.opt.QuarantineDir, name)
		if !strings.HasPrefix(name, tornPrefix) || !strings.HasSuffix(name, tornSuffix) {
			continue
		}
		if info, err := r.fs.Stat(path); err == nil {
			copies = append(copies, aged{path, info})
		}
	}
	slices.SortFunc(copies, func(a, b aged) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	for _, c := range copies[min(len(copies), tornKept):] {
		if err := durable.Remove(r.fs, c.path); err != nil {
			r.opt.Logf("log recovery keeps an old copy of a torn tail: %v", err)
		}
	}
}
