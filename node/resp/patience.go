package resp

import (
	"context"
	"time"
)

// patience is a context whose timer starts only when Done is first called, and that ends limit after that. Most reads do not have to wait
// at the read gate, and so need no timer; making one took 6 % of a GET's time. It is for use by one goroutine.
type patience struct {
	context.Context // the parent; once Done was called, the context with the timeout
	limit           time.Duration
	cancel          context.CancelFunc // nil until Done is called
}

// Done implements context.Context. The first call starts the timer.
func (p *patience) Done() <-chan struct{} {
	if p.cancel == nil {
		p.Context, p.cancel = context.WithTimeout(p.Context, p.limit)
	}
	return p.Context.Done()
}

// end releases the timer, if there is one.
func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
	}
}
