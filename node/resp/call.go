package resp

import (
	"cmp"
	"errors"
	"math"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// call is a command being executed. Handlers read its arguments, use its data methods, and write exactly one reply.
// Arguments and values are valid until the handler returns.
//
// A handler must decide before it changes anything: after it has called put, remove or removeAll it can only fail through fault, which
// discards the whole transaction.
type call struct {
	srv  *Server
	conn *conn
	cmd  *command
	args [][]byte
	w    *writer
	now  int64 // time in unix ms against which expiry is checked

	view    store.View
	noView  bool         // there is no state to read: view must not be used
	batch   *store.Batch // nil on a view
	tx      *store.Tx    // nil outside of writes
	inExec  bool
	short   int    // bytes missing for the reply; see errShort
	hasty   bool   // must not wait: a handler that would have to wait sets fault to errWouldWait
	cold    bool   // waited, or would have had to, for more than a commit: data was not in memory, or followers were late
	fault   error  // a storage error, errGone, errShort or errWouldWait; the reply written so far is then dropped
	scratch []byte // holds a value read through a view
}

// get returns the value of key. ok is false if the call has a fault, which the caller need not report. On a view the value's data is valid
// until the next get.
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

// head is get without the value's data: it returns the data's length in bytes instead, and copies nothing.
func (c *call) head(key []byte) (v store.Value, size int, found, ok bool) {
	if v, size, found, ok = c.peek(key); ok {
		c.srv.stats.lookup(found)
	}
	return v, size, found, ok
}

// peek is head without being counted, for commands that get the value afterwards if they need it.
func (c *call) peek(key []byte) (v store.Value, size int, found, ok bool) {
	if c.fault != nil || c.gone() {
		return v, 0, false, false
	}
	switch {
	case c.tx != nil:
		v, size, found, c.fault = c.tx.Head(key)
	case c.batch != nil:
		v, size, found, c.fault = c.batch.Head(key)
	default:
		found, c.fault = c.view.Read(key, func(val store.Value) {
			v, size = val, len(val.Data)
			v.Data = nil
		})
	}
	return v, size, found, c.fault == nil
}

// copies returns how many bytes of values that were read inside the sequencer are kept for the handler.
func (c *call) copies() int {
	if c.batch == nil {
		return 0
	}
	return c.batch.Copies()
}

// forget drops the values that were read since copies returned left. They are invalid from then on.
func (c *call) forget(left int) {
	if c.batch != nil {
		c.batch.Forget(left)
	}
}

// exists reports whether key exists. Values that get returned before stay valid.
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

// each calls use for every key in order; all values are from the same state. A value's data is valid until use returns. each returns false
// if the call has a fault, or its reply is too long to be sent. use may not have been called for all keys then.
func (c *call) each(keys [][]byte, use func(v store.Value, found bool)) bool {
	switch onView := c.tx == nil && c.batch == nil; {
	case onView && len(keys) == 1:
		return c.one(keys[0], use)
	case onView:
		if c.fault == nil {
			err := c.view.GetMany(keys, func(_ int, v store.Value, found bool) bool {
				c.srv.stats.lookup(found)
				use(v, found)
				return !c.gone() && !c.tooLong()
			})
			c.fault = cmp.Or(c.fault, err)
		}
		return c.fault == nil && !c.w.over
	}
	copies := c.copies()
	for _, key := range keys {
		v, found, ok := c.get(key)
		if !ok {
			return false
		}
		use(v, found)
		c.forget(copies)
		if c.tooLong() {
			return false
		}
	}
	return true
}

// tooLong reports whether the reply is, or will be, longer than a client's replies may be, so that nobody will see it.
func (c *call) tooLong() bool { return c.w.over || c.w.limit > 0 && c.short > c.w.limit }

// errGone is the fault of a call whose connection was killed: nobody waits for its reply.
var errGone = errors.New("the connection was closed")

// gone reports whether a long command should stop, because it has a fault. It sets fault if the connection was killed.
func (c *call) gone() bool {
	if c.conn.killed.Load() {
		c.fault = errGone
	}
	return c.fault != nil && !errors.Is(c.fault, errShort) // errShort goes on, to find out how much memory is missing
}

// one is each for a single key on a view. The view may be a resident one, which never waits.
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

// intArg returns argument i as a number. It returns false if it answered with an error.
func (c *call) intArg(i int) (int64, bool) {
	n, ok := parseInt(c.args[i])
	if !ok {
		c.w.fail(errNotInteger)
	}
	return n, ok
}

// int32Arg is intArg for numbers that Redis keeps in a C int.
func (c *call) int32Arg(i int) (int64, bool) {
	n, ok := c.intArg(i)
	if ok && (n < math.MinInt32 || n > math.MaxInt32) {
		c.w.fail(errOutOfRange)
		return 0, false
	}
	return n, ok
}
