package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// Quarantine describes a file of records that were cut from a log: writes that this member had, but that are not part of
// the store's history.
type Quarantine struct {
	Path string // "" when nothing was cut
	// Base is the mark that the first cut record continues. Last is the end of the log before the cut.
	Base, Last replication.Mark
	Reason     string
	Bytes      int64     // of the file
	Time       time.Time // modification time of the file, by the member's clock; zero right after a cut
}

// Entries returns the number of writes that were cut.
func (q Quarantine) Entries() uint64 { return uint64(q.Last.Position - q.Base.Position) }

const (
	quarantineMagic   = "RSCUTLOG"
	quarantineVersion = 1
	quarantineFixed   = 64
	maxReason         = 1 << 10
)

// encodeHeader returns the file's header, little endian: magic [8] | version u32 | reason length u32 | base epoch u64,
// position u64, chain u32 | reserved u32 | last epoch u64, position u64, chain u32 | crc32c u32 of everything before and
// the reason | reason. The records follow, byte for byte as they were in the log, up to last.
func (q Quarantine) encodeHeader() []byte {
	le, b := binary.LittleEndian, []byte(quarantineMagic)
	b = le.AppendUint32(b, quarantineVersion)
	b = le.AppendUint32(b, uint32(len(q.Reason)))
	b = appendMark(b, q.Base)
	b = le.AppendUint32(b, 0)
	b = appendMark(b, q.Last)
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, []byte(q.Reason))
	return append(le.AppendUint32(b, sum), q.Reason...)
}

func appendMark(b []byte, m replication.Mark) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Position))
	return binary.LittleEndian.AppendUint32(b, uint32(m.Chain))
}

func readMark(b []byte) replication.Mark {
	return replication.Mark{
		Epoch:    replication.Epoch(binary.LittleEndian.Uint64(b)),
		Position: replication.Position(binary.LittleEndian.Uint64(b[8:])),
		Chain:    replication.Chain(binary.LittleEndian.Uint32(b[16:])),
	}
}

var errQuarantine = errors.New("bad quarantine file")

func decodeQuarantine(b []byte) (Quarantine, int, error) {
	le := binary.LittleEndian
	if len(b) < quarantineFixed || string(b[:8]) != quarantineMagic {
		return Quarantine{}, 0, fmt.Errorf("%w: no magic", errQuarantine)
	}
	if v := le.Uint32(b[8:]); v != quarantineVersion {
		return Quarantine{}, 0, fmt.Errorf("%w: format version %d, this program reads %d", errQuarantine, v, quarantineVersion)
	}
	n := int(le.Uint32(b[12:]))
	if n > maxReason || len(b) < quarantineFixed+n {
		return Quarantine{}, 0, fmt.Errorf("%w: reason of %d bytes", errQuarantine, n)
	}
	reason := b[quarantineFixed : quarantineFixed+n]
	sum := crc32.Update(crc32.Checksum(b[:quarantineFixed-4], castagnoli), castagnoli, reason)
	if sum != le.Uint32(b[quarantineFixed-4:]) {
		return Quarantine{}, 0, fmt.Errorf("%w: header checksum", errQuarantine)
	}
	q := Quarantine{Base: readMark(b[16:]), Last: readMark(b[40:]), Reason: string(reason)}
	if le.Uint32(b[36:]) != 0 || q.Last.Position <= q.Base.Position {
		return Quarantine{}, 0, fmt.Errorf("%w: entries after %v up to %v", errQuarantine, q.Base, q.Last)
	}
	return q, quarantineFixed + n, nil
}

// Keep does the slow part of a cut after position p in advance: it copies the records to be cut, so that TruncateAfter only
// has to rename the copy. It may run concurrently with everything else. Anything appended meanwhile makes the copy useless.
// The caller must have pinned the records. Keep stops when ctx ends. It returns the errors of TruncateAfter, or that of
// ctx.
func (l *Log) Keep(ctx context.Context, p replication.Position, reason string) error {
	if p >= l.Last().Position {
		return l.Err()
	}
	if _, err := l.Sync(); err != nil {
		return err
	}
	base, err := l.FindMark(p)
	if err != nil {
		return fmt.Errorf("keep the log after %d: %w", p, err)
	}
	switch _, err = l.keep(ctx, base, reason); {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.Is(err, ErrPruned):
		return err
	case err != nil:
		return l.spaceOrFail(fmt.Errorf("keep the log after %d: %w", p, err))
	}
	if err := l.Err(); err != nil { // closed meanwhile: Close may not know of this copy
		return errors.Join(err, l.DropKept())
	}
	return nil
}

// keep ensures that the records after base are in a file that is durable except for its name, reusing what Keep has copied.
func (l *Log) keep(ctx context.Context, base replication.Mark, reason string) (Quarantine, error) {
	last := l.Last()
	l.mu.Lock()
	q := l.kept
	l.mu.Unlock()
	if q.Path != "" && q.Base == base && q.Last == last {
		return q, nil
	}
	err := l.DropKept()
	if err == nil {
		q, err = l.copyOut(ctx, base, last, reason)
	}
	if err != nil {
		return Quarantine{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = q
	return q, nil
}

// DropKept removes what Keep has copied and no cut has used, if anything.
func (l *Log) DropKept() error {
	l.mu.Lock()
	q := l.kept
	l.kept = Quarantine{}
	l.mu.Unlock()
	if q.Path == "" {
		return nil
	}
	return durable.Remove(l.fs, q.Path+durable.TempSuffix)
}

// quarantine ensures that the records after base are in a durable file of their own. The caller holds appendMu.
func (l *Log) quarantine(base replication.Mark, reason string) (Quarantine, error) {
	q, err := l.keep(context.Background(), base, reason)
	if err != nil {
		return Quarantine{}, err
	}
	if err := l.fs.Rename(q.Path+durable.TempSuffix, q.Path); err != nil {
		return Quarantine{}, fmt.Errorf("rename %s to %s: %w", q.Path+durable.TempSuffix, q.Path, err)
	}
	l.mu.Lock()
	l.kept = Quarantine{}
	l.mu.Unlock()
	return q, durable.SyncDir(l.fs, l.opt.QuarantineDir)
}

// copyOut writes the records from base to last to a file that is durable except for its name, which is q.Path with
// durable.TempSuffix appended.
func (l *Log) copyOut(ctx context.Context, base, last replication.Mark, reason string) (Quarantine, error) {
	q := Quarantine{Base: base, Last: last, Reason: reason[:min(len(reason), maxReason)]}
	if err := durable.MkdirAll(l.fs, l.opt.QuarantineDir); err != nil {
		return Quarantine{}, err
	}
	name := fmt.Sprintf("%d-%d-%d%s", q.Last.Epoch, base.Position+1, q.Last.Position, segmentSuffix)
	for n := 2; ; n++ {
		q.Path = l.fs.PathJoin(l.opt.QuarantineDir, name)
		old, err := ReadQuarantineHeader(l.fs, q.Path)
		if durable.IsNotExist(err) {
			break
		}
		if err == nil && old.Base == q.Base && old.Last == q.Last {
			// The same cut was interrupted after this file was made and before the log was cut. The content is the same, so
			// write the file again.
			break
		}
		name = fmt.Sprintf("%d-%d-%d-%d%s", q.Last.Epoch, base.Position+1, q.Last.Position, n, segmentSuffix)
	}
	tmp := q.Path + durable.TempSuffix
	if err := l.writeQuarantine(ctx, tmp, &q); err != nil {
		return Quarantine{}, errors.Join(fmt.Errorf("write quarantine file %s: %w", tmp, err), durable.Remove(l.fs, tmp))
	}
	return q, nil
}

func (l *Log) writeQuarantine(ctx context.Context, path string, q *Quarantine) (err error) {
	f, err := l.fs.Create(path, durable.Category)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := q.encodeHeader()
	q.Bytes = int64(len(head))
	if _, err := f.Write(head); err != nil {
		return err
	}
	var recs []replication.Record
	unsynced := int64(0)
	for next := q.Base.Position + 1; next <= q.Last.Position; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if recs, err = l.Read(next, writeChunk, recs[:0]); err != nil {
			return err
		}
		for i := range recs {
			// Write a copy: vfs allows Write to modify the slice it is given, and Raw is shared.
			n, err := f.Write(slices.Clone(recs[i].Raw))
			if err != nil {
				return err
			}
			q.Bytes, unsynced = q.Bytes+int64(n), unsynced+int64(n)
			next = recs[i].Last() + 1
		}
		if unsynced >= syncStep {
			if err := f.SyncData(); err != nil {
				return err
			}
			unsynced = 0
			l.opt.Wrote()
		}
	}
	return f.Sync()
}

// ReadQuarantineHeader returns the description of the quarantine file at path without reading its records.
func ReadQuarantineHeader(fs vfs.FS, path string) (Quarantine, error) {
	r, err := OpenQuarantine(fs, path)
	if err != nil {
		return Quarantine{}, err
	}
	return r.Quarantine, r.Close()
}

// QuarantineReader reads a quarantine file, for export.
type QuarantineReader struct {
	Quarantine
	file vfs.File
	c    cursor
}

// OpenQuarantine opens the quarantine file at path.
func OpenQuarantine(fs vfs.FS, path string) (*QuarantineReader, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open quarantine file %s: %w", path, err)
	}
	r := &QuarantineReader{file: f}
	if err := r.init(path); err != nil {
		return nil, errors.Join(fmt.Errorf("open quarantine file %s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *QuarantineReader) init(path string) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	r.c = cursor{w: window{file: r.file, limit: info.Size(), chunk: 256 << 10}}
	head, err := r.c.w.view(0, quarantineFixed+maxReason)
	if err != nil {
		return err
	}
	q, n, err := decodeQuarantine(head)
	if err != nil {
		return fmt.Errorf("offset 0: %w; restore a copy of the file if there is one: its contents exist nowhere else", err)
	}
	q.Path, q.Bytes, q.Time = path, info.Size(), info.ModTime()
	r.Quarantine, r.c.at = q, place{off: int64(n), prev: q.Base}
	return nil
}

// Next returns the next cut record, verified, or io.EOF after the last one.
func (r *QuarantineReader) Next() (replication.Record, error) {
	if r.c.at.prev == r.Last {
		return replication.Record{}, io.EOF
	}
	at := r.c.at
	rec, err := r.c.next()
	if err != nil {
		return replication.Record{}, fmt.Errorf("%w: %s, offset %d, after position %d of up to %d: %w; what comes before is intact, "+
			"what follows exists only in this file: restore a copy of it if there is one", errQuarantine, r.Path, at.off,
			at.prev.Position, r.Last.Position, err)
	}
	return rec, nil
}

// Close closes the file.
func (r *QuarantineReader) Close() error { return r.file.Close() }

// ListQuarantine describes the quarantine files in dir, in the order of their base marks. It returns none if dir does not
// exist. The error names every file that cannot be read; the others are listed nevertheless.
func ListQuarantine(fs vfs.FS, dir string) ([]Quarantine, error) {
	names, err := fs.List(dir)
	if durable.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list quarantine files in %s: %w", dir, err)
	}
	var out []Quarantine
	var bad []error
	for _, name := range names {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		if q, err := ReadQuarantineHeader(fs, fs.PathJoin(dir, name)); err != nil {
			bad = append(bad, err)
		} else {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(a, b Quarantine) int { return a.Base.Compare(b.Base) })
	return out, errors.Join(bad...)
}
