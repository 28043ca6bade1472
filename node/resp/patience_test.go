package resp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, stop := context.WithCancel(t.Context())
		p := &patience{Context: parent, limit: time.Second}
		time.Sleep(time.Minute)
		if p.Err() != nil {
			t.Error("it ended although nobody waited")
		}
		begun := time.Now()
		<-p.Done()
		if took := time.Since(begun); took != time.Second || !errors.Is(context.Cause(p), context.DeadlineExceeded) {
			t.Errorf("it ended after %v because of %v", took, context.Cause(p))
		}
		p.end()

		p = &patience{Context: parent, limit: time.Hour}
		time.AfterFunc(time.Second, stop)
		<-p.Done()
		if !errors.Is(context.Cause(p), context.Canceled) {
			t.Errorf("it ended because of %v, not with its parent", context.Cause(p))
		}
		p.end()
	})
}
