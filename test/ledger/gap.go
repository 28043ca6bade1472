package ledger

import "time"

// Gap is a period in which no write was acknowledged on any connection.
type Gap struct {
	From time.Time `json:"from"` // the last acknowledgement before
	To   time.Time `json:"to"`   // the first one after, or the time of asking if there is none yet
	Open bool      `json:"open"` // there is none yet
}

// Length returns the length of the gap.
func (g Gap) Length() time.Duration { return g.To.Sub(g.From) }

// Gaps keeps every gap of at least leastGap, in order. The zero value is ready for use. It is not safe for concurrent use.
type Gaps struct {
	last time.Time // newest acknowledgement
	list []Gap
}

// leastGap is the length of the shortest gap that is kept. Anything shorter is the normal pace of the writer.
const leastGap = 10 * time.Millisecond

// Acknowledged records the arrival time of one more acknowledgement.
func (g *Gaps) Acknowledged(at time.Time) {
	if !g.last.IsZero() && at.Sub(g.last) >= leastGap {
		g.list = append(g.list, Gap{From: g.last, To: at})
	}
	if at.After(g.last) {
		g.last = at
	}
}

// Last returns when the newest acknowledgement arrived, or zero before the first one.
func (g *Gaps) Last() time.Time { return g.last }

// Worst returns the longest gap that ended after since or is still open. A gap that began before since counts from its beginning.
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
