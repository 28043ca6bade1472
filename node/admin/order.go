package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// order returns a handler for POSTed orders: it decodes the order, checks what needs no state, passes it to the node, and
// sends the answer.
func order[Req, Reply any](s *Server, name string, check func(Req) error, give func(context.Context, Req) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := decode[Req](w, r, s.now().Add(readTimeout))
		if err == nil {
			err = check(req)
		}
		if err != nil {
			s.log.Info("malformed order", "order", name, "remote", r.RemoteAddr, "error", err)
			writeJSON(w, http.StatusBadRequest, &wire.Error{Reason: "Malformed", Message: err.Error()})
			return
		}
		reply, err := give(r.Context(), req)
		if err != nil {
			s.log.Info("order not carried out", "order", name, "request", req, "error", err)
			s.writeError(w, r, err)
			return
		}
		s.log.Info("order carried out", "order", name, "request", req)
		writeJSON(w, http.StatusOK, reply)
	}
}

// thenStatus makes the member's status the reply to an order that has no reply of its own.
func thenStatus[Req any](s *Server, give func(context.Context, Req) error) func(context.Context, Req) (wire.Status, error) {
	return func(ctx context.Context, req Req) (wire.Status, error) {
		if err := give(ctx, req); err != nil {
			return wire.Status{}, err
		}
		return s.node.Status(ctx)
	}
}

// heldUpPatience is how long a member that is held up gets to answer a status request anyway. It is shorter than callers
// wait.
const heldUpPatience = 100 * time.Millisecond

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, why := r.Context(), s.node.HeldUp()
	if why != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, heldUpPatience)
		defer cancel()
	}
	st, err := s.node.Status(ctx)
	if why != nil && errors.Is(err, context.DeadlineExceeded) {
		writeJSON(w, http.StatusServiceUnavailable, &wire.Error{Reason: wire.ProblemDiskStuck, Message: why.Error()})
		return
	}
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, st)
}

// writeError turns the node's error into a status code and a body.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	code, reason := classify(err)
	body := &wire.Error{Reason: reason, Message: err.Error()}
	if code == http.StatusConflict {
		// Include the state that the order contradicts, so that the operator can decide anew without another request.
		if st, err := s.node.Status(r.Context()); err == nil {
			body.Status = &st
		}
	}
	writeJSON(w, code, body)
}

func classify(err error) (code int, reason string) {
	var refusal *replication.Refusal
	switch {
	case errors.As(err, &refusal):
		return http.StatusConflict, refusal.Reason
	case errors.Is(err, ErrNotOpen):
		return http.StatusServiceUnavailable, "NotOpen"
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, "TimedOut"
	case errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, "Canceled"
	case errors.Is(err, errTooManyWatches):
		return http.StatusServiceUnavailable, "TooManyWatches"
	default:
		return http.StatusInternalServerError, "Failed"
	}
}

// decode reads exactly one JSON object of known fields. An unknown field is an error: ignoring it would carry out an
// order without a part of it.
func decode[Req any](w http.ResponseWriter, r *http.Request, deadline time.Time) (Req, error) {
	var req Req
	in := http.NewResponseController(w)
	if err := in.SetReadDeadline(deadline); err != nil {
		return req, fmt.Errorf("bound the request: %w", err)
	}
	defer in.SetReadDeadline(time.Time{}) // later reads only tell whether the caller is still there
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		return req, fmt.Errorf("decode request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return req, errors.New("decode request: more than one JSON value, or too long")
	}
	return req, nil
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// A reader that is gone will ask again: there is nobody to report the error to.
	_ = json.NewEncoder(w).Encode(v)
}
