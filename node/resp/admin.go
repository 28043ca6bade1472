package resp

import (
	"strconv"
	"strings"
	"time"
)

func serverTime(c *call) {
	now := c.srv.opt.Now()
	c.w.array(2)
	c.w.bulkInt(now.Unix())
	c.w.bulkInt(int64(now.Nanosecond() / 1000))
}

// role answers ROLE in Redis's format. A member that neither leads nor follows answers as a replica that is looking for its master.
func role(c *call) {
	st := c.srv.backend.Status()
	if st.Role == RoleLeading || c.conn.byLeader {
		c.w.array(3)
		c.w.text("master")
		c.w.integer(int64(st.Commit))
		online := 0
		at := c.w.mark()
		for _, f := range st.Followers {
			if f.Link != LinkConnected {
				continue
			}
			online++
			c.w.array(3)
			c.w.text(f.Host)
			c.w.bulkInt(int64(f.Port))
			c.w.bulkInt(int64(f.Acked))
		}
		c.w.insertArray(at, online)
		return
	}
	offset := int64(-1)
	if st.Link == LinkConnected {
		offset = int64(st.Applied.Position)
	}
	c.w.array(5)
	c.w.text("slave")
	c.w.text(st.LeaderHost)
	c.w.integer(int64(st.LeaderPort))
	c.w.text(st.Link.String())
	c.w.integer(offset)
}

// shutdown is always refused: the operator stops members, after it has found another leader.
func shutdown(c *call) {
	for _, arg := range c.args[1:] {
		switch {
		case is(arg, "ABORT") && len(c.args) == 2:
			c.w.fail("ERR No shutdown in progress.")
			return
		case is(arg, "NOSAVE"), is(arg, "SAVE"), is(arg, "NOW"), is(arg, "FORCE"):
		default:
			c.w.fail(errSyntax)
			return
		}
	}
	c.w.fail("ERR SHUTDOWN is refused: stop members from outside (delete the pod, scale the store, or end the process), so that a leader is replaced first")
}

const debugDisabled = `ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.`

func debugCommand(c *call) {
	switch sub := c.args[1]; {
	case !c.srv.opt.EnableDebug:
		c.w.fail(debugDisabled)
	case is(sub, "SLEEP") && len(c.args) == 3:
		debugSleep(c)
	case is(sub, "SET-ACTIVE-EXPIRE") && len(c.args) == 3:
		c.srv.backend.SetActiveExpire(string(c.args[2]) != "0")
		c.w.ok()
	case is(sub, "OBJECT") && len(c.args) == 3:
		debugObject(c)
	case is(sub, "HELP") && len(c.args) == 2:
		c.w.array(4)
		c.w.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
		c.w.simple("OBJECT <key>")
		c.w.simple("SET-ACTIVE-EXPIRE <0|1>")
		c.w.simple("SLEEP <seconds>")
	default:
		c.w.fail(unknownArity(c))
	}
}

// debugSleep delays only this connection. It never runs in a loop, so it delays no other.
func debugSleep(c *call) {
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(c.args[2])), 64)
	if err != nil || !(seconds >= 0 && seconds < 1e6) {
		c.w.fail(errNotFloat)
		return
	}
	if d := time.Duration(seconds * float64(time.Second)); d > 0 {
		ctx, done := c.blocking(d)
		<-ctx.Done()
		done()
	}
	c.w.ok()
}
