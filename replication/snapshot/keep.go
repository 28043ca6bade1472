package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication/volume"
)

// Sweep removes the checkpoints that have been unused for linger or longer. Call it now and then.
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

// Spare gives up what checkpoints hold on a volume of level l. On a nearly full volume, checkpoints that are not being sent
// go, and the others stop pinning the log and are sent to nobody else. On a full volume none is made either, and the caller
// ends the seeds that are under way. The returned function removes the files, which may take as long as the disk takes; it
// is nil if there are none. Spare is cheap enough to be called often.
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
	s.o.Logf("the volume is %s: removing %d checkpoints that are not being sent", strings.ToLower(l.String()), len(gone))
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

// makeRoom removes the oldest unused checkpoints until there is room for a new one within mostKept.
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

// done ends one use of c. With its last user, c is removed if it no longer pins the log, or if it was refused and nobody
// has received part of it.
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

// Checkpoints returns the number of checkpoints on disk.
func (s *Source) Checkpoints() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checkpoints)
}
