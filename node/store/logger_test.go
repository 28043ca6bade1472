package store

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/go-logr/logr/funcr"
)

// A full volume is logged only once in a while, however often the database retries; anything else is reported each time.
func TestFullVolumeIsSaidOnce(t *testing.T) {
	var said, failed int
	l := eventListener(Options{
		Log:     funcr.New(func(string, string) { said++ }, funcr.Options{}),
		OnError: func(error) { failed++ },
	})
	for range 100 {
		l.BackgroundError(fmt.Errorf("write table: %w", syscall.ENOSPC))
	}
	l.BackgroundError(syscall.EIO)
	l.BackgroundError(syscall.EIO)
	if said != 1 || failed != 2 {
		t.Errorf("said %d times that the volume is full, and told %d errors", said, failed)
	}
}
