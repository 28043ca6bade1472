package resp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Param is a setting that CONFIG GET shows. Set is nil if it cannot be changed at run time. An error of Set completes the reply
// "CONFIG SET failed (possibly related to argument '...') - ".
type Param struct {
	Name string // lower case
	Get  func() string
	Set  func(string) error
}

func constant(name, value string) Param {
	return Param{Name: name, Get: func() string { return value }}
}

// params returns the settings under the names that Redis uses, so that tools that read them (redis-benchmark reads save and appendonly) see
// what is true: every acknowledged write is durable, and nothing is evicted.
func (s *Server) params() map[string]Param {
	list := []Param{
		constant("appendonly", "yes"), constant("appendfsync", "always"), constant("save", ""),
		constant("maxmemory", "0"), constant("maxmemory-policy", "noeviction"),
		constant("databases", "1"), constant("cluster-enabled", "no"), s.requirepass(),
		constant("replica-read-only", "yes"), constant("replica-serve-stale-data", "no"),
		constant("proto-max-bulk-len", strconv.Itoa(s.limits.MaxBulk)),
		constant("client-query-buffer-limit", strconv.Itoa(s.limits.MaxRequest)),
		s.intParam("maxclients", &s.maxClients, 1, 1<<20, 1),
		s.intParam("timeout", &s.idleTimeout, 0, 1<<31-1, int64(time.Second)),
		s.intParam("tcp-keepalive", &s.keepAlive, 0, 1<<31-1, int64(time.Second)),
		s.intParam("commit-timeout-ms", &s.commitTimeout, 1, 1<<31-1, int64(time.Millisecond)),
		s.outputLimitParam(),
	}
	out := make(map[string]Param, len(list))
	for _, p := range list {
		out[p.Name] = p
	}
	return out
}

// intParam returns a setting backed by an atomic integer, shown in units of unit.
func (s *Server) intParam(name string, v interface {
	Load() int64
	Store(int64)
}, least, most, unit int64) Param {
	return Param{
		Name: name,
		Get:  func() string { return strconv.FormatInt(v.Load()/unit, 10) },
		Set: func(text string) error {
			n, ok := parseInt([]byte(text))
			if !ok {
				return errors.New("argument couldn't be parsed into an integer")
			}
			if n < least || n > most {
				return fmt.Errorf("argument must be between %d and %d inclusive", least, most)
			}
			v.Store(n * unit)
			return nil
		},
	}
}

// requirepass returns the setting that shows whether there is a password, and never which.
func (s *Server) requirepass() Param {
	if s.opt.Passwords == nil {
		return constant("requirepass", "")
	}
	return constant("requirepass", "(secret)")
}

// outputLimitParam returns the setting client-output-buffer-limit, in Redis's format "<class> <hard> <soft> <soft seconds>". Only the hard
// limit of normal clients exists here.
func (s *Server) outputLimitParam() Param {
	return Param{
		Name: "client-output-buffer-limit",
		Get:  func() string { return fmt.Sprintf("normal %d 0 0", s.maxOutput.Load()) },
		Set: func(text string) error {
			f := strings.Fields(text)
			if len(f) != 4 || f[0] != "normal" || f[2] != "0" || f[3] != "0" {
				return errors.New("want 'normal <hard limit in bytes> 0 0'")
			}
			n, ok := parseInt([]byte(f[1]))
			if !ok || n < 0 {
				return errors.New("the hard limit is not a number of bytes")
			}
			s.maxOutput.Store(n)
			return nil
		},
	}
}

func configGet(c *call) {
	found := map[string]string{} // by name, as the client wrote it
	for _, arg := range c.args[2:] {
		name := strings.ToLower(string(arg))
		if _, ok := c.srv.config[name]; ok {
			found[name] = cmp.Or(found[name], string(arg))
		} else if strings.ContainsAny(name, "[*?") {
			for name := range c.srv.config {
				if globMatch(arg, []byte(name), true) {
					found[name] = cmp.Or(found[name], name)
				}
			}
		}
	}
	c.w.dict(len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c.w.text(found[name])
		c.w.text(c.srv.config[name].Get())
	}
}

// configSet changes all the given parameters or none.
func configSet(c *call) {
	if len(c.args)%2 != 0 {
		c.w.fail(errSyntax)
		return
	}
	type change struct {
		Param
		value, old string
	}
	var changes []change
	for i := 2; i < len(c.args); i += 2 {
		name := strings.ToLower(string(c.args[i]))
		p, ok := c.srv.config[name]
		if !ok {
			c.w.fail(fmt.Sprintf("ERR Unknown option or number of arguments for CONFIG SET - '%s'", clip(c.args[i], 128)))
			return
		}
		failed := ""
		if p.Set == nil {
			failed = "can't set immutable config"
		} else if owned := c.srv.opt.Owned[name]; owned != "" {
			failed = owned
		} else if slices.ContainsFunc(changes, func(ch change) bool { return ch.Name == name }) {
			failed = "duplicate parameter"
		}
		if failed != "" {
			c.w.fail(configFailed(name, failed))
			return
		}
		changes = append(changes, change{p, string(c.args[i+1]), p.Get()})
	}
	for i, ch := range changes {
		if err := ch.Set(ch.value); err != nil {
			for _, undo := range changes[:i] {
				_ = undo.Set(undo.old) // it was valid a moment ago
			}
			c.w.fail(configFailed(ch.Name, err.Error()))
			return
		}
	}
	c.w.ok()
}

func configFailed(name, why string) string {
	return fmt.Sprintf("ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, why)
}

func configResetstat(c *call) {
	c.srv.stats.reset()
	for _, cmd := range c.srv.table.order {
		cmd.resetStats()
	}
	c.w.ok()
}

// configRewrite is always refused: there is no configuration file, only flags and environment variables.
func configRewrite(c *call) { c.w.fail("ERR The server is running without a config file") }
