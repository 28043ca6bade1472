package store

import (
	"fmt"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// What Estimate samples. Values count too, because reading a key reads its value: they are in the same block.
const (
	estimateSample = 4096     // at most this many keys
	estimateBytes  = 4 << 20  // bytes of keys and values after which it also ends,
	estimateLeast  = 64       // if it has seen this many keys,
	estimateMost   = 32 << 20 // or this many bytes
)

// estimateAge is how long an estimate is reused although something was applied since.
const estimateAge = 2 * time.Second

// Keyspace is an estimate of how many keys there are, and how many of them expire.
type Keyspace struct {
	Keys     int   // including expired ones that have not been removed yet
	Expiring int   // those of Keys that have an expiry
	MeanTTL  int64 // mean time in ms until those expire that have not yet; 0 if there are none
}

// estimator remembers the newest estimate.
type estimator struct {
	mu    sync.Mutex // held while estimating, so that concurrent callers estimate only once
	known bool
	last  Keyspace
	at    replication.Position // applied then
	made  time.Time
}

// Estimate returns roughly how many keys are stored, usually within a few milliseconds. The result is exact for fewer
// than 4096 keys that take less than 4 MiB with their values. Otherwise it is extrapolated from the part of the slots
// that the sampled keys, which are neighbors, take up. It is bad for stores that keep most keys under few hash tags, and
// rough for stores with long values, where the sample is at least 64 keys or 32 MiB. An estimate may be two seconds old.
func (v View) Estimate() (Keyspace, error) {
	m, e := v.m, &v.m.estimate
	if !m.gate.enter() {
		return Keyspace{}, ErrClosed
	}
	defer m.gate.leave()
	if last, ok := e.remembered(m); ok {
		return last, nil
	}
	if err := m.settle(); err != nil { // before locking mu, so that callers do not wait one after another if that takes long
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

// remembered returns the newest estimate, if it is recent enough.
func (e *estimator) remembered(m *Machine) (Keyspace, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.holds(m)
}

// holds reports whether the newest estimate can be reused; mu is held.
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
