package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// Open recovers the log in dir. What it returns is durable, and verified as the package comment says. Only a torn tail is
// cut, and a copy of it is kept. For any other defect Open returns ErrDamaged and leaves the damaged bytes as they are. No
// other process may have dir open: the caller holds the member's lock.
func Open(fs vfs.FS, dir string, o Options) (*Log, Recovery, error) {
	o = o.withDefaults(fs, dir)
	l := &Log{fs: fs, dir: dir, opt: o, pins: map[*pin]struct{}{}, tail: tail{limit: o.TailBytes}, spare: spare{fs: fs, dir: dir, wrote: o.Wrote, limit: reuseMost}}
	r := &recovery{Log: l}
	if err := r.run(); err != nil {
		for _, s := range l.segments {
			err = errors.Join(err, s.closeFiles())
		}
		return nil, Recovery{}, fmt.Errorf("open log %s: %w", dir, err)
	}
	rep := r.report
	rep.Last, rep.Epochs, rep.Segments = l.last, l.epochs, len(l.segments)
	return l, rep, nil
}

// recovery is the state of one run of Open.
type recovery struct {
	*Log
	report Recovery
	files  []found // by position
}

// found is a segment file as it was found in the directory.
type found struct {
	path   string
	base   replication.Position
	size   int64
	header segmentHeader
	bad    error // why the header is invalid
	// settled means that the header carries the note that everything before it is durable.
	settled bool
}

func (r *recovery) run() error {
	if err := r.list(); err != nil {
		return err
	}
	if err := r.dropKept(); err != nil {
		return err
	}
	if len(r.files) == 0 {
		return r.create()
	}
	if err := r.dropObsolete(); err != nil {
		return err
	}
	if err := r.checkLinks(); err != nil {
		return err
	}
	return r.recoverEnd()
}

// create starts an empty log, or refuses to.
func (r *recovery) create() error {
	if !r.opt.Create {
		return ErrNoLog
	}
	if err := durable.MkdirAll(r.fs, r.dir); err != nil {
		return err
	}
	s, err := r.begin(replication.Mark{}, nil, 1)
	if err != nil {
		return err
	}
	r.segments, r.seq, r.report.Created = []*segment{s}, 1, true
	return nil
}

// list reads the headers of all segments and removes files that were never finished.
func (r *recovery) list() error {
	names, err := r.fs.List(r.dir)
	if durable.IsNotExist(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, name := range names {
		path := r.fs.PathJoin(r.dir, name)
		if isFree(name) {
			if err := durable.Remove(r.fs, path); err != nil {
				return err
			}
			continue
		}
		if strings.HasSuffix(name, durable.TempSuffix) {
			if err := r.removeLeftover(path); err != nil {
				return err
			}
			continue
		}
		base, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f, err := readHeader(r.fs, path, base)
		if err != nil {
			return err
		}
		r.files = append(r.files, f)
	}
	slices.SortFunc(r.files, func(a, b found) int {
		if a.base < b.base {
			return -1
		}
		return 1
	})
	return nil
}

// dropKept removes what Keep copied for a cut that did not happen.
func (r *recovery) dropKept() error {
	names, err := r.fs.List(r.opt.QuarantineDir)
	if err != nil && !durable.IsNotExist(err) {
		return fmt.Errorf("list quarantine files: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix+durable.TempSuffix) {
			if err := r.removeLeftover(r.fs.PathJoin(r.opt.QuarantineDir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *recovery) removeLeftover(path string) error {
	r.report.Removed = append(r.report.Removed, path)
	r.opt.Logf("log recovery removes %s, a leftover of an interrupted step", path)
	return durable.Remove(r.fs, path)
}

// readHeader reads the header of the segment at path. An invalid header is reported in found.bad.
func readHeader(fs vfs.FS, path string, base replication.Position) (found, error) {
	file, err := fs.Open(path)
	if err != nil {
		return found{}, fmt.Errorf("open segment %s: %w", path, err)
	}
	defer file.Close() // read only: nothing to lose
	info, err := file.Stat()
	if err != nil {
		return found{}, fmt.Errorf("stat segment %s: %w", path, err)
	}
	f := found{path: path, base: base, size: info.Size()}
	w := window{file: file, limit: f.size, chunk: headerAlign}
	head, err := w.view(0, headerFixed)
	if err != nil {
		return found{}, fmt.Errorf("read header of segment %s: %w", path, err)
	}
	n, err := headerLengthOf(head)
	if errors.Is(err, errVersion) {
		return found{}, fmt.Errorf("segment %s: %w; start the version of this program that wrote it", path, err)
	} else if err != nil {
		f.bad = err
		return f, nil
	}
	if head, err = w.view(0, int(n)); err != nil {
		return found{}, fmt.Errorf("read header of segment %s: %w", path, err)
	}
	if f.header, f.bad = decodeHeader(head); f.bad == nil && f.header.base.Position != base {
		f.bad = fmt.Errorf("%w: it begins after position %d, its name says %d", errHeader, f.header.base.Position, base)
	}
	if f.bad == nil {
		s, ok := decodeNote(head[n-settledSize:])
		f.settled = ok && s.kind == noteSettled && s.salt == f.header.salt
	}
	return f, nil
}

// dropObsolete removes the segments that an interrupted TruncateAfter or Reset made obsolete: those older than a segment at
// a lower position, and those older than a segment that begins the log.
func (r *recovery) dropObsolete() error {
	var newest, start uint64
	for _, f := range r.files {
		if f.bad == nil && f.header.start {
			start = max(start, f.header.seq)
		}
	}
	var kept []found
	removed := false
	for _, f := range r.files {
		if f.bad != nil || f.header.seq >= max(newest, start) {
			kept = append(kept, f)
			newest = max(newest, f.header.seq)
			continue
		}
		if err := r.removeLeftover(f.path); err != nil {
			return err
		}
		removed = true
	}
	r.files = kept
	if removed {
		return durable.SyncDir(r.fs, r.dir)
	}
	return nil
}

// checkLinks refuses a log with a missing, foreign or unreadable segment. A bad header of the newest segment is left to
// recoverEnd, unless it is the only segment.
func (r *recovery) checkLinks() error {
	for i, f := range r.files {
		r.seq = max(r.seq, f.header.seq)
		if f.bad != nil {
			if i > 0 && i == len(r.files)-1 {
				continue
			}
			return damaged(f.path, place{}, f.bad, reseedOrRestore)
		}
		if i == 0 {
			continue
		}
		if before := r.files[i-1]; f.header.start || f.header.before != before.base {
			return fmt.Errorf("%w: segment %s continues %s, but %s is the one before it: a segment is missing; %s", ErrDamaged,
				f.path, segmentName(f.header.before), segmentName(before.base), reseedOrRestore)
		}
	}
	return nil
}

const reseedOrRestore = "restore the missing or damaged file, or reseed this member (remove its data directory) from a " +
	"healthy one; if no other member holds the data, keep these files and read the recovery guide first"
