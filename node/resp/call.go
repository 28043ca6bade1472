package resp

import (
	"cmp"
	"errors"
	"math"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// call is one command being executed. Handlers read its arguments, use its data methods, and write exactly one reply.
// Arguments and values are valid until the handler returns.
//
// A handler decides before it changes anything: once put, remove or removeAll was called it cannot fail any more, except
// through fault, which discards the whole transaction.
type call struct {
	srv  *Server
	conn *conn
	cmd  *command
	args [][]byte
	w    *writer
	now  int64 // unix ms by which expiry is judged

	view    store.View
	noView  bool         // there is no state to read: view must not be used
	batch   *store.Batch // nil on a view
	tx      *store.Tx    // nil outside of writes
	inExec  bool
	short   int    // see errShort
	hasty   bool   // it must not wait: what would have to sets fault to errWouldWait
	cold    bool   // it waited, or would have had to, for more than a commit: something was not in memory, followers were late
	fault   error  // of the storage, or errGone; the reply written so far is replaced
	scratch []byte // holds a value read through a view
}

// get returns the value of key. ok is false on a storage fault, which the caller need not report. The value's data is
// valid until the next get.
func (c *call) get(key []byte) (v store.Value, found, ok bool) {
	var err error
	switch {
	case c.fault != nil || c.gone():
		return v, false, false
	case c.tx != nil:
		v, found, err = c.tx.Get(key)
	case c.batch != nil:
		v, found, err = c.batch.Get(key)
	default:
		found, err = c.view.Read(key, func(val store.Value) {
			if c.affords(len(val.Data)) {
				c.scratch = append(c.scratch[:0], val.Data...)
				v = val
				v.Data = c.scratch
			}
		})
		err = cmp.Or(err, c.fault)
	}
	if err != nil {
		c.fault = err
		return store.Value{}, false, false
	}
	c.srv.stats.lookup(found)
	return v, found, true
}

// copies is how much was read inside the sequencer and is kept for the handler; forget drops what came after.
func (c *call) copies() int {
	if c.batch == nil {
		return 0
	}
	return c.batch.Copies()
}

func (c *call) forget(left int) {
	if c.batch != nil {
		c.batch.Forget(left)
	}
}

// exists is get without the value; what get returned before stays valid.
func (c *call) exists(key []byte) (found, ok bool) {
	if c.fault != nil || c.gone() {
		return false, false
	}
	switch {
	case c.tx != nil:
		found, c.fault = c.tx.Exists(key)
	case c.batch != nil:
		found, c.fault = c.batch.Exists(key)
	default:
		found, c.fault = c.view.Exists(key)
	}
	if c.fault == nil {
		c.srv.stats.lookup(found)
	}
	return found, c.fault == nil
}

// each calls use for every key in order, all from one state. The value's data is valid until use returns. False: a fault, use was not called
// for all.
func (c *call) each(keys [][]byte, use func(v store.Value, found bool)) bool {
	switch onView := c.tx == nil && c.batch == nil; {
	case onView && len(keys) == 1:
		return c.one(keys[0], use)
	case onView:
		if c.fault == nil {
			err := c.view.GetMany(keys, func(_ int, v store.Value, found bool) bool {
				c.srv.stats.lookup(found)
				use(v, found)
				return !c.gone()
			})
			c.fault = cmp.Or(c.fault, err)
		}
		return c.fault == nil
	}
	copies := c.copies()
	for _, key := range keys {
		v, found, ok := c.get(key)
		if !ok {
			return false
		}
		use(v, found)
		c.forget(copies)
	}
	return true
}

// errGone: the client is not there any more, so nothing is done for it that has not begun to be.
var errGone = errors.New("the connection was closed")

// gone sets fault where nobody waits for the reply any more, so that a long command does not go on for nobody.
func (c *call) gone() bool {
	if c.conn.killed.Load() {
		c.fault = errGone
	}
	return c.fault != nil && !errors.Is(c.fault, errShort) // then it goes on, to find how much is missing
}

// one is each for a single key on a view, which may be one that waits for nothing.
func (c *call) one(key []byte, use func(v store.Value, found bool)) bool {
	if c.fault != nil {
		return false
	}
	found, err := c.view.Read(key, func(v store.Value) { use(v, true) })
	if c.fault = cmp.Or(err, c.fault); c.fault != nil {
		return false
	}
	c.srv.stats.lookup(found)
	if !found {
		use(store.Value{}, false)
	}
	return true
}

func (c *call) put(key []byte, v store.Value) {
	c.srv.watches.touch(key)
	c.tx.Put(key, v)
}

// remove deletes a key that exists.
func (c *call) remove(key []byte) {
	c.srv.watches.touch(key)
	if _, err := c.tx.Delete(key); err != nil {
		c.fault = err
	}
}

// removeAll deletes every key.
func (c *call) removeAll() {
	c.srv.watches.touchAll(func(key []byte) bool {
		found, err := c.tx.Exists(key)
		return found || err != nil
	})
	c.tx.Flush()
}

// intArg returns argument i as a number; false: an error was answered.
func (c *call) intArg(i int) (int64, bool) {
	n, ok := parseInt(c.args[i])
	if !ok {
		c.w.fail(errNotInteger)
	}
	return n, ok
}

// int32Arg is intArg for what Redis keeps in a C int.
func (c *call) int32Arg(i int) (int64, bool) {
	n, ok := c.intArg(i)
	if ok && (n < math.MinInt32 || n > math.MaxInt32) {
		c.w.fail(errOutOfRange)
		return 0, false
	}
	return n, ok
}
