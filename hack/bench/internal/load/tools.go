package load

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Redis runs redis-benchmark for n requests.
func Redis(ctx context.Context, address string, s Shape, n int) (Result, error) {
	out, used, err := redisBenchmark(ctx, address, s, n, "--csv")
	if err != nil {
		return Result{}, err
	}
	r, err := parseRedis(out)
	r.Requests, r.Processor = n, used
	return r, err
}

// RedisQuantiles runs redis-benchmark for n requests and returns the whole distribution of their latencies.
func RedisQuantiles(ctx context.Context, address string, s Shape, n int) ([]Quantile, error) {
	out, _, err := redisBenchmark(ctx, address, s, n, "--precision", "3")
	if err != nil {
		return nil, err
	}
	return parseQuantiles(out, redisQuantile, time.Millisecond)
}

func redisBenchmark(ctx context.Context, address string, s Shape, n int, more ...string) ([]byte, time.Duration, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	return output(ctx, append([]string{"redis-benchmark", "-h", host, "-p", port, "-t", s.Command, "-n", strconv.Itoa(n), "-r", strconv.Itoa(s.Keys),
		"-c", strconv.Itoa(s.Connections), "-P", strconv.Itoa(s.Pipeline), "-d", strconv.Itoa(s.Value)}, more...)...)
}

// parseRedis reads redis-benchmark's CSV: a header, and one row with the rate and latencies in milliseconds.
func parseRedis(out []byte) (r Result, err error) {
	at := bytes.Index(out, []byte(`"test"`)) // warnings may come before
	if at < 0 {
		return r, fmt.Errorf("redis-benchmark said %q", out)
	}
	rows, err := csv.NewReader(bytes.NewReader(out[at:])).ReadAll()
	if err != nil || len(rows) != 2 {
		return r, fmt.Errorf("redis-benchmark's table has %d rows: %w", len(rows), err)
	}
	field := func(name string) float64 {
		for i, column := range rows[0] {
			if column == name {
				f, perr := strconv.ParseFloat(rows[1][i], 64)
				err = perr
				return f
			}
		}
		err = fmt.Errorf("redis-benchmark's table has no column %s", name)
		return 0
	}
	ms := func(name string) time.Duration { return time.Duration(field(name) * float64(time.Millisecond)) }
	return Result{Rate: field("rps"), P50: ms("p50_latency_ms"), P99: ms("p99_latency_ms"), Max: ms("max_latency_ms")}, err
}

// Etcd runs etcd's benchmark tool for n puts, sent to the leader.
func Etcd(ctx context.Context, binary string, endpoints []string, s Shape, n int) (Result, error) {
	out, used, err := etcdBenchmark(ctx, binary, endpoints, s, n)
	if err != nil {
		return Result{}, err
	}
	r, err := parseEtcd(out)
	r.Requests, r.Processor = n, used
	return r, err
}

// EtcdQuantiles runs etcd's benchmark tool for n puts and returns the latency distribution that it reports.
func EtcdQuantiles(ctx context.Context, binary string, endpoints []string, s Shape, n int) ([]Quantile, error) {
	out, _, err := etcdBenchmark(ctx, binary, endpoints, s, n)
	if err != nil {
		return nil, err
	}
	return parseQuantiles(out, etcdQuantile, time.Second)
}

func etcdBenchmark(ctx context.Context, binary string, endpoints []string, s Shape, n int) ([]byte, time.Duration, error) {
	c := strconv.Itoa(s.Connections)
	return output(ctx, binary, "put", "--endpoints", strings.Join(endpoints, ","), "--target-leader", "--conns", c, "--clients", c,
		"--total", strconv.Itoa(n), "--key-size", "16", "--key-space-size", strconv.Itoa(s.Keys), "--val-size", strconv.Itoa(s.Value))
}

var (
	etcdRate = regexp.MustCompile(`Requests/sec:\s*([0-9.]+)`)
	etcdP50  = regexp.MustCompile(`50% in ([0-9.]+) secs`)
	etcdP99  = regexp.MustCompile(`99% in ([0-9.]+) secs`)
	etcdMax  = regexp.MustCompile(`Slowest:\s*([0-9.]+) secs`)
)

func parseEtcd(out []byte) (r Result, err error) {
	field := func(re *regexp.Regexp) float64 {
		m := re.FindSubmatch(out)
		if m == nil {
			err = fmt.Errorf("etcd's benchmark did not say %s: %q", re, out)
			return 0
		}
		f, perr := strconv.ParseFloat(string(m[1]), 64)
		if perr != nil {
			err = perr
		}
		return f
	}
	seconds := func(re *regexp.Regexp) time.Duration { return time.Duration(field(re) * float64(time.Second)) }
	r = Result{Rate: field(etcdRate), P50: seconds(etcdP50), P99: seconds(etcdP99), Max: seconds(etcdMax)}
	return r, err
}

// The lines of the tools' latency distributions: a share in percent, and the latency.
var (
	redisQuantile = regexp.MustCompile(`(?m)^([0-9.]+)% <= ([0-9.]+) milliseconds \(cumulative count [0-9]+\)$`)
	etcdQuantile  = regexp.MustCompile(`(?m)^\s*([0-9.]+)% in ([0-9.]+) secs`)
)

// parseQuantiles reads the matching lines, up to the first whose share is lower than the previous one: redis-benchmark continues
// with a table of the same form that is ordered by latency.
func parseQuantiles(out []byte, line *regexp.Regexp, unit time.Duration) (all []Quantile, err error) {
	for _, m := range line.FindAllSubmatch(out, -1) {
		share, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return nil, err
		}
		latency, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && share/100 < all[n-1].At {
			break
		}
		all = append(all, Quantile{share / 100, time.Duration(latency * float64(unit))})
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("no distribution of latencies in %q", out)
	}
	return all, nil
}

// output runs a program and returns its output and the CPU time that it used.
func output(ctx context.Context, argv ...string) ([]byte, time.Duration, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("run %s: %w: %s", argv[0], err, strings.TrimSpace(said.String()))
	}
	return out, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
