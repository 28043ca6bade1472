package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

const (
	repairPeriod = 100 * time.Millisecond
	linePeriod   = time.Second
	restartAfter = 2 * time.Second // long enough to see the store without the member
)

// watch repairs the store and shows its state until ctx ends. The state is one line, which it rewrites on a terminal and otherwise
// prints on change.
func watch(ctx context.Context, out io.Writer, f *fleet.Fleet, repair bool) error {
	tick := time.NewTicker(repairPeriod)
	defer tick.Stop()
	v := &view{out: out, terminal: isTerminal(out)}
	dead := make(map[int]time.Time)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			v.deaths(f, dead, now)
			if repair {
				v.repair(ctx, f, dead, now)
			}
			v.show(line(f, f.Statuses(ctx)), now)
		}
	}
}

// view prints events as lines that stay, and the state as one line that is rewritten.
type view struct {
	out      io.Writer
	terminal bool
	shown    string
	shownAt  time.Time
	trouble  string // reported only once
}

func (v *view) deaths(f *fleet.Fleet, dead map[int]time.Time, now time.Time) {
	for i, m := range f.Members() {
		if _, known := dead[i]; !f.Alive(i) && !known {
			dead[i] = now
			v.say("%s (process %d) has ended; its log is %s", m.Name, f.Pid(i), m.Log)
		}
	}
}

func (v *view) repair(ctx context.Context, f *fleet.Fleet, dead map[int]time.Time, now time.Time) {
	if leader := f.Leader(); leader >= 0 && !f.Alive(leader) || v.deposed(ctx, f) {
		begun := time.Now()
		if err := f.Promote(ctx); err != nil {
			v.complain(err)
		} else {
			v.say("%s leads epoch %d, chosen in %v", f.Members()[f.Leader()].Name, f.Epoch(), time.Since(begun).Round(time.Millisecond))
		}
	}
	for i, since := range dead {
		if now.Sub(since) < restartAfter {
			continue
		}
		if err := f.Restart(i); err != nil {
			v.complain(err)
			continue
		}
		delete(dead, i)
		v.say("%s is started again (process %d)", f.Members()[i].Name, f.Pid(i))
	}
	if err := f.Tend(ctx); err != nil {
		v.complain(err)
	} else {
		v.trouble = ""
	}
}

// deposed reports whether the leader's process lives but does not lead: it was restarted before anybody noticed.
func (v *view) deposed(ctx context.Context, f *fleet.Fleet) bool {
	leader := f.Leader()
	if leader < 0 {
		return true
	}
	st, err := f.Members()[leader].Status(ctx)
	return err == nil && st.Role != wire.RoleLeader
}

func (v *view) complain(err error) {
	if text := err.Error(); text != v.trouble {
		v.trouble = text
		v.say("%s", text)
	}
}

func (v *view) say(format string, args ...any) {
	if v.terminal && v.shown != "" {
		fmt.Fprint(v.out, "\r\x1b[K")
	}
	fmt.Fprintf(v.out, "%s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
	v.shown = ""
}

func (v *view) show(text string, now time.Time) {
	if text == v.shown || now.Sub(v.shownAt) < linePeriod && v.shown != "" {
		return
	}
	v.shown, v.shownAt = text, now
	if v.terminal {
		fmt.Fprint(v.out, "\r\x1b[K"+text)
		return
	}
	fmt.Fprintln(v.out, text)
}

// line formats the state in one line, e.g. "epoch 2: local-1 leads at 1041 | local-2 voter, 0 behind | local-3 away".
func line(f *fleet.Fleet, sts []*wire.Status) string {
	leader := f.Leader()
	if leader < 0 || sts[leader] == nil {
		return "no leader"
	}
	lead := sts[leader]
	parts := []string{fmt.Sprintf("epoch %d: %s leads at %d", lead.Epoch, lead.Member, lead.Commit)}
	if !lead.Writable {
		parts[0] += ", not writable"
	}
	voters := map[string]bool{}
	for _, r := range lead.Rules {
		for _, v := range r.Voters {
			voters[v.Member] = true
		}
	}
	for i, m := range f.Members() {
		st := sts[i]
		switch {
		case i == leader:
		case st == nil:
			parts = append(parts, m.Name+" away")
		case st.Seeding != nil:
			parts = append(parts, fmt.Sprintf("%s seeding %d MiB", m.Name, st.Seeding.DoneBytes>>20))
		default:
			kind := "not a voter"
			if voters[m.Name] {
				kind = "voter"
			}
			parts = append(parts, fmt.Sprintf("%s %s, %d behind", m.Name, kind, max(0, int64(lead.Durable.Position)-int64(st.Durable.Position))))
		}
	}
	return strings.Join(parts, " | ")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func split(address string) (host, port string) {
	host, port, _ = net.SplitHostPort(address) // the address comes from a listener
	return host, port
}
