package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

const (
	// watchPeriod is the longest silence of a stream. A reader that hears nothing for several of them has lost the
	// member, and starts to poll it.
	watchPeriod = 200 * time.Millisecond
	// watchPause is the shortest time between two lines. Changes in between are reported as one.
	watchPause = 20 * time.Millisecond
)

// watch streams the status as JSON lines, with empty lines where there is nothing new, until the caller leaves, the
// server stops, or a line cannot be delivered.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	select {
	case s.watches <- struct{}{}:
		defer func() { <-s.watches }()
	default:
		s.writeError(w, r, errTooManyWatches)
		return
	}
	out, enc, lines := http.NewResponseController(w), json.NewEncoder(w), 0
	err := stream(r.Context(), s.node, func(st *wire.Status) (err error) {
		if lines == 0 {
			w.Header().Set("Content-Type", "application/jsonl")
			w.Header().Set("Cache-Control", "no-store")
		}
		lines++
		if err := out.SetWriteDeadline(s.now().Add(lineTimeout)); err != nil {
			return err
		}
		if st == nil {
			_, err = w.Write([]byte{'\n'})
		} else {
			err = enc.Encode(st)
		}
		if err != nil {
			return err
		}
		return out.Flush()
	})
	if lines == 0 {
		s.writeError(w, r, err)
		return
	}
	s.log.V(1).Info("status stream ended", "remote", r.RemoteAddr, "error", err)
}

// stream emits the status at once and after every change (changes within watchPause are merged), and at least every
// watchPeriod. It emits nil if the status's essence has not changed since the last emit: an operator reads as many
// streams as there are members, and decoding takes most of its time while idle. stream returns when ctx ends, the node
// has no status, or emit fails.
func stream(ctx context.Context, node Node, emit func(*wire.Status) error) error {
	first, last := true, wire.Status{}
	period := time.NewTicker(watchPeriod)
	defer period.Stop()
	pause := time.NewTicker(watchPause)
	defer pause.Stop()
	for {
		changed := node.Changed() // before the status: a change in between is reported by the next line
		st, err := node.Status(ctx)
		if err != nil {
			return err
		}
		tell := &st
		if now := st.Essence(); first || !reflect.DeepEqual(now, last) {
			first, last = false, now
		} else {
			tell = nil
		}
		if err := emit(tell); err != nil {
			return err
		}
		pause.Reset(watchPause)
		select {
		case <-changed:
			period.Reset(watchPeriod)
		case <-period.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
