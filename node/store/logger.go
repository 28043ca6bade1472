package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// pebbleLogger passes Pebble's messages to logr.
type pebbleLogger struct {
	log     logr.Logger
	onError func(error)
}

var _ pebble.Logger = pebbleLogger{}

func (l pebbleLogger) Infof(format string, args ...any) {
	if v := l.log.V(2); v.Enabled() {
		v.Info(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error(nil, fmt.Sprintf(format, args...))
}

// Fatalf is called when the database cannot go on, such as after a failed fsync of its MANIFEST. Pebble relies on Fatalf
// not returning, and a failed fsync must not be retried. So the process ends here, and the next start replays the log.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("state database: "+format, args...)
	l.log.Error(err, "the state database cannot continue")
	l.onError(err)
	panic(err)
}

// sayFullEvery is how often a full volume is logged; the database retries several times a second.
const sayFullEvery = 30 * time.Second

func eventListener(o Options) *pebble.EventListener {
	full := rate.Sometimes{First: 1, Interval: sayFullEvery}
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			switch {
			case errors.Is(err, pebble.ErrCancelledCompaction):
			case durable.IsNoSpace(err): // nothing of it took effect, and the database retries
				full.Do(func() {
					o.Log.Info("the volume has no room for a flush or compaction; retrying until it has", "error", err.Error())
				})
			default:
				o.OnError(fmt.Errorf("state database, in the background: %w", err))
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			o.OnError(fmt.Errorf("%w: %s: %w; %s", ErrDamaged, i.Path, i.Details, reseed))
		},
	}
}
