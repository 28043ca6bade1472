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
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Result{}, err
	}
	out, err := output(ctx, "redis-benchmark", "-h", host, "-p", port, "-t", s.Command, "-n", strconv.Itoa(n), "-r", strconv.Itoa(s.Keys),
		"-c", strconv.Itoa(s.Connections), "-P", strconv.Itoa(s.Pipeline), "-d", strconv.Itoa(s.Value), "--csv")
	if err != nil {
		return Result{}, err
	}
	return parseRedis(out)
}

// parseRedis reads redis-benchmark's CSV: a header, and one row with rate and milliseconds.
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
	c := strconv.Itoa(s.Connections)
	out, err := output(ctx, binary, "put", "--endpoints", strings.Join(endpoints, ","), "--target-leader", "--conns", c, "--clients", c,
		"--total", strconv.Itoa(n), "--key-size", "16", "--key-space-size", strconv.Itoa(s.Keys), "--val-size", strconv.Itoa(s.Value))
	if err != nil {
		return Result{}, err
	}
	return parseEtcd(out)
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

func output(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", argv[0], err, strings.TrimSpace(said.String()))
	}
	return out, nil
}
