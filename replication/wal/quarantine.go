package wal

import (
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

// Quarantine describes a file of records that were cut from a log: writes that this member had, and that the store's
// history went on without.
type Quarantine struct {
	Path string // "" when nothing was cut
	// Base is the mark the first cut record continues; Last is the end of the log before the cut.
	Base, Last replication.Mark
	Reason     string
	Bytes      int64     // of the file
	Time       time.Time // when the file was written, by this machine's clock; zero right after a cut
}

// Entries counts the writes that were cut.
func (q Quarantine) Entries() uint64 { return uint64(q.Last.Position - q.Base.Position) }

const (
	quarantineMagic   = "RSCUTLOG"
	quarantineVersion = 1
	quarantineFixed   = 64
	maxReason         = 1 << 10
)

// encodeHeader, little endian: magic [8] | version u32 | reason length u32 | base epoch, position u64, chain u32 |
// reserved u32 | last epoch, position u64, chain u32 | crc32c u32 of all before and the reason | reason. Records follow,
// byte for byte as they were in the log, up to last.
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

// quarantine writes the records after base to a file of their own and makes it durable. Caller holds appendMu.
func (l *Log) quarantine(base replication.Mark, reason string) (Quarantine, error) {
	q := Quarantine{Base: base, Last: l.Last(), Reason: reason[:min(len(reason), maxReason)]}
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
			// The same cut, interrupted after this file and before the cut: write it again, it is the same.
			break
		}
		name = fmt.Sprintf("%d-%d-%d-%d%s", q.Last.Epoch, base.Position+1, q.Last.Position, n, segmentSuffix)
	}
	tmp := q.Path + durable.TempSuffix
	if err := l.writeQuarantine(tmp, &q); err != nil {
		return Quarantine{}, errors.Join(fmt.Errorf("write quarantine file %s: %w", tmp, err), durable.Remove(l.fs, tmp))
	}
	if err := l.fs.Rename(tmp, q.Path); err != nil {
		return Quarantine{}, fmt.Errorf("rename %s: %w", tmp, err)
	}
	return q, durable.SyncDir(l.fs, l.opt.QuarantineDir)
}

func (l *Log) writeQuarantine(path string, q *Quarantine) (err error) {
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
	for next := q.Base.Position + 1; next <= q.Last.Position; {
		if recs, err = l.Read(next, writeChunk, recs[:0]); err != nil {
			return err
		}
		for i := range recs {
			// A copy: vfs lets Write change the slice it is given, and Raw is shared.
			if _, err := f.Write(slices.Clone(recs[i].Raw)); err != nil {
				return err
			}
			q.Bytes += int64(len(recs[i].Raw))
			next = recs[i].Last() + 1
		}
	}
	return f.Sync()
}

// ReadQuarantineHeader describes the quarantine file at path without reading its records.
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
		return fmt.Errorf("offset 0: %w; put back a copy of the file if there is one: what it held is nowhere else", err)
	}
	q.Path, q.Bytes, q.Time = path, info.Size(), info.ModTime()
	r.Quarantine, r.c.at = q, place{off: int64(n), prev: q.Base}
	return nil
}

// Next returns the next cut record, verified; io.EOF after the last one.
func (r *QuarantineReader) Next() (replication.Record, error) {
	if r.c.at.prev == r.Last {
		return replication.Record{}, io.EOF
	}
	at := r.c.at
	rec, err := r.c.next()
	if err != nil {
		return replication.Record{}, fmt.Errorf("%w: %s, offset %d, after position %d of up to %d: %w; what comes before is intact, "+
			"what follows is in this file only: put back a copy of it if there is one", errQuarantine, r.Path, at.off,
			at.prev.Position, r.Last.Position, err)
	}
	return rec, nil
}

// Close closes the file.
func (r *QuarantineReader) Close() error { return r.file.Close() }

// ListQuarantine describes the quarantine files in dir, oldest cut position first; none when there is no dir. An error names
// every file that cannot be read; the others are listed all the same.
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
