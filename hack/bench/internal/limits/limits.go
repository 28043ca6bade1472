// Package limits predicts how many operations per second a machine allows, from measurements of the machine and of the resources
// that one operation uses. It is pure arithmetic.
package limits

// Gauge is what the machine can do. All of it is measured in the same run as the points that it is compared with.
type Gauge struct {
	Processors int `json:"processors"`
	// Syncs[i] is how often per second each of i+1 files can be written and fdatasync'ed while the others are, too.
	Syncs []float64 `json:"syncs"`
	// DiskBytes is how many bytes per second can be written to three files in parallel, each from its beginning, including
	// fdatasync.
	DiskBytes float64 `json:"diskBytes"`
	// LoopbackBytes is how many bytes per second large requests move over loopback to a server that drops them.
	LoopbackBytes float64 `json:"loopbackBytes"`
}

// Use is what one operation uses, on average. A value of 0 means not used or not known, and limits nothing.
type Use struct {
	// Members is the number of processes that sync a log on the disk.
	Members int `json:"members"`
	// Batch is the number of operations that one fdatasync of the leader's log makes durable.
	Batch float64 `json:"batch,omitempty"`
	// AtMost means that the system does not tell how often it syncs, and that Batch is the number of operations in flight.
	AtMost bool `json:"atMost,omitempty"`
	// Processor is the CPU time of all members together, and Generator that of the load generator, in seconds.
	Processor float64 `json:"processor"`
	Generator float64 `json:"generator"`
	// DiskBytes is what reached the disk. Moved is the size of the keys and values that crossed loopback, to the leader and on to
	// every follower.
	DiskBytes float64 `json:"diskBytes,omitempty"`
	Moved     float64 `json:"moved,omitempty"`
	// Null is the rate, under the same load, of a server that answers immediately and stores nothing.
	Null float64 `json:"null,omitempty"`
}

// Names of the limits.
const (
	Fdatasync  = "disk: fdatasync"
	Sequential = "disk: bytes"
	Processor  = "CPU"
	Network    = "network"
)

// Limit is an upper bound for the rate on this machine, with its reason.
type Limit struct {
	Name string  `json:"name"`
	Rate float64 `json:"rate"` // operations per second
}

// Of returns every limit that is known.
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

// Binding returns the lowest limit, and false if there are none.
func Binding(all []Limit) (lowest Limit, ok bool) {
	for _, l := range all {
		if !ok || l.Rate < lowest.Rate {
			lowest, ok = l, true
		}
	}
	return lowest, ok
}

// syncs returns the rate for n files in parallel. Beyond the largest number measured, that one counts.
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

// least returns the smaller figure, where 0 means unknown.
func least(a, b float64) float64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
