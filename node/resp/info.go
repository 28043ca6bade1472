package resp

import (
	"fmt"
	"strings"
)

// Section is a section of INFO: a title, and lines with a key and a value.
type Section struct {
	Name string // as in "# Server"; clients may ask for it in upper or lower case
	Fill func(add func(key string, value any))
	// Extra sections are shown only by INFO ALL and INFO EVERYTHING, or if asked for by name.
	Extra bool
}

func (s *Server) sections(byLeader bool) []Section {
	return []Section{
		{Name: "Server", Fill: s.infoServer},
		{Name: "Clients", Fill: s.infoClients},
		{Name: "Memory", Fill: s.infoMemory},
		{Name: "Persistence", Fill: s.infoPersistence},
		{Name: "Stats", Fill: s.infoStats},
		{Name: "Replication", Fill: func(add adder) { s.infoReplication(byLeader, add) }},
		{Name: "CPU", Fill: s.infoCPU},
		{Name: "Modules", Fill: func(func(string, any)) {}},
		{Name: "Commandstats", Fill: s.infoCommandstats, Extra: true},
		{Name: "Errorstats", Fill: s.infoErrorstats},
		{Name: "Cluster", Fill: func(add func(string, any)) { add("cluster_enabled", 0) }},
		{Name: "Keyspace", Fill: s.infoKeyspace},
		{Name: "ReplicatedStore", Fill: s.infoReplicatedStore},
	}
}

func info(c *call) {
	wanted := map[string]bool{}
	everything := false
	for _, arg := range c.args[1:] {
		name := strings.ToLower(string(arg))
		wanted[name] = true
		everything = everything || name == "all" || name == "everything"
	}
	standard := len(wanted) == 0 || wanted["default"]
	var out strings.Builder
	for _, sec := range c.srv.sections(c.conn.byLeader) {
		if !wanted[strings.ToLower(sec.Name)] && !everything && !(standard && !sec.Extra) {
			continue
		}
		if out.Len() > 0 {
			out.WriteString("\r\n")
		}
		fmt.Fprintf(&out, "# %s\r\n", sec.Name)
		sec.Fill(func(key string, value any) { fmt.Fprintf(&out, "%s:%v\r\n", key, value) })
	}
	c.w.verbatim(out.String())
}
