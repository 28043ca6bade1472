package store

import (
	"fmt"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// What Estimate looks at. Values are counted because whoever reads a key reads its value, too: they are in one block.
const (
	estimateSample = 4096     // keys at most
	estimateBytes  = 4 << 20  // of keys and values, after which it ends, too,
	estimateLeast  = 64       // if it has seen so many keys,
	estimateMost   = 32 << 20 // or so many bytes
)

// estimateAge is for how long an estimate is given to others who ask, although something was applied since.
const estimateAge = 2 * time.Second

// Keyspace is about how many keys there are, and how many of them expire.
type Keyspace struct {
	Keys     int   // expired ones that were not removed yet among them
	Expiring int   // of Keys, with an expiry
	MeanTTL  int64 // ms until those expire that have not yet, on average; 0: there are none
}

// estimator remembers the newest estimate.
type estimator struct {
	mu    sync.Mutex // held while estimating, so that callers at the same time estimate once
	known bool
	last  Keyspace
	at    replication.Position // that was applied
	made  time.Time
}

// Estimate returns about how many keys are stored, in a few milliseconds as a rule: exact where they are fewer than 4096 that take less
// than 4 MiB with their values, else extrapolated from the part of the slots that so many neighbouring keys take up. Stores that keep most
// keys under few hash tags are estimated badly, and those with long values roughly: from 64 keys at least, or 32 MiB. An estimate may be
// two seconds old.
func (v View) Estimate() (Keyspace, error) {
	m, e := v.m, &v.m.estimate
	if !m.gate.enter() {
		return Keyspace{}, ErrClosed
	}
	defer m.gate.leave()
	if last, ok := e.remembered(m); ok {
		return last, nil
	}
	if err := m.settle(); err != nil { // not one after the other, where that takes long
		return Keyspace{}, fmt.Errorf("estimate keys: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.holds(m) {
		return e.last, nil
	}
	at := m.Applied().Position
	k, err := v.sample()
	if err != nil {
		return Keyspace{}, err
	}
	e.known, e.last, e.at, e.made = true, k, at, time.Now()
	return k, nil
}

// remembered returns the newest estimate, if it is new enough.
func (e *estimator) remembered(m *Machine) (Keyspace, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.holds(m)
}

// holds needs mu.
func (e *estimator) holds(m *Machine) bool {
	return e.known && (e.at == m.Applied().Position || time.Since(e.made) < estimateAge)
}

// sample estimates from the first keys.
func (v View) sample() (Keyspace, error) {
	var n, size, expiring, alive int
	var ttl int64
	at, all := point(0), true
	err := v.walk(nil, func(p point, e Entry, expired bool) bool {
		n, at, size = n+1, p, size+len(e.Key)+len(e.Value.Data)
		if e.Value.ExpireAt != 0 {
			expiring++
		}
		if e.Value.ExpireAt != 0 && !expired {
			alive++
			ttl += e.Value.ExpireAt - v.now
		}
		all = n < estimateSample && (size < estimateBytes || n < estimateLeast && size < estimateMost)
		return all
	})
	k := Keyspace{Keys: n, Expiring: expiring}
	if alive > 0 {
		k.MeanTTL = ttl / int64(alive)
	}
	if !all {
		scale := float64(endPoint) / float64(at+1)
		k.Keys, k.Expiring = int(float64(n)*scale), int(float64(expiring)*scale)
	}
	return k, err
}
