package snapshot

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
)

const (
	// reuse is the age up to which a checkpoint may serve a new seed.
	reuse = 10 * time.Minute
	// linger is how long a checkpoint stays after its last seed ended, so that a broken seed can resume.
	linger = 10 * time.Minute
	// mostKept bounds the checkpoints on disk. When all are in use, a new seed gets the newest one that serves it.
	mostKept = 2
)

// SourceOptions configure a Source.
type SourceOptions struct {
	FS vfs.FS
	// Dir holds the checkpoints. The Source owns it and removes whatever it finds there.
	Dir   string
	Store string
	// Checkpoint writes the state machine's files into dir, which does not exist yet. It returns the mark after which the
	// log continues, as read from the checkpoint itself, and the epoch table up to that mark.
	Checkpoint func(dir string) (replication.Mark, replication.EpochTable, error)
	// Pin retains the log from a position on until release is called. A checkpoint is useless once the log after it is
	// pruned.
	Pin func(from replication.Position) (release func())
	// Hold pins the log after what is applied, because a checkpoint made from then on ends there at the earliest. Nothing
	// more is pinned while a checkpoint is made: making it may wait for the room that pruning the log gives back.
	Hold func() (release func())
	// Holds reports whether the current log continues a checkpoint made earlier. If not, the checkpoint is not sent any
	// more. Default: it always does.
	Holds func(replication.Mark) bool
	// Say is how often a receiver is told that its source is alive while a checkpoint is made, which takes long if the
	// state machine has much to flush or compact first; default 5 s. SayFor is how long it is told so; default 3 minutes.
	// If the checkpoint is not done by then it may never be, as on a disk that hangs, and another source may work.
	Say, SayFor time.Duration
	Now         func() time.Time
	// Throttle waits until n more bytes may be sent. Default: no wait.
	Throttle func(ctx context.Context, n int) error
	Logf     func(format string, args ...any)
}

// Source makes, keeps and serves checkpoints. It is safe for concurrent use.
type Source struct {
	o SourceOptions

	make sync.Mutex // held while a checkpoint is made, so that concurrent seeds share it; acquired before mu

	mu          sync.Mutex
	closed      bool
	checkpoints []*checkpoint // oldest first
	level       volume.Level  // level of the volume, as Spare was last told
}

type checkpoint struct {
	dir      string
	manifest Manifest
	release  func()
	made     time.Time
	// Guarded by Source.mu.
	users    int
	lastUsed time.Time
	begun    bool // a receiver holds part of it, and may come back for the rest
	spared   bool // it no longer pins the log: it is sent to nobody else
}

// NewSource empties o.Dir: no checkpoint outlives its source's process, because the log was not pinned in between.
func NewSource(o SourceOptions) (*Source, error) {
	o.Say = cmp.Or(o.Say, 5*time.Second)
	o.SayFor = cmp.Or(o.SayFor, 3*time.Minute)
	if o.Holds == nil {
		o.Holds = func(replication.Mark) bool { return true }
	}
	if o.Throttle == nil {
		o.Throttle = func(context.Context, int) error { return nil }
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := o.FS.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("remove old checkpoints: %w", err)
	}
	return &Source{o: o}, nil
}

// Close removes all checkpoints. Ongoing seeds must have ended before.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	all := s.checkpoints
	s.checkpoints = nil
	s.mu.Unlock()
	return s.remove(all)
}

// Serve has one conversation with a receiver. After an error the Source is still usable, and the seed can be resumed for as
// long as linger, unless the receiver has refused to begin it.
func (s *Source) Serve(ctx context.Context, rw io.ReadWriter) error {
	f := &framer{rw: rw}
	payload, err := f.expect(frameRequest)
	if err != nil {
		return fmt.Errorf("serve snapshot: %w", err)
	}
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		return f.refuse(fmt.Errorf("serve snapshot: %w: %w", ErrFrame, err))
	}
	if req.Store != s.o.Store {
		return f.refuse(fmt.Errorf("serve snapshot: %w: this is store %q, not %q", ErrRefused, s.o.Store, req.Store))
	}
	told := f.tell(s.o.Say, s.o.SayFor)
	c, err := s.acquire(req.ID, req.Least)
	told()
	if err != nil {
		return f.refuse(fmt.Errorf("serve snapshot: %w", err))
	}
	err = s.serve(ctx, f, c)
	s.done(c, errors.Is(err, ErrRefused))
	if err != nil {
		return fmt.Errorf("serve snapshot %s: %w", c.manifest.ID, err)
	}
	return nil
}

func (s *Source) serve(ctx context.Context, f *framer, c *checkpoint) error {
	if err := f.writeJSON(frameManifest, c.manifest); err != nil {
		return err
	}
	payload, err := f.expect(frameHave)
	if err != nil {
		return err
	}
	has, err := decodeHave(payload, &c.manifest)
	if err != nil {
		return f.refuse(err)
	}
	s.mu.Lock()
	c.begun = true
	s.mu.Unlock()
	for i, n := range has {
		if n == complete {
			continue
		}
		if err := s.send(ctx, f, c, i, n); err != nil {
			return err
		}
	}
	_, err = f.expect(frameDone)
	return err
}

// send streams file i, starting at byte from.
func (s *Source) send(ctx context.Context, f *framer, c *checkpoint, i int, from int64) error {
	want := c.manifest.Files[i]
	path := s.o.FS.PathJoin(c.dir, want.Name)
	file, err := s.o.FS.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return f.refuse(fmt.Errorf("open %s: %w", path, err))
	}
	defer file.Close() // read only: nothing to lose
	digest, err := hashPrefix(file, from)
	if err != nil {
		return f.refuse(fmt.Errorf("read %s: %w", path, err))
	}
	buf := make([]byte, min(ChunkBytes, want.Size-from))
	for at := from; at < want.Size; {
		b := buf[:min(int64(len(buf)), want.Size-at)]
		if n, err := file.ReadAt(b, at); n < len(b) {
			return f.refuse(fmt.Errorf("read %d of %d bytes at %d of %s: %w", n, len(b), at, path, err))
		}
		if err := s.o.Throttle(ctx, len(b)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, _ = digest.Write(b) // a hash accepts everything
		if err := f.write(frameChunk, chunk{uint32(i), at, nil}.head(), b); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return f.write(frameFileEnd, fileEnd{uint32(i), want.Size, digest.Sum(nil)}.encode())
}

// acquire returns the checkpoint id if it still exists, else a recent enough one, else a new one. It returns none that ends
// before least.
func (s *Source) acquire(id string, least replication.Position) (*checkpoint, error) {
	s.make.Lock()
	defer s.make.Unlock()
	if c, err := s.existing(id, least); c != nil || err != nil {
		return c, err
	}
	if err := s.makeRoom(); err != nil {
		return nil, err
	}
	c, err := s.newCheckpoint(least)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints = append(s.checkpoints, c)
	return c, nil
}

func (s *Source) existing(id string, least replication.Position) (*checkpoint, error) {
	fit := s.fit(least)
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("source is closed")
	}
	if s.level == volume.Full {
		return nil, fmt.Errorf("%w: this member's volume is full", ErrRefused)
	}
	var best, newest *checkpoint
	busy := 0
	for _, c := range s.checkpoints {
		if c.users > 0 {
			busy++
		}
		if !fit[c] || c.spared {
			continue
		}
		newest = c
		if c.manifest.ID == id || (best == nil || best.manifest.ID != id) && now.Sub(c.made) < reuse {
			best = c
		}
	}
	if best == nil && busy >= mostKept {
		if best = newest; best == nil {
			return nil, fmt.Errorf("%w: %d checkpoints are being sent, but none of them fits this member", ErrRefused, busy)
		}
	}
	if best != nil {
		best.users++
	}
	return best, nil
}

// fit returns the checkpoints that reach least and that the current log continues. Finding out may require reading the log,
// so mu is not held.
func (s *Source) fit(least replication.Position) map[*checkpoint]bool {
	s.mu.Lock()
	all := slices.Clone(s.checkpoints)
	s.mu.Unlock()
	fit := make(map[*checkpoint]bool, len(all))
	for _, c := range all {
		fit[c] = c.manifest.Mark.Position >= least && s.o.Holds(c.manifest.Mark)
	}
	return fit
}

// newCheckpoint makes a checkpoint that the caller uses. The log is held from before that until the checkpoint's mark is
// known.
//
// The state may be empty if the log is whole from its beginning: a leader that has restarted applies nothing before it has
// voters, and those may need to be seeded first.
func (s *Source) newCheckpoint(least replication.Position) (*checkpoint, error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: it crashes the program instead
	id := hex.EncodeToString(raw[:])
	dir := s.o.FS.PathJoin(s.o.Dir, id)
	if err := s.o.FS.MkdirAll(s.o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make checkpoint directory: %w", err)
	}
	defer s.o.Hold()()
	mark, epochs, err := s.o.Checkpoint(dir)
	if err == nil {
		m := Manifest{Version: manifestVersion, ID: id, Store: s.o.Store, Mark: mark, Epochs: epochs}
		if mark == (replication.Mark{}) && !s.o.Holds(mark) {
			err = fmt.Errorf("%w: the state is empty, but the log does not start at the beginning", ErrRefused)
		} else if mark.Position < least {
			err = fmt.Errorf("%w: the state is at %v, the snapshot must reach %d", ErrRefused, mark, least)
		} else if err = m.addFiles(s.o.FS, dir); err == nil {
			s.o.Logf("made checkpoint %s at %v: %d files, %d bytes", id, mark, len(m.Files), m.Total)
			now := s.o.Now()
			return &checkpoint{dir: dir, manifest: m, release: s.o.Pin(mark.Position + 1), made: now, users: 1, lastUsed: now}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("make checkpoint: %w", err), s.o.FS.RemoveAll(dir))
}

// addFiles adds the files of the checkpoint in dir to m and checks the result.
func (m *Manifest) addFiles(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return fmt.Errorf("stat %s of %s: %w", name, dir, err)
		}
		if info.IsDir() {
			return fmt.Errorf("%w: %s is a directory", ErrManifest, name)
		}
		m.Files = append(m.Files, File{Name: name, Size: info.Size()})
		m.Total += info.Size()
	}
	return m.Check()
}
