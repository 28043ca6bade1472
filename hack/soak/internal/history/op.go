package history

import "fmt"

// Kind is a kind of operation on a register.
type Kind string

// The operations, with their Redis commands.
const (
	Get     Kind = "get"  // GET
	Set     Kind = "set"  // SET value
	Swap    Kind = "swap" // SET value GET: returns the previous value
	SetNew  Kind = "nx"   // SET value NX
	Delete  Kind = "del"  // DEL
	invalid Kind = ""
)

// Op is one operation on a register. Times are in nanoseconds on the monotonic clock of the process that recorded it.
type Op struct {
	Client int    `json:"c"`
	Kind   Kind   `json:"o"`
	Key    string `json:"k"`
	Arg    string `json:"a,omitempty"` // the value written, unique in a run
	Call   int64  `json:"i"`
	Return int64  `json:"r,omitempty"` // 0: the outcome is unknown, so the operation may take effect any time after Call
	Found  bool   `json:"f,omitempty"` // Get, Swap: there was a value. SetNew: it was set. Delete: there was something
	Value  string `json:"v,omitempty"` // Get, Swap: the value found
	Via    string `json:"m,omitempty"` // what was asked: a Service, or a member by its name
}

// Open reports whether the outcome is unknown.
func (o Op) Open() bool { return o.Return == 0 }

// Final is the Via of the final read that every key gets at the end of a run.
const Final = "final"

func (o Op) String() string {
	call := map[Kind]string{
		Get: "GET", Set: "SET " + o.Arg, Swap: "SET " + o.Arg + " GET", SetNew: "SET " + o.Arg + " NX", Delete: "DEL",
	}[o.Kind]
	switch {
	case o.Open():
		return call + " -> ?"
	case o.Kind == Set:
		return call + " -> OK"
	case o.Kind == SetNew, o.Kind == Delete:
		return fmt.Sprintf("%s -> %v", call, o.Found)
	case !o.Found:
		return call + " -> nil"
	}
	return call + " -> " + o.Value
}

// View is what one connection to a member read of a pair of keys, in one command. The pair's writer sets First to 1, then Second
// to 1, then First to 2, and so on, each after the previous write was acknowledged. When an outcome is unknown, the writer begins
// another pair. So at every moment First is Second or one more.
type View struct {
	Connection string `json:"c"` // unique for each connection that was ever made
	Pair       string `json:"p"`
	First      int64  `json:"1"` // 0: absent
	Second     int64  `json:"2"`
	Begun      int64  `json:"b"` // the writer's current number when the answer had arrived
	Call       int64  `json:"i"`
	Return     int64  `json:"r"`
}
