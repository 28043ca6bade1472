package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// ErrDamaged means that files of the state are bad or missing. The error names the file, the offset if known, and what to
// do.
var ErrDamaged = errors.New("state is damaged")

const reseed = "reseed this member (remove its data directory, or annotate its pod) from a healthy one; if no other member " +
	"holds the data, keep these files and restore a copy of the bad one"

// explain turns Pebble's reports of damage into an ErrDamaged; other errors are returned as they are.
func explain(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return fmt.Errorf("%w: %s: %w; %s", ErrDamaged, info.Path, info.Details, reseed)
	}
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %w; %s", ErrDamaged, err, reseed)
	}
	return err
}

// explainOpen is explain for a state that does not open: an error that comes from no system call is due to what the files
// hold.
func explainOpen(dir string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && !errors.Is(err, iofs.ErrNotExist) || errors.Is(err, ErrDamaged) || pebble.IsCorruptionError(err) {
		return fmt.Errorf("open state %s: %w", dir, explain(err))
	}
	return fmt.Errorf("open state %s: %w: %w; %s", dir, ErrDamaged, err, reseed)
}

// maxManifest bounds what checkManifest reads; Pebble starts a new MANIFEST long before.
const maxManifest = 1 << 30

// settleManifest makes what checkManifest has returned durable before anybody relies on it. A process that was killed, or
// whose fsync failed, leaves records that are in the page cache only, perhaps marked clean (see wal's settleEnd). But as
// the database opens, it removes the tables that those records replace, and the log is pruned up to what they name.
func settleManifest(fs vfs.FS, dir, path string, data []byte) error {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("settle %s: %w", path, err)
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("settle %s: %w", path, err)
	}
	return durable.SyncDir(fs, dir)
}

// checkManifest returns the path of the MANIFEST and its content; "" if there is none. It rejects a MANIFEST with a bad
// record before a good one. Pebble takes every bad record for the torn end of the file, goes back to the version before
// it, and removes the tables that came later. But Pebble syncs each record before the next, so only the last one can be
// torn.
func checkManifest(fs vfs.FS, dir string) (path string, data []byte, err error) {
	desc, err := pebble.Peek(dir, fs)
	if durable.IsNotExist(err) || err == nil && !desc.Exists {
		return "", nil, nil
	} else if err != nil {
		return "", nil, err
	}
	path = desc.ManifestFilename
	data, err = durable.ReadFile(fs, path, maxManifest)
	if durable.IsNotExist(err) {
		return "", nil, removeUnmade(fs, dir, err)
	} else if err != nil {
		return "", nil, err
	}
	at := 0
	for n := 0; at < len(data); at += n {
		if n = manifestChunk(data, at, false); n == 0 {
			break
		}
	}
	for later := at + 1; later < len(data); later++ {
		if manifestChunk(data, later, true) > 0 {
			return "", nil, fmt.Errorf("%w: %s, offset %d: a record is bad, the one at %d is whole; %s", ErrDamaged, path, at, later, reseed)
		}
	}
	return path, data, nil
}

// removeUnmade removes the files of a state whose creation never finished: a power loss then may leave the marker that
// names a MANIFEST, but not the MANIFEST. If there are tables, the MANIFEST was lost, and missing is returned.
func removeUnmade(fs vfs.FS, dir string, missing error) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".sst") || strings.HasSuffix(n, ".blob") }) {
		return missing
	}
	for _, n := range names {
		if err := durable.Remove(fs, fs.PathJoin(dir, n)); err != nil {
			return err
		}
	}
	return durable.SyncDir(fs, dir)
}

// manifestChunk returns the length of the chunk at offset at; 0 if there is none, or if begins is set and the chunk
// begins no record. A chunk is crc u32 | length u16 | type u8 | payload, and does not cross a block of 32 KiB. If less
// than a header is left of a block, the rest is padding.
func manifestChunk(data []byte, at int, begins bool) int {
	const block, header, full, first, last = 32 << 10, 7, 1, 2, 4
	left := min(block-at%block, len(data)-at)
	if left < header {
		if begins || len(data)-at < header {
			return 0
		}
		return left
	}
	b := data[at : at+left]
	n, kind := header+int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if n > left || kind < full || kind > last || begins && kind > first {
		return 0
	}
	// LevelDB masks a CRC that is itself stored among checksummed bytes.
	c := crc32.Checksum(b[6:n], crc32.MakeTable(crc32.Castagnoli))
	if (c>>15|c<<17)+0xa282ead8 != binary.LittleEndian.Uint32(b) {
		return 0
	}
	return n
}
