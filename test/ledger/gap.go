package ledger

import "time"

// Gap is a time in which no write was acknowledged on any connection.
type Gap struct {
	From time.Time `json:"from"` // the last acknowledgement before
	To   time.Time `json:"to"`   // the first one after; the time of asking while there is none
	Open bool      `json:"open"` // there is none yet
}

// Length of the gap.
func (g Gap) Length() time.Duration { return g.To.Sub(g.From) }

// Gaps keeps every gap worth telling, in order. The zero value is ready; it is not safe for concurrent use.
type Gaps struct {
	last time.Time // newest acknowledgement
	list []Gap
}

// leastGap is the shortest one kept: below it a gap is the pace of the writer.
const leastGap = 10 * time.Millisecond

// Acknowledged takes the time at which one more acknowledgement arrived.
func (g *Gaps) Acknowledged(at time.Time) {
	if !g.last.IsZero() && at.Sub(g.last) >= leastGap {
		g.list = append(g.list, Gap{From: g.last, To: at})
	}
	if at.After(g.last) {
		g.last = at
	}
}

// Last is when the newest acknowledgement arrived; zero before the first.
func (g *Gaps) Last() time.Time { return g.last }

// Worst is the longest gap that ended, or goes on, after since; one that had begun before counts from its beginning.
func (g *Gaps) Worst(since, now time.Time) Gap {
	var w Gap
	for _, one := range g.list {
		if one.To.After(since) && one.Length() > w.Length() {
			w = one
		}
	}
	if open := (Gap{From: g.last, To: now, Open: true}); !g.last.IsZero() && open.Length() > max(w.Length(), leastGap) {
		w = open
	}
	return w
}
