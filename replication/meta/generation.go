package meta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// LogDir returns the directory of the log of a generation.
func (s *Store) LogDir(generation uint64) string {
	return s.path(logPrefix + strconv.FormatUint(generation, 10))
}

// StateDir returns the directory of the state machine of a generation.
func (s *Store) StateDir(generation uint64) string {
	return s.path(statePrefix + strconv.FormatUint(generation, 10))
}

// QuarantineDir returns the directory that keeps records cut from the logs of all generations.
func (s *Store) QuarantineDir() string { return s.path("quarantine") }

// Dir returns the data directory.
func (s *Store) Dir() string { return s.dir }

// makeGeneration recreates the directories of a generation, and fills them with an empty log and state.
func (s *Store) makeGeneration(g uint64) error {
	for _, dir := range []string{s.LogDir(g), s.StateDir(g)} {
		if err := s.fs.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		if err := durable.MkdirAll(s.fs, dir); err != nil {
			return err
		}
	}
	if s.opt.Init == nil {
		return nil
	}
	return s.opt.Init(s.LogDir(g), s.StateDir(g))
}

// StartOver gives up log and state: an empty generation becomes current, and the member needs a seed, which becomes the
// next generation. It is for a volume that cannot hold the old state and a seed side by side. The change is atomic: a crash
// leaves the old state, or a member that knows it holds nothing. Afterwards RemoveObsolete frees the space. The current
// directories must have been closed before.
func (s *Store) StartOver() error {
	g := s.State().Generation + 1
	if seed := s.State().Seed; seed != nil {
		g = seed.Generation
		// The seed's files make way for the empty generation, so they must no longer pass for a seed.
		if err := s.Update(func(st *State) { st.Seed = nil }); err != nil {
			return err
		}
	}
	if err := s.makeGeneration(g); err != nil {
		return fmt.Errorf("start over with generation %d: %w", g, err)
	}
	return s.Update(func(st *State) {
		st.Generation = g
		st.Seed = &Seed{Generation: g + 1, Dropped: true}
		st.Promises = st.Promises.Replaced(true)
	})
}

// Install makes the generation of a completely received seed current. If the seed was needed (Promises.NeedSeed), the
// member continues under a new incarnation: what the old one held is gone, and the seed, which ends where its source had
// applied the log, need not reach as far as the old one had acknowledged.
func (s *Store) Install() error {
	incarnation := s.opt.NewIncarnation()
	return s.update(func(st *State) {
		if st.Promises.NeedSeed {
			st.Incarnation = incarnation
		}
		st.Generation, st.Seed, st.Promises = st.Seed.Generation, nil, st.Promises.Replaced(false)
	}, State.checkRenewed)
}

// generationOf returns the generation that the directory of this name belongs to.
func generationOf(name string) (uint64, bool) {
	for _, prefix := range []string{logPrefix, statePrefix} {
		if digits, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.ParseUint(digits, 10, 64)
			return n, err == nil && n > 0
		}
	}
	return 0, false
}

// RemoveObsolete removes the directories of every generation that is neither current nor being seeded, and returns their
// names. Nobody may have them open. What it leaves unfinished, the next call completes.
func (s *Store) RemoveObsolete() ([]string, error) {
	st := s.State()
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var removed []string
	for _, n := range names {
		g, ok := generationOf(n)
		keep := g == st.Generation || st.Seed != nil && g == st.Seed.Generation
		if !ok || keep {
			continue
		}
		if err := s.fs.RemoveAll(s.path(n)); err != nil {
			return removed, fmt.Errorf("remove obsolete generation %s: %w", n, err)
		}
		removed = append(removed, n)
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, durable.SyncDir(s.fs, s.dir)
}
