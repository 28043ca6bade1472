package resp

import (
	"cmp"
	"math"
)

// class tells where a job runs; see round.execute.
type class uint8

const (
	classDirect  class = iota // on the connection's goroutine, without data
	classReject               // nowhere: it is answered with an error
	classQueue                // later, by EXEC
	classRead                 // on a view, or inside the sequencer if writes before it are pending
	classBatch                // inside the sequencer
	classSettled              // after everything before it is committed, on a view
	classExec                 // EXEC
)

func (c class) String() string {
	switch c {
	case classDirect:
		return "direct"
	case classReject:
		return "reject"
	case classQueue:
		return "queue"
	case classRead:
		return "read"
	case classBatch:
		return "batch"
	case classSettled:
		return "settled"
	case classExec:
		return "exec"
	default:
		return "invalid"
	}
}

// classify decides where j runs. It has no side effects, so it may be called for jobs further ahead.
func (r *round) classify(j *job) class {
	cmd := j.cmd
	switch {
	case r.rejection(j) != "":
		return classReject
	case cmd.name == "exec" && r.conn.multi != nil:
		return classExec
	case r.conn.multi != nil && !runsInMulti(cmd):
		return classQueue
	case cmd.name == "watch" && r.seq != nil && r.conn.multi == nil:
		return classBatch
	case cmd.name == "watch":
		return classSettled
	case cmd.has(flagWrite):
		return classBatch
	case cmd.mode != modeAuto:
		return classSettled
	case cmd.has(flagReadonly) && (j.many() || cmd.name == "lcs"): // takes too long to run with the sequencer locked
		return classSettled
	case cmd.has(flagReadonly):
		return classRead
	default:
		return classDirect
	}
}

// runsInMulti reports whether the command runs at once, instead of being queued, between MULTI and EXEC.
func runsInMulti(cmd *command) bool {
	switch cmd.name {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return true
	default:
		return false
	}
}

// rejection returns the error reply to a job that must not run here and now, or "" if it may.
func (r *round) rejection(j *job) string {
	cmd := j.cmd
	switch {
	case cmd == nil:
		return unknownCommand(r.srv.table, j.args)
	case !cmd.accepts(len(j.args)):
		return arityError(cmd)
	case r.conn.parser.locked && !cmd.has(flagNoAuth):
		return errNoAuth
	case r.conn.multi != nil && cmd.has(flagNoMulti):
		return errNoMulti
	case cmd.has(flagWrite) && r.seq == nil && !r.srv.forwards():
		return errReadOnly
	default:
		return cmp.Or(r.alone(j), r.noRoom(j))
	}
}

// adds returns how many bytes a command may add to the data.
func (j *job) adds() int {
	n := argBytes(j.args)
	if j.cmd.name == "setrange" {
		offset, _ := parseInt(j.args[2])
		n += int(max(0, min(offset, math.MaxInt32)))
	}
	return n
}

// demand is the room that a command or a transaction needs on the volume; see Room.
type demand struct {
	adds     int  // bytes added to the data
	rewrites bool // rewrites existing values, as EXPIRE and RENAME do
}

func (d demand) and(o demand) demand { return demand{d.adds + o.adds, d.rewrites || o.rewrites} }

// demand returns what j needs on the volume. Commands that only remove need nothing: they are the way out of a full volume.
func (j *job) demand() demand {
	switch {
	case !j.cmd.has(flagWrite):
		return demand{}
	case j.cmd.has(flagDenyOOM):
		return demand{adds: j.adds()}
	}
	switch j.cmd.name {
	case "del", "unlink", "getdel", "flushall", "flushdb":
		return demand{}
	default:
		return demand{rewrites: true}
	}
}

// noRoom returns the error reply to a job that writes more than there is room for, or "" if there is room.
func (r *round) noRoom(j *job) string {
	if r.seq == nil {
		return ""
	}
	d := j.demand()
	if t := r.conn.multi; t != nil && j.cmd.name == "exec" {
		d = t.demand
	}
	if d == (demand{}) {
		return ""
	}
	if room := r.srv.backend.Room(); int64(d.adds) > room.Add || d.rewrites && !room.Rewrite {
		return storageFull(room.Why)
	}
	return ""
}
