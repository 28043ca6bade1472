package snapshot

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Progress is the progress of a snapshot being received.
type Progress struct {
	ID    string
	Mark  replication.Mark
	Done  int64 // bytes held, including those of earlier attempts
	Total int64
	// Rate is in bytes per second, over the last seconds. Left is the time to the end estimated from it; -1 when unknown.
	Rate int64
	Left time.Duration
}

const (
	rateWindow     = 10 * time.Second
	sampleEvery    = time.Second
	progressPeriod = 250 * time.Millisecond
)

type sample struct {
	at   time.Time
	done int64
}

// meter turns the bytes that arrive into Progress.
type meter struct {
	p       Progress
	samples []sample // at most one a second, over rateWindow
	told    time.Time
	tell    func(Progress)
}

func newMeter(m *Manifest, done int64, now time.Time, tell func(Progress)) *meter {
	t := &meter{p: Progress{ID: m.ID, Mark: m.Mark, Total: m.Total, Left: -1}, tell: tell}
	t.add(done, now)
	return t
}

// add counts n more bytes. It reports if the last report is old enough or everything is there. Bytes that must be fetched
// again count negative.
func (t *meter) add(n int64, now time.Time) {
	t.p.Done += n
	if len(t.samples) == 0 || now.Sub(t.samples[len(t.samples)-1].at) >= sampleEvery {
		t.samples = append(t.samples, sample{now, t.p.Done})
		for len(t.samples) > 2 && now.Sub(t.samples[1].at) >= rateWindow {
			t.samples = t.samples[1:]
		}
	}
	if t.p.Done < t.p.Total && !t.told.IsZero() && now.Sub(t.told) < progressPeriod {
		return
	}
	t.told = now
	t.p.Rate, t.p.Left = 0, -1
	if span := now.Sub(t.samples[0].at); span > 0 {
		t.p.Rate = max(0, int64(float64(t.p.Done-t.samples[0].done)/span.Seconds()))
	}
	if t.p.Rate > 0 {
		t.p.Left = time.Duration(float64(t.p.Total-t.p.Done) / float64(t.p.Rate) * float64(time.Second))
	}
	t.tell(t.p)
}
