package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// State is what a member remembers besides its log and its state machine.
type State struct {
	// Store is the name of the store this directory belongs to; Incarnation names the directory itself, at random, when it
	// is made. A member is a voter by both its name and its incarnation.
	Store       string `json:"store"`
	Incarnation string `json:"incarnation"`
	// Promises are the member's; see replication.Promises.
	Promises replication.Promises `json:"promises"`
	// Generation numbers the directories in force: wal-N and state-N. Installing a snapshot makes the next pair and
	// switches to it by replacing this file.
	Generation uint64 `json:"generation"`
	// Quarantined counts entries that were cut from the log and are kept in quarantine files.
	Quarantined uint64 `json:"quarantined,omitempty"`
}

// Paths within a data directory.
const (
	fileName = "META"
	lockName = "LOCK"
	// QuarantineDir holds what was cut from the log, over all generations.
	QuarantineDir = "quarantine"
	maxBytes      = 1 << 20
)

// WalDir and StateDir name the directories of generation g.
func WalDir(g uint64) string   { return fmt.Sprintf("wal-%d", g) }
func StateDir(g uint64) string { return fmt.Sprintf("state-%d", g) }

// Errors that callers tell apart.
var (
	// ErrForeign: the directory holds something, but no META file of this program.
	ErrForeign = errors.New("directory is not empty and has no META file")
	// ErrDamaged: the META file does not pass its checksum or is of an unknown version.
	ErrDamaged = errors.New("META file is damaged")
	// ErrOtherStore: the directory belongs to a store of another name.
	ErrOtherStore = errors.New("directory belongs to another store")
	// ErrInUse: another process has the directory open.
	ErrInUse = errors.New("directory is in use")
)

// File is the META file of one data directory, held open (locked) by one process. It is not safe for concurrent use.
type File struct {
	fs    vfs.FS
	dir   string
	lock  io.Closer
	state State
}

// Open locks dir and reads its META file. An empty (or missing) directory becomes one of store with a new incarnation;
// created tells so. A directory that holds anything else is refused: a lost META file must never come back as a new
// identity over old data.
func Open(fs vfs.FS, dir, store string) (f *File, created bool, err error) {
	if err := durable.MkdirAll(fs, dir); err != nil {
		return nil, false, err
	}
	lock, err := fs.Lock(fs.PathJoin(dir, lockName))
	if err != nil {
		return nil, false, fmt.Errorf("lock data directory %s: %w (is another node running on it?): %w", dir, ErrInUse, err)
	}
	f = &File{fs: fs, dir: dir, lock: lock}
	created, err = f.load(store)
	if err != nil {
		return nil, false, errors.Join(err, lock.Close())
	}
	return f, created, nil
}

func (f *File) load(store string) (created bool, err error) {
	data, err := durable.ReadFile(f.fs, f.fs.PathJoin(f.dir, fileName), maxBytes)
	if durable.IsNotExist(err) {
		return true, f.create(store)
	}
	if err != nil {
		return false, err
	}
	if f.state, err = decode(data); err != nil {
		return false, fmt.Errorf("%s: %w; restore it from a copy, or empty the directory so that the member is seeded again",
			f.fs.PathJoin(f.dir, fileName), err)
	}
	if f.state.Store != store {
		return false, fmt.Errorf("%w: %s holds store %q, not %q", ErrOtherStore, f.dir, f.state.Store, store)
	}
	return false, nil
}

// create gives an empty directory its identity.
func (f *File) create(store string) error {
	names, err := f.fs.List(f.dir)
	if err != nil {
		return fmt.Errorf("list data directory %s: %w", f.dir, err)
	}
	for _, n := range names {
		if n != lockName && n != "lost+found" && n != fileName+durable.TempSuffix {
			return fmt.Errorf("%w: %s holds %q; name an empty directory, or restore META from a copy", ErrForeign, f.dir, n)
		}
	}
	return f.Update(func(s *State) { *s = State{Store: store, Incarnation: uuid.NewString(), Generation: 1} })
}

// State returns what is durable.
func (f *File) State() State { return f.state }

// Dir is the data directory.
func (f *File) Dir() string { return f.dir }

// Update changes the state durably, as one step. After an error the directory may hold either state, so the process must
// end.
func (f *File) Update(change func(*State)) error {
	next := f.state
	change(&next)
	data, err := encode(next)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(f.fs, f.dir, fileName, data); err != nil {
		return fmt.Errorf("write META: %w", err)
	}
	f.state = next
	return nil
}

// Close gives the directory free.
func (f *File) Close() error {
	if err := f.lock.Close(); err != nil {
		return fmt.Errorf("unlock data directory %s: %w", f.dir, err)
	}
	return nil
}

// The file is one line, then JSON for people to read: "replicatedstore meta 1 <crc32c of the rest, hex>\n{...}\n".
const header = "replicatedstore meta 1 "

func encode(s State) ([]byte, error) {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode META: %w", err)
	}
	body = append(body, '\n')
	return append(fmt.Appendf(nil, "%s%08x\n", header, checksum(body)), body...), nil
}

func decode(data []byte) (s State, err error) {
	line, body, ok := bytes.Cut(data, []byte{'\n'})
	sum, isMeta := strings.CutPrefix(string(line), header)
	switch {
	case !ok || !isMeta:
		return s, fmt.Errorf("%w: its first line is not of version 1", ErrDamaged)
	case sum != fmt.Sprintf("%08x", checksum(body)):
		return s, fmt.Errorf("%w: its checksum is %08x, its first line says %s", ErrDamaged, checksum(body), sum)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.Incarnation == "" || s.Generation == 0 {
		return s, fmt.Errorf("%w: incarnation or generation is missing", ErrDamaged)
	}
	return s, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
