package meta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// LogDir and StateDir are the directories of a generation.
func (s *Store) LogDir(generation uint64) string {
	return s.path(logPrefix + strconv.FormatUint(generation, 10))
}

// StateDir is where the state machine of a generation lives.
func (s *Store) StateDir(generation uint64) string {
	return s.path(statePrefix + strconv.FormatUint(generation, 10))
}

// QuarantineDir is where records cut from logs of any generation are kept.
func (s *Store) QuarantineDir() string { return s.path("quarantine") }

// Dir is the data directory.
func (s *Store) Dir() string { return s.dir }

// makeGeneration makes the directories of a generation anew, and fills them with an empty log and state.
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

// StartOver gives up log and state: an empty generation becomes current, and the member needs a seed, from which it gets
// the next one. It is for a volume that cannot hold the old state and a seed beside each other. All of it is one step, so
// that a crash leaves the old state, or a member that knows it holds nothing; afterwards RemoveObsolete frees the space.
// Whoever has the current directories open must have closed them.
func (s *Store) StartOver() error {
	g := s.State().Generation + 1
	if seed := s.State().Seed; seed != nil {
		g = seed.Generation
		// The files of the seed make way for the empty generation: they must not pass for a seed any more.
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

// Install puts the generation of a seed in force that was received as a whole. Where a seed was needed (Promises.NeedSeed) it does so under
// another incarnation: what the one before held is gone, and the seed, which ends where its source had applied the log, need not reach as
// far as that had acknowledged.
func (s *Store) Install() error {
	incarnation := s.opt.NewIncarnation()
	return s.update(func(st *State) {
		if st.Promises.NeedSeed {
			st.Incarnation = incarnation
		}
		st.Generation, st.Seed, st.Promises = st.Seed.Generation, nil, st.Promises.Replaced(false)
	}, State.checkRenewed)
}

// generationOf returns the generation that the file or directory of this name belongs to.
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
// names. Nobody may have them open. What it does not finish, the next call does.
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
