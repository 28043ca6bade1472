package snapshot

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A checkpoint that is never finished, as on a disk that hangs, does not hold up a receiver for ever: it is told nothing
// any more, and goes elsewhere.
func TestReceiverIsNotToldToWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin(t, seeded(t), 1000)
		hung := make(chan struct{})
		o.o.Checkpoint = func(string) (replication.Mark, replication.EpochTable, error) {
			<-hung
			return replication.Mark{}, nil, errors.New("the disk is gone")
		}
		here, there := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- o.Serve(t.Context(), there) }()
		f := framer{rw: here}
		if err := f.writeJSON(frameRequest, request{Store: o.o.Store}); err != nil {
			t.Fatal(err)
		}
		const silence = 30 * time.Second
		began := time.Now()
		for {
			_ = here.SetReadDeadline(time.Now().Add(silence))
			got, _, err := f.read()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if took := time.Since(began); err != nil || got != frameWait || took > time.Hour {
				t.Errorf("after %v: %s, %v", took, got, err)
				break
			}
		}
		if took := time.Since(began); took < 2*time.Minute { // one of 10 GB took 50 s
			t.Errorf("told for %v", took)
		}
		close(hung)
		_ = here.Close()
		if err := <-served; err == nil {
			t.Error("served nobody")
		}
	})
}
