package resp

import (
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

type adder = func(key string, value any)

func (s *Server) infoServer(add adder) {
	up := s.opt.Now().Sub(s.started)
	add("redis_version", compatVersion)
	add("redis_mode", "standalone")
	add("replicatedstore_version", s.opt.Version)
	add("os", runtime.GOOS)
	add("arch_bits", 64)
	add("go_version", runtime.Version())
	add("process_id", os.Getpid())
	add("tcp_port", s.port.Load())
	add("server_time_usec", s.opt.Now().UnixMicro())
	add("uptime_in_seconds", int64(up.Seconds()))
	add("uptime_in_days", int64(up.Hours()/24))
}

func (s *Server) infoClients(add adder) {
	add("connected_clients", s.clients.count())
	add("maxclients", s.maxClients.Load())
	add("blocked_clients", s.clients.blocked())
}

// infoMemory shows the memory that the Go runtime holds. In a build without cgo, as `make build` makes it, this includes the storage
// engine's caches and memtables; with cgo they are part of used_memory_rss only.
func (s *Server) infoMemory(add adder) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	used := samples[0].Value.Uint64()
	add("used_memory", used)
	add("used_memory_human", human(used))
	add("used_memory_runtime", samples[1].Value.Uint64()-samples[2].Value.Uint64())
	if rss, ok := residentBytes(); ok {
		add("used_memory_rss", rss)
		add("used_memory_rss_human", human(rss))
	}
	add("maxmemory", 0)
	add("maxmemory_policy", "noeviction")
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		add("go_memory_limit", limit)
	}
}

// residentBytes reads the size of the process's resident set from the kernel. It returns false on systems without /proc.
func residentBytes() (uint64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false // not Linux
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, false
	}
	return resident * uint64(os.Getpagesize()), true
}

func human(n uint64) string {
	const units = "BKMGT"
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.2f%c", f, units[i])
}

func (s *Server) infoPersistence(add adder) {
	st := s.backend.Status()
	loading := 0
	if s.backend.Machine() == nil {
		loading = 1
	}
	add("loading", loading)
	add("aof_enabled", 1)
	add("log_last_position", st.Last.Position)
	add("log_durable_position", st.Durable)
}

func (s *Server) infoStats(add adder) {
	_, failures := s.stats.errorCodes()
	add("total_connections_received", s.stats.accepted.Load())
	add("total_commands_processed", s.stats.commands())
	add("instantaneous_ops_per_sec", s.stats.opsPerSecond())
	add("total_net_input_bytes", s.stats.received.Load())
	add("total_net_output_bytes", s.stats.sent.Load())
	add("rejected_connections", s.stats.refused.Load())
	add("evicted_keys", 0)
	add("keyspace_hits", s.stats.hits.Load())
	add("keyspace_misses", s.stats.misses.Load())
	add("total_error_replies", failures)
	add("outcome_unknown", s.stats.unknown.Load())
	add("client_output_buffer_limit_disconnections", s.stats.outputLimit.Load())
}

func (s *Server) infoReplication(byLeader bool, add adder) {
	st := s.backend.Status()
	if st.Role == RoleLeading || byLeader {
		add("role", "master")
		n := 0
		for _, f := range st.Followers {
			if f.Link != LinkConnected {
				continue
			}
			add(fmt.Sprintf("slave%d", n), fmt.Sprintf("ip=%s,port=%d,state=online,offset=%d,lag=%d", f.Host, f.Port, f.Acked, f.LagMs/1000))
			n++
		}
		add("connected_slaves", n)
	} else {
		up := "down"
		if st.Link == LinkConnected {
			up = "up"
		}
		add("role", "slave")
		add("master_host", st.LeaderHost)
		add("master_port", st.LeaderPort)
		add("master_link_status", up)
		add("master_sync_in_progress", boolInt(st.Link == LinkSeeding))
		add("slave_repl_offset", st.Applied.Position)
		add("slave_read_only", 1)
		add("connected_slaves", 0)
	}
	add("master_repl_offset", st.Commit)
	add("forwarding_clients", s.stats.forwarding.Load())
	add("forwarded_commands", s.stats.forwarded.Load())
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Server) infoCPU(add adder) {
	for _, who := range []struct {
		what   int
		suffix string
	}{{syscall.RUSAGE_SELF, ""}, {syscall.RUSAGE_CHILDREN, "_children"}} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who.what, &u); err != nil {
			continue // cannot happen: getrusage fails only for invalid arguments
		}
		add("used_cpu_sys"+who.suffix, fmt.Sprintf("%.6f", time.Duration(u.Stime.Nano()).Seconds()))
		add("used_cpu_user"+who.suffix, fmt.Sprintf("%.6f", time.Duration(u.Utime.Nano()).Seconds()))
	}
}

func (s *Server) infoCommandstats(add adder) {
	s.table.each(func(c *command) {
		calls, us := c.calls.Load(), c.micros.Load()
		if calls == 0 {
			return
		}
		add("cmdstat_"+c.name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			calls, us, float64(us)/float64(calls), c.rejected.Load(), c.failed.Load()))
	})
}

func (s *Server) infoErrorstats(add adder) {
	codes, _ := s.stats.errorCodes()
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		add("errorstat_"+code, fmt.Sprintf("count=%d", codes[code]))
	}
}

// infoKeyspace shows estimates: exact numbers require reading every key, as DBSIZE does.
func (s *Server) infoKeyspace(add adder) {
	m := s.backend.Machine()
	if m == nil {
		return
	}
	k, err := m.View(m.AppliedTime()).Estimate()
	if err != nil || k.Keys == 0 {
		return
	}
	add("db0", fmt.Sprintf("keys=%d,expires=%d,avg_ttl=%d", k.Keys, k.Expiring, k.MeanTTL))
}

func (s *Server) infoReplicatedStore(add adder) {
	st := s.backend.Status()
	add("store", st.Store)
	add("member", st.Member)
	add("incarnation", st.Incarnation)
	add("member_role", st.Role)
	add("writable", boolInt(st.Writable))
	add("epoch", st.Epoch)
	add("last", st.Last)
	add("durable_position", st.Durable)
	add("commit_position", st.Commit)
	add("applied", st.Applied)
	for i, r := range st.Rules {
		add(fmt.Sprintf("rule%d", i), fmt.Sprintf("k=%d,voters=%s", r.K, voters(r)))
	}
	for i, f := range st.Followers {
		add(fmt.Sprintf("follower%d", i), fmt.Sprintf("member=%s,link=%s,voter=%d,acked=%d,applied=%d,lag_ms=%d",
			f.Member, f.Link, boolInt(f.Voter), f.Acked, f.Applied, f.LagMs))
	}
}

func voters(r replication.Rule) string {
	names := make([]string, len(r.Voters))
	for i, v := range r.Voters {
		names[i] = v.Member
	}
	return strings.Join(names, "+")
}
