package resp

import (
	"errors"
	"slices"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// prefetch reads what j will need into memory before the sequencer is locked, and returns how much memory the evaluation takes. A hasty
// round does not read: it sets stuck if something is not in memory.
//
// Each long value is read once, however many commands of the batch name its key.
func (r *round) prefetch(j *job) (n need) {
	if j.cmd.blind(j.args) {
		return n
	}
	keys, _ := j.cmd.keysOf(j.args)
	copies := j.cmd.copies(j.args)
	for _, k := range keys {
		if r.conn.killed.Load() {
			return n
		}
		key := j.args[k.index]
		if r.hasty {
			if size, resident := r.seq.Resident(key); !resident || size > largeBuffer && copies {
				r.stuck, r.cold = true, true
				return n
			}
			continue
		}
		size, resident := r.ahead(key, copies)
		if !resident {
			r.cold = true
		}
		if copies {
			n = n.and(j.needs(size))
		}
	}
	return r.most(n)
}

// most bounds n by what the evaluation can take: replies end at the output limit, and what is written at the longest entry.
func (r *round) most(n need) need {
	if r.out.limit > 0 {
		n.reply = min(n.reply, r.out.limit)
	}
	n.toWrite = min(n.toWrite, store.MaxEntryBytes)
	return n
}

// needs returns the memory that it takes to evaluate j if one of its keys holds a value of size bytes. Values that a write only reads in
// order to write them count only if they are long; otherwise they are bounded already.
func (j *job) needs(size int) need {
	n := need{size: size}
	switch long := size > largeBuffer; {
	case j.cmd.has(flagReadonly), long && j.cmd.has(flagWrite) && j.cmd.tells(j.args):
		n.reply = size
	case long && j.cmd.has(flagWrite):
		n.toWrite = size
	}
	return n
}

// manyKeys is the number of keys above which a command or a transaction uses a store.Foresight for its reads.
const manyKeys = batchCommands

// many reports whether the job reads many keys.
func (j *job) many() bool { return len(j.args) > manyKeys && j.reads() > manyKeys }

// reads returns an upper bound on the number of keys that the job reads.
func (j *job) reads() int {
	if !j.cmd.onData() && j.cmd.name != "watch" || j.cmd.blind(j.args) {
		return 0
	}
	return len(j.args) - 1
}

// longValue is what is known of a value above largeBuffer that was read ahead.
type longValue struct {
	size int  // bytes
	head bool // it was read for a command that needs no more than its head, and so put into the foresight
}

// ahead reads key ahead of the batch, through the foresight if there is one. It returns the value's size in bytes, and whether it was in
// memory already.
//
// Long values are not kept in memory. A command that needs only the head of one finds it in a foresight, which is made if need be.
func (r *round) ahead(key []byte, withData bool) (size int, resident bool) {
	before, seen := r.long[string(key)]
	if seen && (withData || before.head) {
		return before.size, true
	}
	if size = before.size; !seen && r.foresight == nil {
		size, resident = r.seq.Prefetch(key)
	}
	if !withData && size > largeBuffer && r.foresight == nil {
		r.foresight = r.seq.Foresee()
	}
	if r.foresight != nil {
		size, resident = r.foresight.Prefetch(key, withData)
	}
	if size > largeBuffer {
		if r.long == nil {
			r.long = map[string]longValue{}
		}
		r.long[string(key)] = longValue{size, !withData}
	}
	return size, resident
}

// renewals is how often the reads of a foresight are repeated if they no longer hold. If the store pours recent writes into the database
// more often than that, some of the keys are read with the sequencer locked.
const renewals = 3

// aheadAgain repeats the reads of the foresight, if there is one, as far as they no longer hold.
func (r *round) aheadAgain() {
	for n := 0; n < renewals && r.foresight != nil; n++ {
		r.foresight.Renew()
	}
}

func (r *round) aheadEnd() {
	r.foresight.End()
	r.foresight, r.long = nil, nil
}

// blind reports whether the command reads no keys, so that its cost does not depend on what is stored.
func (c *command) blind(args [][]byte) bool {
	switch c.name {
	case "set":
		return len(args) == 3 || !readsFirst(args[3:])
	case "mset", "setex", "psetex":
		return true
	default:
		return len(c.keys) == 0
	}
}

// readsFirst reports whether SET with these options reads the key.
func readsFirst(options [][]byte) bool {
	return slices.ContainsFunc(options, func(arg []byte) bool {
		return is(arg, "NX") || is(arg, "XX") || is(arg, "GET") || is(arg, "KEEPTTL")
	})
}

// defaultMostRead bounds what one transaction may read of values that it copies, in bytes: nobody else can write in the meantime. It is
// more than the longest replies and the longest entry together, unless client-output-buffer-limit was raised.
const defaultMostRead = 2 << 30

const errReads = "ERR its commands read more than 2 GiB of values, which would hold up other clients; split it"

// errReadMore is the fault of a transaction that turns out to read more than Server.mostRead, because values have become longer since they were
// read ahead.
var errReadMore = errors.New(errReads)

// readsTooMuch reports whether a transaction that needs n must not be run.
func (r *round) readsTooMuch(n need) bool { return int64(n.size) > r.srv.mostRead.Load() }

// prefetchAll is prefetch for all commands of t. It ends early if they read too much.
func (r *round) prefetchAll(t *transaction) (n need) {
	reads := 0
	for i := range t.jobs {
		reads += t.jobs[i].reads()
	}
	if reads > manyKeys {
		r.foresight = r.seq.Foresee()
	}
	for i := range t.jobs {
		if r.readsTooMuch(n) {
			return n
		}
		if t.jobs[i].cmd.onData() {
			n = n.and(r.prefetch(&t.jobs[i]))
		}
	}
	r.aheadAgain()
	return r.most(n)
}
