// Package load puts servers under a closed loop of requests: by redis-benchmark, by etcd's own benchmark tool, and by a
// generator of its own for what neither can do (a SET followed by WAIT as one request; latencies beyond the 99th
// percentile; errors of one connection among many).
package load

import "time"

// Shape of a load.
type Shape struct {
	Command     string // "set" or "get"
	Connections int
	Pipeline    int
	Value       int // bytes
	Keys        int // drawn from uniformly
}

// Result of one run.
type Result struct {
	Rate          float64       // requests a second
	P50, P99, Max time.Duration // P99 and Max are 0 where the generator does not tell
	Requests      int           // that were answered
	Processor     time.Duration // that the generator used
}

// Quantile is the latency that the share At, from 0 to 1, of the requests did not exceed.
type Quantile struct {
	At      float64
	Latency time.Duration
}
