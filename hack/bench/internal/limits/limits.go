// Package limits predicts how many operations a second a machine allows, from what the machine was seen to be able to do
// and from what one operation was seen to use. It is arithmetic only.
package limits

// Gauge is what the machine can do. All of it is measured in the run whose points it is put beside.
type Gauge struct {
	Processors int `json:"processors"`
	// Syncs[i] is how often a second each of i+1 files can be written to and fdatasync'ed while the others are too.
	Syncs []float64 `json:"syncs"`
	// DiskBytes is how many bytes a second can be written to three files at once, each from its beginning on, fdatasync included.
	DiskBytes float64 `json:"diskBytes"`
	// LoopbackBytes is how many bytes a second large requests move over loopback to a server that drops them.
	LoopbackBytes float64 `json:"loopbackBytes"`
}

// Use is what one operation used, on average. What is 0 was not used or is not known, and limits nothing.
type Use struct {
	// Members is how many processes sync a log on the disk.
	Members int `json:"members"`
	// Batch is how many operations one fdatasync of the leader's log made durable.
	Batch float64 `json:"batch,omitempty"`
	// AtMost: the system does not tell how often it syncs, and Batch is what can be on its way at once.
	AtMost bool `json:"atMost,omitempty"`
	// Processor is the processor time of all members together, and Generator that of the load generator, in seconds.
	Processor float64 `json:"processor"`
	Generator float64 `json:"generator"`
	// DiskBytes is what reached the disk, and Moved the keys and values that crossed loopback: to the
	// leader, and on to every follower.
	DiskBytes float64 `json:"diskBytes,omitempty"`
	Moved     float64 `json:"moved,omitempty"`
	// Null is the rate of a server that answers at once and stores nothing, under the same load.
	Null float64 `json:"null,omitempty"`
}

// Names of limits.
const (
	Fdatasync  = "disk: fdatasync"
	Sequential = "disk: bytes"
	Processor  = "CPU"
	Network    = "network"
)

// Limit is the rate above which nothing can go on this machine, and why.
type Limit struct {
	Name string  `json:"name"`
	Rate float64 `json:"rate"` // operations a second
}

// Of lists every limit that is known.
func (g Gauge) Of(u Use) (all []Limit) {
	add := func(name string, rate float64) {
		if rate > 0 {
			all = append(all, Limit{name, rate})
		}
	}
	add(Fdatasync, g.syncs(u.Members)*u.Batch)
	add(Sequential, per(g.DiskBytes, u.DiskBytes))
	add(Processor, per(float64(g.Processors), u.Processor+u.Generator))
	add(Network, least(u.Null, per(g.LoopbackBytes, u.Moved)))
	return all
}

// Binding is the lowest of limits; false when there are none.
func Binding(all []Limit) (lowest Limit, ok bool) {
	for _, l := range all {
		if !ok || l.Rate < lowest.Rate {
			lowest, ok = l, true
		}
	}
	return lowest, ok
}

// syncs of each of n files at once: of the most that was tried where n is more.
func (g Gauge) syncs(n int) float64 {
	n = min(n, len(g.Syncs))
	if n < 1 {
		return 0
	}
	return g.Syncs[n-1]
}

func per(whole, part float64) float64 {
	if part <= 0 {
		return 0
	}
	return whole / part
}

// least of two figures of which 0 is not known.
func least(a, b float64) float64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
