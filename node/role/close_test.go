package role

import (
	"context"
	"testing"
)

// A member that has stopped leaves nothing running.
func TestStoppedMemberSyncsNoMore(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, err := Start(ctx, options())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	<-r.Done()
	select {
	case <-r.works.sync.requests: // closed
	default:
		t.Fatal("the goroutine that syncs goes on for ever")
	}
}
