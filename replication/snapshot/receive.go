package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/meta"
)

// ReceiveOptions configure Receive.
type ReceiveOptions struct {
	FS   vfs.FS
	Meta *meta.Store
	// Store is the name of the store; From is the sending member, for the record.
	Store, From string
	// Least is the position that the snapshot must reach.
	Least replication.Position
	// Fresh is called before the first byte of a snapshot other than the one that was begun, whose files are removed by
	// then. It may refuse with an error. Default: everything is accepted.
	Fresh func(Manifest) error
	// Margin is the room in bytes that must be left on the volume beside the snapshot. Default: 64 MiB, or a tenth of a
	// small volume, plus a twentieth of the snapshot.
	Margin int64
	// Progress is told what has arrived, a few times a second. Default: nobody is told.
	Progress func(Progress)
	Now      func() time.Time
}

// ErrCorrupt means that a file does not have the digest that its source named. It is removed, and the next attempt fetches it again.
var ErrCorrupt = errors.New("snapshot file is corrupt")

// NoRoomError means that the volume has no room for the snapshot beside what it holds.
type NoRoomError struct {
	// Need is how many more bytes are needed, margin included; Free is how many are free.
	Need, Free int64
	// Held is the number of bytes in the current generation. If Need <= Free+Held, giving it up (meta.Store.StartOver)
	// makes room.
	Held int64
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("no room for the snapshot: it needs %d bytes, %d are free, %d are held by the current state; enlarge the "+
		"volume", e.Need, e.Free, e.Held)
}

// Receive has one conversation with a Source. It writes into the state directory of the next generation, and records that
// in META. When it returns nil, every file is verified and durable, and Install can make the seed current. After an error,
// the next Receive resumes where this one stopped, unless the source has another snapshot by then.
//
// The current generation is not touched: meanwhile the member may continue to follow, vote and serve reads.
func Receive(ctx context.Context, rw io.ReadWriter, o ReceiveOptions) (Manifest, error) {
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Fresh == nil {
		o.Fresh = func(Manifest) error { return nil }
	}
	r := &receiver{o: o, f: framer{rw: rw}}
	if err := r.run(ctx); err != nil {
		return Manifest{}, fmt.Errorf("receive snapshot from %s: %w", o.From, err)
	}
	return r.m, nil
}

type receiver struct {
	o    ReceiveOptions
	f    framer
	seed meta.Seed
	dir  string
	m    Manifest
	has  []int64 // bytes of each file that are there; complete once it is verified
	// aside counts bytes of the volume that are preallocated to partial files beyond what has arrived.
	aside int64
	t     *meter
}

func (r *receiver) run(ctx context.Context) error {
	st := r.o.Meta.State()
	if st.Seed != nil {
		r.seed = *st.Seed
	} else {
		r.seed = meta.Seed{Generation: st.Generation + 1}
	}
	r.dir = r.o.Meta.StateDir(r.seed.Generation)
	if err := r.f.writeJSON(frameRequest, request{Store: r.o.Store, ID: r.seed.ID, Least: r.o.Least}); err != nil {
		return err
	}
	var err error
	switch r.m, err = r.f.manifest(); {
	case errors.Is(err, ErrManifest):
		return r.f.refuse(err)
	case err != nil:
		return err
	case r.m.Store != r.o.Store:
		return r.f.refuse(fmt.Errorf("%w: of store %q, not %q", ErrManifest, r.m.Store, r.o.Store))
	case r.m.Mark.Position < r.o.Least:
		return r.f.refuse(fmt.Errorf("%w: it ends in %v, the leader's log begins after %d", ErrManifest, r.m.Mark, r.o.Least))
	}
	if err := r.begin(); err != nil {
		return r.f.refuse(err)
	}
	if err := r.f.writeJSON(frameHave, have{ID: r.m.ID, Bytes: r.has}); err != nil {
		return err
	}
	if err := r.receiveAll(ctx); err != nil {
		return err
	}
	if err := durable.SyncDir(r.o.FS, r.dir); err != nil {
		// As for a file (see errSync): the next sync may succeed although the names are not on disk.
		return r.f.refuse(errors.Join(err, r.o.FS.RemoveAll(r.dir)))
	}
	return r.f.write(frameDone)
}

// begin takes stock of what an earlier attempt left, or starts afresh, and checks that the rest fits on the volume.
func (r *receiver) begin() error {
	fresh := r.seed.ID != r.m.ID
	if fresh {
		if err := r.clear(); err != nil {
			return err
		}
	}
	if err := durable.MkdirAll(r.o.FS, r.dir); err != nil {
		return err
	}
	held, err := r.takeStock()
	if err != nil {
		return err
	}
	if err := r.checkRoom(r.m.Total - held - r.aside); err != nil {
		return err
	}
	if fresh {
		if err := r.o.Fresh(r.m); err != nil {
			return err
		}
	}
	r.t = newMeter(&r.m, held, r.o.Now(), r.o.Progress)
	if !fresh {
		return nil
	}
	r.seed.ID, r.seed.From, r.seed.Mark = r.m.ID, r.o.From, r.m.Mark
	return r.o.Meta.Update(func(st *meta.State) { st.Seed = &r.seed })
}

// clear forgets the seed that was begun, in META first, and then removes its files: they must never pass for those of
// another seed.
func (r *receiver) clear() error {
	if r.seed.ID != "" {
		r.seed.ID = ""
		if err := r.o.Meta.Update(func(st *meta.State) { st.Seed = &r.seed }); err != nil {
			return err
		}
	}
	if err := r.o.FS.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove the files of another snapshot: %w", err)
	}
	return durable.SyncDir(r.o.FS, r.o.Meta.Dir())
}

// takeStock finds out how much of each file is there. A complete file has its own name; a partial one has the suffix
// ".part".
func (r *receiver) takeStock() (held int64, err error) {
	r.has = make([]int64, len(r.m.Files))
	for i, f := range r.m.Files {
		path := r.o.FS.PathJoin(r.dir, f.Name)
		if info, err := r.o.FS.Stat(path); err == nil && info.Size() == f.Size {
			r.has[i] = complete
			held += f.Size
			continue
		} else if err != nil && !durable.IsNotExist(err) {
			return 0, fmt.Errorf("stat %s: %w", path, err)
		}
		info, err := r.o.FS.Stat(path + partSuffix)
		switch {
		case durable.IsNotExist(err):
		case err != nil:
			return 0, fmt.Errorf("stat %s: %w", path, err)
		case info.Size() <= f.Size:
			r.has[i] = info.Size()
			// What was preallocated for the rest of it is already taken from the volume.
			if info.Size() > 0 { // otherwise it is removed as a stray
				r.aside += min(f.Size, max(info.Size(), durable.Allocated(info))) - info.Size()
			}
			held += info.Size()
		}
	}
	return held, r.removeStrays()
}

// removeStrays removes whatever is not a file of the manifest or a usable part of one. It also removes a part beside its
// complete file: a power loss around a rename may leave both names.
func (r *receiver) removeStrays() error {
	keep := make(map[string]bool, len(r.m.Files))
	for i, f := range r.m.Files {
		keep[f.Name] = r.has[i] == complete
		keep[f.Name+partSuffix] = r.has[i] > 0
	}
	names, err := r.o.FS.List(r.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", r.dir, err)
	}
	for _, n := range names {
		if keep[n] {
			continue
		}
		if err := durable.Remove(r.o.FS, r.o.FS.PathJoin(r.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// checkRoom refuses before the first byte, rather than when the volume is full and the member's own log cannot grow any
// more.
func (r *receiver) checkRoom(rest int64) error {
	usage, err := r.o.FS.GetDiskUsage(r.o.Meta.Dir())
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil // the file system does not say
	} else if err != nil {
		return fmt.Errorf("read free space: %w", err)
	}
	margin := r.o.Margin
	if margin == 0 {
		margin = min(64<<20, int64(usage.TotalBytes/10)) + r.m.Total/20
	}
	if need, free := rest+margin, int64(usage.AvailBytes); need > free {
		held, err := r.heldByCurrent()
		return errors.Join(&NoRoomError{Need: need, Free: free, Held: held}, err)
	}
	return nil
}

// heldByCurrent adds up the sizes of the files of the current generation.
func (r *receiver) heldByCurrent() (total int64, err error) {
	g := r.o.Meta.State().Generation
	for _, dir := range []string{r.o.Meta.StateDir(g), r.o.Meta.LogDir(g)} {
		names, err := r.o.FS.List(dir)
		if err != nil && !durable.IsNotExist(err) {
			return 0, fmt.Errorf("list %s: %w", dir, err)
		}
		for _, n := range names {
			// An estimate: files come and go while the state machine works.
			if info, err := r.o.FS.Stat(r.o.FS.PathJoin(dir, n)); err == nil && !info.IsDir() {
				total += info.Size()
			}
		}
	}
	return total, nil
}
