package resp

// prefetch brings what j will read into memory before the sequencer is locked, and returns what its evaluation needs.
func (r *round) prefetch(j *job) (n need) {
	if j.cmd.blind(j.args) {
		return n
	}
	keys, _ := j.cmd.keysOf(j.args)
	copies := j.cmd.copies()
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
	return n
}

// needs is what it takes to evaluate j for a value of size bytes at one of its keys. What is read to be written is bounded otherwise, unless
// it is long.
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

// manyKeys is how many keys a command or a transaction reads at most without a store.Foresight.
const manyKeys = batchCommands

// many reports whether the job reads many keys.
func (j *job) many() bool { return len(j.args) > manyKeys && j.reads() > manyKeys }

// reads is how many keys the job reads at most.
func (j *job) reads() int {
	if !j.cmd.onData() || j.cmd.blind(j.args) {
		return 0
	}
	return len(j.args) - 1
}

// ahead reads key ahead of the batch.
func (r *round) ahead(key []byte, withData bool) (size int, resident bool) {
	if r.foresight != nil {
		return r.foresight.Prefetch(key, withData)
	}
	return r.seq.Prefetch(key)
}

// renewals is how often what was foreseen is read again because it does not hold any more: where pours are that many, some of it is read
// with the sequencer locked.
const renewals = 3

func (r *round) aheadAgain() {
	for n := 0; n < renewals && r.foresight != nil; n++ {
		r.foresight.Renew()
	}
}

func (r *round) aheadEnd() {
	r.foresight.End()
	r.foresight = nil
}

// blind reports whether the command writes without reading: what it costs does not depend on what is stored.
func (c *command) blind(args [][]byte) bool {
	switch c.name {
	case "set":
		return len(args) == 3
	case "mset", "setex", "psetex":
		return true
	default:
		return len(c.keys) == 0
	}
}

// prefetchAll is prefetch for the commands of t.
func (r *round) prefetchAll(t *transaction) (n need) {
	reads := 0
	for i := range t.jobs {
		reads += t.jobs[i].reads()
	}
	if reads > manyKeys {
		r.foresight = r.seq.Foresee()
	}
	for i := range t.jobs {
		if t.jobs[i].cmd.onData() {
			n = n.and(r.prefetch(&t.jobs[i]))
		}
	}
	r.aheadAgain()
	return n
}
