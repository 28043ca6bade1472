package resp

import (
	"context"
	"time"
)

// patience is a context that ends some time after somebody first waits for it. A read that need not wait, as nearly all of
// them, then has no timer made for it, which took 6 % of a GET's time. It is for one goroutine.
type patience struct {
	context.Context // what it was made from; once somebody waited, what ends in time
	limit           time.Duration
	cancel          context.CancelFunc // nil until somebody waited
}

func (p *patience) Done() <-chan struct{} {
	if p.cancel == nil {
		p.Context, p.cancel = context.WithTimeout(p.Context, p.limit)
	}
	return p.Context.Done()
}

// end gives back what waiting took.
func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
	}
}
