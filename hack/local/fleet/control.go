package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// orderTimeout bounds one request to a control port.
const orderTimeout = 5 * time.Second

var client = &http.Client{Timeout: orderTimeout}

// Status asks a member for its status.
func (m *Member) Status(ctx context.Context) (wire.Status, error) {
	return ask[wire.Status](ctx, m, http.MethodGet, wire.PathStatus, nil)
}

// order posts one order to m's control port. A refusal is a *wire.Error.
func order[Reply any](ctx context.Context, m *Member, path string, body any) (Reply, error) {
	b, err := json.Marshal(body)
	if err != nil {
		var none Reply
		return none, fmt.Errorf("encode an order for %s: %w", m.Name, err)
	}
	return ask[Reply](ctx, m, http.MethodPost, path, b)
}

func ask[Reply any](ctx context.Context, m *Member, method, path string, body []byte) (reply Reply, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s %s of %s: %w", method, path, m.Name, err)
		}
	}()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+m.Control+path, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		return reply, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		return reply, err
	}
	if a.StatusCode != http.StatusOK {
		refusal := new(wire.Error)
		if json.Unmarshal(text, refusal) != nil || refusal.Reason == "" {
			return reply, errors.New(a.Status)
		}
		return reply, refusal
	}
	return reply, json.Unmarshal(text, &reply)
}
