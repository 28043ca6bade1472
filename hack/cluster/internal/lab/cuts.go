package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
)

const cutsFile = "cuts.json"

// Cut stops traffic between machine and peer, or between machine and everyone if peer is fabric.All.
func (l *Lab) Cut(machine, peer string, d fabric.Direction) error {
	return l.change(func(s Spec) error {
		for _, name := range []string{machine, peer} {
			if name == fabric.All && name == peer {
				continue
			}
			if _, err := s.port(name); err != nil {
				return err
			}
		}
		return l.changeCuts(func(c fabric.Cuts) (fabric.Cuts, error) { return c.Cut(machine, peer, d) })
	})
}

// Heal removes the cuts between machine and peer. If peer is empty it removes every cut of machine, and if machine is empty too,
// all cuts.
func (l *Lab) Heal(machine, peer string) error {
	return l.change(func(s Spec) error {
		if machine == "" {
			return l.changeCuts(func(fabric.Cuts) (fabric.Cuts, error) { return nil, nil })
		}
		if _, err := s.port(machine); err != nil {
			return err
		}
		return l.changeCuts(func(c fabric.Cuts) (fabric.Cuts, error) { return c.Heal(machine, peer), nil })
	})
}

func (l *Lab) cuts() (fabric.Cuts, error) {
	content, err := os.ReadFile(l.path(cutsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load cuts: %w", err)
	}
	var c fabric.Cuts
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("parse cuts: %w", err)
	}
	return c, nil
}

// changeCuts puts a new set of cuts into effect on the switch, then stores it.
func (l *Lab) changeCuts(change func(fabric.Cuts) (fabric.Cuts, error)) error {
	current, err := l.cuts()
	if err != nil {
		return err
	}
	next, err := change(current)
	if err != nil {
		return err
	}
	cmd := l.command(switchName, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(next.Ruleset())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply cuts on the switch: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return l.saveJSON(cutsFile, next)
}

// command prepares argv to run on a machine. It runs it through this program, because entering a machine costs the entering
// process a thread.
func (l *Lab) command(machine string, argv ...string) *exec.Cmd {
	return exec.Command(l.Program(), append([]string{"--state", l.dir, "exec", machine, "--"}, argv...)...)
}
