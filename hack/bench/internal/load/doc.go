// Package load puts servers under a closed loop of requests. It uses redis-benchmark, etcd's own benchmark tool, and its own
// generator for what neither can do (a SET followed by WAIT as one request; latencies beyond the 99th percentile; errors of one
// connection among many).
package load

import "time"

// Shape is the shape of a load.
type Shape struct {
	Command     string // "set" or "get"
	Connections int
	Pipeline    int
	Value       int // bytes
	Keys        int // drawn uniformly
}

// Result is the result of one run.
type Result struct {
	Rate          float64       // requests per second
	P50, P99, Max time.Duration // P99 and Max are 0 if the generator does not report them
	Requests      int           // answered ones
	Processor     time.Duration // CPU time of the generator
}

// Quantile is a latency that the share At, from 0 to 1, of the requests did not exceed.
type Quantile struct {
	At      float64
	Latency time.Duration
}
