package meta

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

const (
	fileName    = "META"
	lockName    = "LOCK"
	initName    = "INIT"
	reserveName = "META.reserve"
	logPrefix   = "wal-"
	statePrefix = "state-"

	// reserveBytes is set aside for updates on a full volume. It is several times what an update needs.
	reserveBytes = 64 << 10
)

// Errors of Open and Update.
var (
	// ErrInUse means that another process has the directory open.
	ErrInUse = errors.New("data directory is in use by another process: end that one, or use another directory")
	// ErrNoMeta means that the directory has content but no META.
	ErrNoMeta = errors.New("META is missing")
	// ErrForeign means that the directory belongs to another store or member.
	ErrForeign = errors.New("data directory belongs to another member")
	// ErrFailed means that an earlier write may or may not have taken effect. End the process.
	ErrFailed = errors.New("META has failed")
	// ErrRefused means that the change violates an invariant; nothing was written.
	ErrRefused = errors.New("change of META refused")
)

// Options configure Open.
type Options struct {
	Store, Member string
	// StoreUID is the UID of the store that the member serves now; it is saved with every promise. "": unknown.
	StoreUID string
	// Init durably fills the directories of the first generation (an empty log, an empty state) before META names them. It
	// may run again, on empty directories, after a crash has interrupted it.
	Init func(logDir, stateDir string) error
	// NewIncarnation returns the incarnation of a new directory. Default: 128 random bits in hex.
	NewIncarnation func() string
	// Logf reports unusual steps. By default nothing is reported.
	Logf func(format string, args ...any)
}

// Store is an open data directory's META. It is safe for concurrent use.
type Store struct {
	fs   vfs.FS
	dir  string
	opt  Options
	lock io.Closer

	write   sync.Mutex // serialises updates; held across I/O; acquired before mu
	reserve bool       // META.reserve exists; guarded by write

	mu    sync.Mutex
	state State
	err   error // final
}

var _ replication.Stable = (*Store)(nil)

// Open locks dir and loads its META. An empty directory becomes that of a new member, with a new incarnation; "lost+found"
// does not count. Errors name the directory. A creation that fails may leave files there, which the next
// Open goes on from or replaces; other errors leave the content unchanged.
func Open(fs vfs.FS, dir string, o Options) (*Store, error) {
	if o.NewIncarnation == nil {
		o.NewIncarnation = randomIncarnation
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := durable.MkdirAll(fs, dir); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, lockName))
	var path *os.PathError // the lock file could not be created: not a lock conflict
	switch {
	case errors.As(err, &path):
		return nil, fmt.Errorf("open data directory %s: it must be writable: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("open data directory %s: %w: %w", dir, ErrInUse, err)
	}
	s := &Store{fs: fs, dir: dir, opt: o, lock: lock}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", dir, err), lock.Close())
	}
	return s, nil
}

func randomIncarnation() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
	return hex.EncodeToString(b[:])
}

func (s *Store) path(name string) string { return s.fs.PathJoin(s.dir, name) }

func (s *Store) load() error {
	data, err := durable.ReadFile(s.fs, s.path(fileName), maxFileBytes)
	if durable.IsNotExist(err) {
		return s.create()
	} else if err != nil {
		return err
	}
	st, err := decode(data)
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%w; start the version of this program that wrote it, as a rule a newer one: nothing was changed", err)
	}
	if err != nil {
		return fmt.Errorf("%w; restore it from a copy of the volume, or empty this directory so that the member is seeded "+
			"again under a new incarnation: its promises and data are then gone, so never do this to a majority of the "+
			"voters at once", err)
	}
	if st.Store != s.opt.Store || st.Member != s.opt.Member {
		return fmt.Errorf("%w: it is %s of store %s, this process is %s of store %s; mount the right volume", ErrForeign,
			st.Member, st.Store, s.opt.Member, s.opt.Store)
	}
	s.state = st
	if err := durable.Remove(s.fs, s.path(initName)); err != nil {
		return err
	}
	// Sync the name too: the previous process may have been killed between renaming META and syncing the directory.
	if err := durable.SyncDir(s.fs, s.dir); err != nil {
		return err
	}
	s.keepReserve()
	return nil
}

// create sets up an empty directory. INIT exists from before the first file until after META, which distinguishes a crash
// in between from a META that was lost.
func (s *Store) create() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		return n == lockName || n == initName+durable.TempSuffix || n == "lost+found"
	})
	if slices.Contains(names, initName) {
		if err := s.clear(names); err != nil {
			return err
		}
	} else if len(names) > 0 {
		slices.Sort(names)
		return fmt.Errorf("%w, but the directory holds %s: restore META from a copy of the volume, or empty the directory so "+
			"that the member is seeded again under a new incarnation", ErrNoMeta, strings.Join(names, ", "))
	}
	if err := durable.WriteFile(s.fs, s.dir, initName, nil); err != nil {
		return err
	}
	st := State{Store: s.opt.Store, Member: s.opt.Member, Incarnation: s.opt.NewIncarnation(), Generation: 1}
	if err := st.valid(); err != nil {
		return err
	}
	if err := s.makeGeneration(1); err != nil {
		return fmt.Errorf("set up the first generation: %w", err)
	}
	data, err := st.encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.fs, s.dir, fileName, data); err != nil {
		return err
	}
	s.state = st
	s.keepReserve()
	return durable.Remove(s.fs, s.path(initName))
}

// clear removes what an interrupted create left behind.
func (s *Store) clear(names []string) error {
	for _, n := range names {
		if _, ok := generationOf(n); !ok && n != fileName+durable.TempSuffix && n != reserveName {
			continue
		}
		s.opt.Logf("set-up of the data directory was interrupted: removing %s", n)
		if err := s.fs.RemoveAll(s.path(n)); err != nil {
			return fmt.Errorf("remove %s: %w", n, err)
		}
	}
	return durable.SyncDir(s.fs, s.dir)
}

// State returns a copy of the current state.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

// Save stores a replica's promises, together with the UID of the store that they were made to. It implements
// replication.Stable.
func (s *Store) Save(p replication.Promises) error {
	return s.Update(func(st *State) {
		st.Promises = p
		if s.opt.StoreUID != "" {
			st.StoreUID = s.opt.StoreUID
		}
	})
}

// Update changes the state durably: when it returns nil, the change survives power loss; until then State returns the old
// state. change runs once, on a copy. A change that alters nothing writes nothing.
//
// ErrRefused and a full volume (replication.ErrNoSpace) leave META as it was. Any other error is final (ErrFailed): after a
// restart the change may or may not be there, so the process must end.
func (s *Store) Update(change func(*State)) error { return s.update(change, State.check) }

// Renew gives the directory a new incarnation, because it does not hold what the current one has acknowledged. It returns
// the errors of Update.
func (s *Store) Renew() (incarnation string, err error) {
	incarnation = s.opt.NewIncarnation()
	return incarnation, s.update(func(st *State) { st.Incarnation, st.Renewals = incarnation, st.Renewals+1 }, State.checkRenewed)
}

func (s *Store) update(change func(*State), check func(old, next State) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	old, err := s.state.clone(), s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	next := old.clone()
	change(&next)
	if err := check(old, next); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	was, err := old.encode()
	if err != nil {
		return err
	}
	data, err := next.encode()
	if err != nil || bytes.Equal(was, data) {
		return err
	}
	if len(data) > maxFileBytes {
		return fmt.Errorf("%w: %d bytes exceed %d", ErrRefused, len(data), maxFileBytes)
	}
	if err := s.replace(data); err != nil {
		return s.sort(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = next.clone()
	return nil
}

// replace writes META, using up the reserve if the volume is full.
func (s *Store) replace(data []byte) error {
	err := durable.WriteFile(s.fs, s.dir, fileName, data)
	if durable.IsNoSpace(err) && !errors.Is(err, durable.ErrOutcomeUnknown) && s.reserve {
		s.opt.Logf("the volume is full: using the reserve for META")
		s.reserve = false
		if err := durable.Remove(s.fs, s.path(reserveName)); err != nil {
			return err
		}
		err = durable.WriteFile(s.fs, s.dir, fileName, data)
	}
	if err == nil {
		s.keepReserve()
	}
	return err
}

// sort separates a full volume, which leaves META as it was, from errors that are final.
func (s *Store) sort(err error) error {
	if durable.IsNoSpace(err) && !errors.Is(err, durable.ErrOutcomeUnknown) {
		return fmt.Errorf("update META: %w: %w", replication.ErrNoSpace, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = fmt.Errorf("%w: %w", ErrFailed, err)
	return s.err
}

// keepReserve sets the reserve aside again if it is gone. If there is no room, there is no reserve.
func (s *Store) keepReserve() {
	if s.reserve {
		return
	}
	if info, err := s.fs.Stat(s.path(reserveName)); err == nil && info.Size() == reserveBytes {
		s.reserve = true
		return
	}
	if err := durable.WriteFile(s.fs, s.dir, reserveName, make([]byte, reserveBytes)); err != nil {
		s.opt.Logf("no room for the reserve of META: %v", err)
		return
	}
	s.reserve = true
}

// Close unlocks the directory. The Store accepts no more updates.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock, s.err = nil, errors.Join(s.err, errors.New("META is closed"))
	return lock.Close()
}
