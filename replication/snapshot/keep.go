package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication/volume"
)

// Sweep removes the checkpoints that nobody has used for as long as linger. Call it now and then.
func (s *Source) Sweep() error {
	now := s.o.Now()
	s.mu.Lock()
	var gone []*checkpoint
	s.checkpoints = slices.DeleteFunc(s.checkpoints, func(c *checkpoint) bool {
		idle := c.users == 0 && now.Sub(c.lastUsed) >= linger
		if idle {
			gone = append(gone, c)
		}
		return idle
	})
	s.mu.Unlock()
	return s.remove(gone)
}

// Spare gives up what checkpoints hold of a volume of this level: nearly full, those that nobody is being sent, and the log
// after the others, which nobody else is sent then; full, none is made either, and the caller ends what is under way. Files are removed
// by remove, nil where there are none, which may take as long as the disk takes. It costs nothing to call it often.
func (s *Source) Spare(l volume.Level) (remove func() error) {
	s.mu.Lock()
	s.level = l
	var gone, spared []*checkpoint
	if l != volume.Ample {
		spared = slices.Clone(s.checkpoints)
		s.checkpoints = slices.DeleteFunc(s.checkpoints, func(c *checkpoint) bool {
			if c.spared = true; c.users == 0 {
				gone = append(gone, c)
			}
			return c.users == 0
		})
	}
	s.mu.Unlock()
	for _, c := range spared {
		c.release()
	}
	if len(gone) == 0 {
		return nil
	}
	s.o.Logf("the volume is %s: removing %d checkpoints that nobody is being sent", strings.ToLower(l.String()), len(gone))
	return func() error { return s.remove(gone) }
}

func (s *Source) remove(gone []*checkpoint) error {
	var errs []error
	for _, c := range gone {
		c.release()
		if err := s.o.FS.RemoveAll(c.dir); err != nil {
			errs = append(errs, fmt.Errorf("remove checkpoint %s: %w", c.dir, err))
		}
	}
	return errors.Join(errs...)
}

// makeRoom removes the oldest unused checkpoints until a new one fits the bound.
func (s *Source) makeRoom() error {
	s.mu.Lock()
	var gone []*checkpoint
	for i := 0; i < len(s.checkpoints) && len(s.checkpoints) >= mostKept; {
		if s.checkpoints[i].users > 0 {
			i++
			continue
		}
		gone = append(gone, s.checkpoints[i])
		s.checkpoints = slices.Delete(s.checkpoints, i, i+1)
	}
	s.mu.Unlock()
	return s.remove(gone)
}

// done ends a use of c. One that holds no log any more goes with its last user, and so does one that was refused and that nobody has begun with.
func (s *Source) done(c *checkpoint, refused bool) {
	now := s.o.Now()
	s.mu.Lock()
	c.users--
	c.lastUsed = now
	gone := (c.spared || refused && !c.begun) && c.users == 0
	if gone {
		s.checkpoints = slices.DeleteFunc(s.checkpoints, func(other *checkpoint) bool { return other == c })
	}
	s.mu.Unlock()
	if !gone {
		return
	}
	if err := s.remove([]*checkpoint{c}); err != nil {
		s.o.Logf("%v", err)
	}
}

// Checkpoints counts those on disk.
func (s *Source) Checkpoints() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checkpoints)
}
